"""`offloop get`: downloads URLs into a folder, many at once, each whole or not there.

::

    0    every file is there
    1    some are not; stderr, or the JSON lines, say which and why
    2    the command line was wrong
    130  Ctrl-C; what has come is kept, and ``--resume`` goes on with it

Each file is one `Client.download`. As many tasks as there may be downloads at once take URLs off
the list, one after the other, so that a list of any length costs no memory; what holds them back is
the client's limits. Runs in the main thread; lines of a file or a pipe are read by a thread of
their own, since reading them may block.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from contextlib import ExitStack, aclosing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offloop import Client, Limits, Retry, Timeout
from offloop.exceptions import OffloopError

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncGenerator, Iterator

    from offloop.options import Saved

_RESUME = "; --resume skips what is there"
AHEAD = 1000
"""Lines that a thread reads before somebody takes them; arbitrary."""


def run(arguments: argparse.Namespace) -> int:
    """Download what the arguments say; give the exit code."""
    if not arguments.urls and arguments.input is None:
        return _wrong("nothing to get: give URLs, or -i FILE")
    if ":" in (arguments.checksum or "") and (arguments.input or len(arguments.urls) != 1):
        return _wrong("a checksum with its value is for one URL only")
    getting = _Getting(arguments)
    try:
        asyncio.run(getting.main())
    except KeyboardInterrupt:
        getting.say_how_to_go_on()
        raise
    if getting.failed and not arguments.json:
        print(f"offloop: {getting.failed} of {getting.begun} failed", file=sys.stderr)
    return 1 if getting.failed else 0


class _Getting:
    """One run: what is asked for, and how far it has come."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._asked = arguments
        self._folder = Path(arguments.output)
        self._bars = not (arguments.quiet or arguments.json)
        self.begun = self.failed = self._done = 0

    async def main(self) -> None:
        asked = self._asked
        self._folder.mkdir(parents=True, exist_ok=True)
        limits = Limits(connections=asked.limit, per_host=asked.per_host, rate=asked.rate)
        retries = Retry(attempts=asked.retries)
        # Waiting for a place is no failure here: the list is as long as it is. What takes too
        # long once it has a place is found by the limits of each phase.
        timeout = Timeout(pool=None, total=None)
        try:
            async with (
                Client(limits=limits, retries=retries, timeout=timeout) as client,
                aclosing(self._urls()) as urls,
                asyncio.TaskGroup() as group,
            ):
                turn = asyncio.Lock()
                for _ in range(asked.limit):
                    group.create_task(self._work(client, urls, turn))
        except* (OSError, ValueError) as errors:
            # Not of a download, which are told where they happen: the list cannot be read.
            self.failed += 1
            self._tell_failure(str(asked.input), _first(errors))

    async def _work(
        self, client: Client, urls: AsyncGenerator[str, None], turn: asyncio.Lock
    ) -> None:
        while True:
            async with turn:  # an asynchronous generator answers one at a time
                url = await anext(urls, None)
            if url is None:
                return
            self.begun += 1
            try:
                saved = await self._get(client, url)
            except (OffloopError, OSError, ValueError) as error:
                self.failed += 1
                self._tell_failure(url, error)
            else:
                self._done += 1
                self._tell(url, saved)

    async def _get(self, client: Client, url: str) -> Saved | None:
        """Download one; None when it was there already."""
        asked = self._asked
        options: dict[str, Any] = {"resume": asked.resume, "checksum": asked.checksum}
        try:
            return await client.download(url, self._folder, progress=self._bars or None, **options)
        except FileExistsError:
            if not asked.resume:
                raise
            return None  # files are whole or not there, so this one needs nothing more

    def _tell(self, url: str, saved: Saved | None) -> None:
        if self._asked.json:
            line: dict[str, Any] = {"url": url, "skipped": True}
            if saved is not None:
                line = {
                    "url": url,
                    "path": str(saved.path),
                    "bytes": saved.bytes,
                    "checksum": saved.checksum,
                    "resumed_from": saved.resumed_from,
                    "seconds": round(saved.seconds, 3),
                }
            print(json.dumps(line), flush=True)
        elif not self._asked.quiet and saved is not None:
            parts = [str(saved.path), *([saved.checksum] if saved.checksum else [])]
            print(*parts, sep="\t", flush=True)

    def _tell_failure(self, url: str, error: Exception) -> None:
        kind, text = type(error).__name__, str(error)
        if self._asked.json:
            print(json.dumps({"url": url, "error": kind, "message": text}), flush=True)
            return
        hint = "" if self._asked.resume or not isinstance(error, FileExistsError) else _RESUME
        print(f"offloop: {kind}: {text}{hint}", file=sys.stderr, flush=True)

    def say_how_to_go_on(self) -> None:
        """Tell on stderr what is there, after Ctrl-C."""
        text = f"offloop: {self._done} of {self.begun} done; what has come of the others is kept: "
        print(text + "the same command with --resume goes on with it", file=sys.stderr)

    async def _urls(self) -> AsyncGenerator[str, None]:
        for url in self._asked.urls:
            yield url
        if self._asked.input is not None:
            async with aclosing(_lines(self._asked.input)) as lines:
                async for line in lines:
                    yield line


def _first(errors: ExceptionGroup[OSError | ValueError]) -> Exception:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first


async def _lines(name: str) -> AsyncGenerator[str, None]:
    """Lines of a file, or of stdin (-), that are neither empty nor comments."""
    loop = asyncio.get_running_loop()
    queue = asyncio.Queue[str | Exception | None]()
    room = threading.Semaphore(AHEAD)
    ended = threading.Event()

    def put(item: str | Exception | None) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(queue.put_nowait, item)

    def read() -> None:
        try:
            for text in _meant(name):
                room.acquire()
                if ended.is_set():
                    return
                put(text)
        except (OSError, ValueError) as error:
            put(error)
        else:
            put(None)

    # A daemon: it may be blocked in a pipe to which nobody writes.
    threading.Thread(target=read, name="offloop-lines", daemon=True).start()
    try:
        while (item := await queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            room.release()
            yield item
    finally:
        ended.set()
        room.release()


def _wrong(text: str) -> int:
    print(f"offloop get: {text}", file=sys.stderr)
    return 2


def _meant(name: str) -> Iterator[str]:
    with ExitStack() as stack:
        file = sys.stdin
        if name != "-":
            file = stack.enter_context(Path(name).open(encoding="utf-8"))
        for line in file:
            text = line.strip()
            if text and not text.startswith("#"):
                yield text

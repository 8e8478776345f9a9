"""Many requests at once: `fetch_all`, and the `FetchAll` that it gives.

Rust decides what is sent when, sends it and gathers what comes back; this side pulls URLs out of
their source and hands results out. Both happen in the loop's thread, in chunks: one Job for many
URLs, one for many results. Source and sender (`_many`) run in tasks of their own, so that they are
closed in the context in which they ran, however the results end.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import time
import weakref
from collections.abc import AsyncIterable, Iterable, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offloop import _offloop
from offloop._hooks import calls_of, is_function, merged
from offloop._many import TURN, Batch, Begin, Sender, Size, Source, pull
from offloop.progress import Phase, Pulse, Reading, Watcher, watcher

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from types import TracebackType
    from typing import Self

    from offloop._offloop import Fetched, Job, Response
    from offloop.fetch import Client
    from offloop.options import FetchAllOptions, StrPath

MOST = 128
"""Results made into Python objects at once; a millisecond's worth."""


class FetchAll:
    """The results of `Client.fetch_all`: an asynchronous iterable of `Fetched`, once.

    Nothing happens before the first result is asked for. It belongs to the loop in which that is.
    Leaving the loop early stops what is under way: at once with `aclose` or ``async with``, and
    when the interpreter notices that nobody iterates any more otherwise.
    """

    def __init__(
        self,
        batch: Batch,
        source: Source,
        *,
        raising: bool,
        sending: tuple[Begin, Size] | None = None,
        watch: Watcher | None = None,
    ) -> None:
        self._batch = batch
        self._source = source
        self._raising = raising
        self._sending = sending
        self._context = contextvars.copy_context()
        self._puller: asyncio.Task[None] | None = None
        self._sender: asyncio.Task[None] | None = None
        self._begun = False
        self._pulse: Pulse | None = None
        if watch is not None:
            total = len(source) if isinstance(source, Sized) else None
            self._read = functools.partial(_reading, weakref.ref(batch), total)
            self._pulse = Pulse(self._read, watch, "fetch_all")
        self._phase: Phase = "cancelled"
        """How it ends, as long as nothing else is known."""
        self._paused = 0.0
        """When the loop last had a turn."""

    def __aiter__(self) -> AsyncIterator[Fetched]:
        """Give the results as they come, or in the order of their source."""
        self._begin()
        return self._each()

    def batches(self, size: int) -> AsyncGenerator[list[Fetched], None]:
        """Give the results in lists of `size`; the last one may be shorter.

        Raises ValueError unless `size` is 1 or more; else as the iteration itself.
        """
        if size < 1:
            raise ValueError(f"size must be 1 or more, not {size}")
        self._begin()
        return self._in_lists(size)

    def stats(self) -> dict[str, int]:
        """Count what has happened so far.

        pulled, finished, failed, in_flight, duplicates: requests; bytes: of bodies on the wire.
        """
        return self._batch.stats()

    async def aclose(self) -> None:
        """Stop: requests under way are dropped, their connections closed, and the source too."""
        self._begun = True
        pulse, self._pulse = self._pulse, None
        reading = self._read() if pulse is not None else None
        self._batch.close()
        tasks = [it for it in (self._puller, self._sender) if it is not None and not it.done()]
        for task in tasks:
            if not task.cancelling():  # once: the second time would end its cleaning up
                task.cancel()
        if tasks:
            # The source is closed when this is over, and in its own context.
            await asyncio.wait(tasks)
        if pulse is not None and reading is not None and self._puller is not None:
            pulse.finish(reading._replace(phase=self._phase))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _begin(self) -> None:
        if self._begun:
            raise RuntimeError("the results of fetch_all can be iterated over once only")
        self._begun = True

    def _start(self) -> asyncio.Task[None]:
        loop, pulling = asyncio.get_running_loop(), pull(self._source, self._batch)
        if self._sending is not None and isinstance(self._batch, _offloop.Batch):
            sending = Sender(self._batch, *self._sending).run()
            name = "fetch_all: sender"
            self._sender = loop.create_task(sending, name=name, context=self._context)
        if self._pulse is not None:
            self._pulse.start()
        return loop.create_task(pulling, name="fetch_all: source", context=self._context)

    async def _each(self) -> AsyncGenerator[Fetched, None]:
        try:
            while (some := await self._some()) is not None:
                for got in some:
                    if got.error is not None:  # here, for a call costs more than the question
                        self._raise_error_of(got)
                    yield got
        finally:
            await self.aclose()

    async def _in_lists(self, size: int) -> AsyncGenerator[list[Fetched], None]:
        gathered = list[_offloop.Fetched]()
        try:
            while (some := await self._some()) is not None:
                for got in some:
                    if self._raising and got.error is not None and gathered:
                        yield gathered
                    self._raise_error_of(got)
                    gathered.append(got)
                    if len(gathered) == size:
                        yield gathered
                        gathered = []
            if gathered:
                yield gathered
        finally:
            await self.aclose()

    def _raise_error_of(self, got: Fetched) -> None:
        error = got.error
        # What a hook raises to end the program is nobody's result.
        if error is not None and (self._raising or not isinstance(error, Exception)):
            self._phase = "failed"
            raise error

    async def _some(self) -> list[Fetched] | None:
        """Give one result or more; None after the last, or raise what the source raised."""
        if self._puller is None:
            self._puller = self._start()
        puller = self._puller
        # A reader who never waits must not keep the loop from everybody else.
        if time.perf_counter() - self._paused > TURN:
            await asyncio.sleep(0)
            self._paused = time.perf_counter()
        while (some := self._batch.take(MOST)) is not None:
            if some:
                return some
            await self._batch.ready()
            self._paused = time.perf_counter()
        if not puller.cancelling():  # by `aclose`
            self._phase = "failed"
            await puller  # which raises what the source raised, a CancelledError of its own too
            self._phase = "done"
        return None


def _reading(batch: weakref.ref[Batch], total: int | None) -> Reading | None:
    alive = batch()
    if alive is None:
        return None
    stats = alive.stats()
    items = stats["finished"] + stats["duplicates"]
    phase: Phase = "downloading" if items else "connecting"
    return Reading(stats["bytes"], None, 0, phase, items, total, "items")


def fetch_all(
    client: Client, requests: Source, options: FetchAllOptions, *, again: bool = False
) -> FetchAll:
    """Check the arguments of `Client.fetch_all`, and make what it gives.

    `again` says that some of these hosts may have been asked until now, by an earlier call whose
    rate goes on.
    """
    if isinstance(requests, (str, bytes, _offloop.Request)) or not isinstance(
        requests, (Iterable, AsyncIterable)
    ):
        kind = type(requests).__name__
        raise TypeError(f"requests must be an iterable of URLs or Requests, not {kind}")
    of_each = dict[str, Any](options)
    on_error = one_of("on_error", of_each.pop("on_error", "return"), ("return", "raise"))
    watch = watcher(of_each.pop("progress", None))
    workers = of_each.pop("workers", None)
    per_host = of_each.pop("per_host", None)
    adaptive = per_host == "auto"
    of_all = {
        "limit": count("limit", of_each.pop("limit", None)),
        "per_host": None if adaptive else count("per_host", per_host),
        "adaptive": adaptive,
        "rate": pace(of_each.pop("rate", None)),
        "ordered": bool(of_each.pop("ordered", False)),
        "dedupe": bool(of_each.pop("dedupe", False)),
        "save_to": _folder(of_each.pop("save_to", None)),
    }
    calls = calls_of(client, of_each)
    # The function that is the auth is for `calls`: Rust calls nobody.
    plain = {name: it for name, it in of_each.items() if name != "auth" or not is_function(it)}
    own = functools.partial(_offloop.Batch, client, plain)
    if workers is not None:
        own(**of_all)  # what is wrong is told at once
        from offloop._fleet import Fleet

        fleet = Fleet(client, workers, of_each, of_all)
        return FetchAll(fleet, requests, raising=on_error == "raise", watch=watch)
    batch = own(**of_all, rate_first=again, by_owner=calls is not None)
    if calls is None:
        return FetchAll(batch, requests, raising=on_error == "raise", watch=watch)

    def begin(index: int, given: Any) -> Job[Response]:
        method, url, each = "GET", given, dict(of_each)
        if isinstance(given, _offloop.Request):
            method, url = given.method, given.url
            each["headers"] = merged(each.get("headers") or (), given.headers)
        send = functools.partial(batch.send, index)
        return calls.job(describe, send, method, url, each)

    describe = functools.partial(_offloop.Client._describe, client)
    sending = (begin, _received)
    return FetchAll(batch, requests, raising=on_error == "raise", sending=sending, watch=watch)


def _received(response: Response) -> int:
    return response.num_bytes_downloaded


def one_of(name: str, value: Any, known: tuple[str, ...]) -> Any:
    """Check that an option is one of those that are known."""
    if value not in known:
        raise ValueError(f"{name} must be {' or '.join(map(repr, known))}, not {value!r}")
    return value


def _folder(path: StrPath | None) -> str | None:
    if path is None:
        return None
    folder = Path(os.fsdecode(path)).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


def count(name: str, value: object) -> int | None:
    """Check a number of things; None stands for the usual one."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be 1 or more, not {value}")
    return value


def pace(value: object) -> float | None:
    """Check a rate per second; None stands for none."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"rate must be a number, not {type(value).__name__}")
    if not 0 < value < float("inf"):
        raise ValueError(f"rate must be positive and finite, not {value}")
    return float(value)

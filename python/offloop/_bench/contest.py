"""What ``offloop bench`` compares with what. Runs in the workers, each contender in its own.

A contender is an async context manager that makes what it needs (a client, files) and gives a
coroutine function; each call of that does `OPERATIONS` of the case's operations, and fails if one
of them gave something else than it should.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from offloop._bench.server import SIZE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    Work = Callable[[], Awaitable[None]]
    Contender = Callable[[str, Path], AbstractAsyncContextManager[Work]]

FETCHES = 64
CALLS = 1000
STEPS = 100
FILES = 64
FILE_BYTES = 16 * 1024
LINES = 5_000


@dataclass(frozen=True, slots=True)
class Case:
    """One row of contenders: what an operation is, and how many of them a call does."""

    title: str
    operations: int
    contenders: dict[str, Contender]


def _expect(right: bool) -> None:
    if not right:
        message = "a result differs from what it should be"
        raise RuntimeError(message)


@asynccontextmanager
async def _fetch_offloop(url: str, _: Path) -> AsyncIterator[Work]:
    import offloop

    limits = offloop.Limits(per_host=FETCHES)
    async with offloop.Client(limits=limits, trust_env=False) as client:

        async def work() -> None:
            got = await asyncio.gather(*(client.get(url) for _ in range(FETCHES)))
            _expect(all(len(response.content) == SIZE for response in got))

        yield work


@asynccontextmanager
async def _fetch_aiohttp(url: str, _: Path) -> AsyncIterator[Work]:
    import aiohttp

    async with aiohttp.ClientSession() as session:

        async def one() -> bytes:
            async with session.get(url) as response:
                content: bytes = await response.read()
                return content

        async def work() -> None:
            got = await asyncio.gather(*(one() for _ in range(FETCHES)))
            _expect(all(len(content) == SIZE for content in got))

        yield work


def _fetch_by_httpx(name: str, *, ours: bool) -> Contender:
    @asynccontextmanager
    async def contender(url: str, _: Path) -> AsyncIterator[Work]:
        import importlib

        httpx = importlib.import_module(name)
        transport = None
        if ours:
            from offloop.httpx import Transport

            transport = Transport(trust_env=False)
        async with httpx.AsyncClient(transport=transport, trust_env=False) as client:

            async def work() -> None:
                got = await asyncio.gather(*(client.get(url) for _ in range(FETCHES)))
                _expect(all(len(response.content) == SIZE for response in got))

            yield work

    return contender


@asynccontextmanager
async def _fetch_requests(url: str, _: Path) -> AsyncIterator[Work]:
    import requests
    import requests.adapters

    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=FETCHES))

        async def work() -> None:
            got = await asyncio.gather(
                *(asyncio.to_thread(session.get, url) for _ in range(FETCHES))
            )
            _expect(all(len(response.content) == SIZE for response in got))

        yield work


@asynccontextmanager
async def _fetch_urllib(url: str, _: Path) -> AsyncIterator[Work]:
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def one() -> bytes:
        with opener.open(url, timeout=10) as response:
            content: bytes = response.read()
            return content

    async def work() -> None:
        got = await asyncio.gather(*(asyncio.to_thread(one) for _ in range(FETCHES)))
        _expect(all(len(content) == SIZE for content in got))

    yield work


def _nothing(value: int) -> int:
    return value


def _calls(start: Callable[[], Callable[..., Awaitable[Any]]], *, at_once: bool) -> Contender:
    @asynccontextmanager
    async def contender(_: str, __: Path) -> AsyncIterator[Work]:
        run = start()

        async def together() -> None:
            got = await asyncio.gather(*(run(_nothing, number) for number in range(CALLS)))
            _expect(got == list(range(CALLS)))

        async def in_turn() -> None:
            for number in range(STEPS):
                _expect(await run(_nothing, number) == number)

        yield together if at_once else in_turn

    return contender


def _run() -> Callable[..., Awaitable[Any]]:
    import offloop

    return offloop.run


def _to_thread() -> Callable[..., Awaitable[Any]]:
    return asyncio.to_thread


def _anyio() -> Callable[..., Awaitable[Any]]:
    import anyio.to_thread

    run: Callable[..., Awaitable[Any]] = anyio.to_thread.run_sync
    return run


def _reads(start: Callable[[], Callable[[Path], Awaitable[bytes]]]) -> Contender:
    @asynccontextmanager
    async def contender(_: str, folder: Path) -> AsyncIterator[Work]:
        read = start()
        paths = [folder / str(number) for number in range(FILES)]
        for path in paths:
            path.write_bytes(b"y" * FILE_BYTES)

        async def work() -> None:
            got = await asyncio.gather(*(read(path) for path in paths))
            _expect(all(len(content) == FILE_BYTES for content in got))

        yield work

    return contender


def _read_bytes() -> Callable[[Path], Awaitable[bytes]]:
    import offloop

    return offloop.read_bytes


def _read_to_thread() -> Callable[[Path], Awaitable[bytes]]:
    return lambda path: asyncio.to_thread(path.read_bytes)


def _read_aiofiles() -> Callable[[Path], Awaitable[bytes]]:
    import aiofiles

    async def read(path: Path) -> bytes:
        async with aiofiles.open(path, "rb") as file:
            content: bytes = await file.read()
            return content

    return read


def _lines(start: Callable[[], Callable[[Path], Any]]) -> Contender:
    @asynccontextmanager
    async def contender(_: str, folder: Path) -> AsyncIterator[Work]:
        opened = start()
        path = folder / "lines.txt"
        path.write_text("a line of text\n" * LINES)

        async def work() -> None:
            count = 0
            async with opened(path) as file:
                async for _ in file:
                    count += 1
            _expect(count == LINES)

        yield work

    return contender


def _open_offloop() -> Callable[[Path], Any]:
    import offloop

    return offloop.open


def _open_aiofiles() -> Callable[[Path], Any]:
    import aiofiles

    opened: Callable[[Path], Any] = aiofiles.open
    return opened


CASES = {
    "fetch": Case(
        f"GET of 1 KiB, {FETCHES} at once",
        FETCHES,
        {
            "offloop": _fetch_offloop,
            "aiohttp": _fetch_aiohttp,
            "httpx": _fetch_by_httpx("httpx", ours=False),
            "httpx on offloop": _fetch_by_httpx("httpx", ours=True),
            "httpx2": _fetch_by_httpx("httpx2", ours=False),
            "requests in threads": _fetch_requests,
            "urllib in threads": _fetch_urllib,
        },
    ),
    "calls": Case(
        f"calls of a trivial function, {CALLS:,} at once",
        CALLS,
        {
            "offloop": _calls(_run, at_once=True),
            "asyncio.to_thread": _calls(_to_thread, at_once=True),
            "anyio": _calls(_anyio, at_once=True),
        },
    ),
    "steps": Case(
        "calls of a trivial function, one after another",
        STEPS,
        {
            "offloop": _calls(_run, at_once=False),
            "asyncio.to_thread": _calls(_to_thread, at_once=False),
            "anyio": _calls(_anyio, at_once=False),
        },
    ),
    "files": Case(
        f"reads of a file of {FILE_BYTES // 1024} KiB, {FILES} at once",
        FILES,
        {
            "offloop": _reads(_read_bytes),
            "asyncio.to_thread": _reads(_read_to_thread),
            "aiofiles": _reads(_read_aiofiles),
        },
    ),
    "lines": Case(
        f"lines of a file of {LINES:,}, by async for",
        LINES,
        {"offloop": _lines(_open_offloop), "aiofiles": _lines(_open_aiofiles)},
    ),
}
"""What is compared, by the name that the command line takes. offloop is the first of each."""

NEEDS = {
    "aiohttp": "aiohttp",
    "httpx": "httpx",
    "httpx on offloop": "httpx",
    "httpx2": "httpx2",
    "requests in threads": "requests",
    "anyio": "anyio",
    "aiofiles": "aiofiles",
}
"""The packages of contenders that may be missing."""

"""Leaving `fetch_all` before its end: nothing goes on, and the source is closed where it ran."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import offloop
from batch.conftest import Counting
from conftest import Run

Where = tuple[object, object, object]
variable = contextvars.ContextVar("variable", default="outside")


def here() -> Where:
    return threading.get_ident(), asyncio.current_task(), variable.get()


class Source:
    """Endless URLs of either kind; notes where it ran and where it was closed."""

    def __init__(self, counting: Counting, path: str = "hold/0.01") -> None:
        self.base = f"{counting.url}/{path}"
        self.ran: Where | None = None
        self.closed: Where | None = None

    def urls(self) -> Iterator[str]:
        self.ran = here()
        try:
            number = 0
            while True:
                yield f"{self.base}/{number}"
                number += 1
        finally:
            self.closed = here()

    async def urls_async(self) -> AsyncIterator[str]:
        for url in self.urls():
            yield url
            self.closed = None


Kind = Callable[[Source], Any]
both = pytest.mark.parametrize("kind", [Source.urls, Source.urls_async])


@both
def test_a_break_stops_everything_and_closes_the_source(
    run: Run[Any], counting: Counting, kind: Kind
) -> None:
    source = Source(counting)

    async def main() -> None:
        variable.set("inside")
        async with offloop.Client() as client:
            async for _ in client.fetch_all(kind(source), limit=20):
                break
            gc.collect()
            for _ in range(100):
                await asyncio.sleep(0.01)
                if source.closed and len(asyncio.all_tasks()) == 1:
                    break
            assert len(asyncio.all_tasks()) == 1
            assert client.stats()["in_flight"] == 0

    run(main())
    assert source.closed == source.ran is not None
    assert source.ran[2] == "inside"
    counting.wait_until_left()


@both
def test_async_with_has_it_closed_before_the_next_line(
    run: Run[Any], counting: Counting, kind: Kind
) -> None:
    source = Source(counting)

    async def main() -> None:
        async with offloop.Client() as client:
            async with client.fetch_all(kind(source), limit=20) as results:
                async for _ in results:
                    break
            assert source.closed == source.ran is not None
            assert len(asyncio.all_tasks()) == 1

    run(main())


@both
def test_cancelling_the_reader_stops_everything(
    run: Run[Any], counting: Counting, kind: Kind
) -> None:
    source = Source(counting, path="hold/30")

    async def main() -> None:
        async with offloop.Client() as client:

            async def read() -> None:
                async for _ in client.fetch_all(kind(source), limit=20):
                    pytest.fail("nothing is answered")

            task = asyncio.create_task(read())
            while counting.report()["peak"].get("all") != 20:
                await asyncio.sleep(0.01)
            task.cancel("enough")
            with pytest.raises(asyncio.CancelledError, match="enough"):
                await task
            assert source.closed == source.ran is not None
            while client.stats()["connections"]:  # the server, asleep, would not notice
                await asyncio.sleep(0.01)

    run(main())


def test_a_timeout_around_the_loop_works(run: Run[Any], counting: Counting) -> None:
    async def main() -> None:
        async with offloop.Client() as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    async for _ in client.fetch_all([f"{counting.url}/hold/30/1"]):
                        pass

    run(main())
    counting.wait_until_left()


def test_closing_from_elsewhere_ends_the_loop(run: Run[Any], counting: Counting) -> None:
    async def main() -> int:
        seen = 0
        async with offloop.Client() as client:
            results = client.fetch_all(Source(counting).urls(), limit=5)
            async for _ in results:
                seen += 1
                if seen == 20:
                    await results.aclose()
        return seen

    assert run(main()) >= 20
    counting.wait_until_left()


def test_leaving_batches_stops_everything(counting: Counting) -> None:
    source = Source(counting)

    async def main() -> None:
        async with offloop.Client() as client:
            batches = client.fetch_all(source.urls(), limit=20).batches(10)
            async for some in batches:
                assert len(some) == 10
                break
            await batches.aclose()
            assert source.closed == source.ran

    asyncio.run(main())
    counting.wait_until_left()


def test_what_was_never_begun_leaves_nothing(counting: Counting) -> None:
    source = Source(counting)

    async def main() -> None:
        async with offloop.Client() as client:
            client.fetch_all(source.urls())
            await client.fetch_all(source.urls()).aclose()
            gc.collect()
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())
    assert source.ran is None


def test_an_error_of_the_reader_stops_everything(counting: Counting) -> None:
    source = Source(counting)

    async def main() -> None:
        async with offloop.Client() as client:
            async with client.fetch_all(source.urls(), limit=20) as results:
                async for _ in results:
                    raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        asyncio.run(main())
    assert source.closed == source.ran
    counting.wait_until_left()


def test_other_iterators_than_generators_are_left_open(counting: Counting) -> None:
    class Lines:
        closed = False

        def __iter__(self) -> Iterator[str]:
            return self  # type: ignore[return-value]

        def __next__(self) -> str:
            return f"{counting.url}/hold/0/line"

        def close(self) -> None:
            self.closed = True

    lines = Lines()

    async def main() -> None:
        async with offloop.Client() as client, client.fetch_all(lines, limit=3) as results:
            async for _ in results:
                break

    asyncio.run(main())
    assert not lines.closed


PROGRAM = """
import asyncio, sys, offloop
async def main():
    client = offloop.Client()
    async for got in client.fetch_all((sys.argv[1] + "/" + str(n) for n in range(10**6)), limit=50):
        assert got.error is None
        if got.index > 200:
            {how}
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("how", "code"), [("return", 0), ("sys.exit(3)", 3), ("raise KeyError('x')", 1)]
)
def test_the_interpreter_ends_with_many_under_way(counting: Counting, how: str, code: int) -> None:
    program = PROGRAM.format(how=how)
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, f"{counting.url}/hold/0.01"],
        timeout=20,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == code
    if code != 1:
        assert ended.stderr == ""
    counting.wait_until_left()

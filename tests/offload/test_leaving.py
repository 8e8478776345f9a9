"""Loops over `map` and `iterate` that are left while something is under way."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, TypeVar

import pytest

import offloop

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]

LIMIT = 60.0


class Slow:
    """Gives one item, and ends slowly when the second is called off."""

    def __init__(self) -> None:
        self.ending = asyncio.Event()
        self.has_ended = False
        self._given = False

    def __aiter__(self) -> AsyncIterator[int]:
        return self

    async def __anext__(self) -> int:
        if not self._given:
            self._given = True
            return 1
        try:
            await asyncio.sleep(LIMIT)
        finally:
            self.ending.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(LIMIT)
            self.has_ended = True
        return 2


def test_a_cancel_while_a_source_is_closed_is_not_swallowed(run: Run[Any]) -> None:
    async def main() -> None:
        source = Slow()
        went_on = False

        async def leave() -> None:
            nonlocal went_on
            async with contextlib.aclosing(offloop.map(abs, source)) as results:
                async for _ in results:
                    break
            went_on = True

        task = asyncio.create_task(leave())
        async with asyncio.timeout(LIMIT):
            await source.ending.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert not went_on
        assert source.has_ended  # before the loop over the results has

    run(main())


def test_what_a_source_raises_while_it_is_called_off_is_not_reported(run: Run[Any]) -> None:
    async def main() -> list[dict[str, Any]]:
        reports: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))

        class Failing(Slow):
            async def __anext__(self) -> int:
                if not self._given:
                    return await super().__anext__()
                try:
                    await asyncio.sleep(LIMIT)
                finally:
                    raise ValueError("called off")

        async with contextlib.aclosing(offloop.map(abs, Failing())) as results:
            async for _ in results:
                break
        await asyncio.sleep(0)
        return reports

    assert run(main()) == []


def test_a_slow_generator_is_closed_after_the_item_it_is_at(run: Run[Any]) -> None:
    async def main() -> None:
        given, closed = 0, []

        def slow() -> Iterator[int]:
            nonlocal given
            try:
                while True:
                    given += 1
                    yield given
                    time.sleep(0.02)
            finally:
                closed.append(threading.current_thread().name)

        async with contextlib.aclosing(offloop.iterate(slow(), batch=1_000)) as items:
            async for item in items:
                if item == 3:
                    break
        assert [name.startswith("offloop-io-") for name in closed] == [True]
        assert given < 500  # the batch would have had a thousand

    run(main())


def test_a_view_that_abandons_does_not_wait_for_a_blocked_generator(run: Run[Any]) -> None:
    release, closed = threading.Event(), threading.Event()

    def blocked() -> Iterator[int]:
        try:
            yield 1
            release.wait(LIMIT)
            yield 2
        finally:
            closed.set()

    async def main() -> bool:
        view = offloop.Pool("blocked", limit=1).view(on_cancel="abandon")
        async with contextlib.aclosing(view.iterate(blocked())) as items:
            async for _ in items:
                break
        return closed.is_set()

    assert not run(main())
    release.set()
    assert closed.wait(LIMIT)


def test_calls_that_wait_are_called_off_when_a_map_is_left(run: Run[Any]) -> None:
    ran: list[int] = []

    def slow(number: int) -> None:
        ran.append(number)
        time.sleep(0.05)

    async def main() -> None:
        pool = offloop.Pool("left", limit=1)
        async with contextlib.aclosing(pool.amap(slow, range(100), limit=50)) as results:
            async for _ in results:
                break
        await asyncio.to_thread(pool.shutdown)
        assert len(ran) < 10
        assert pool.stats()["cancelled"] > 30

    run(main())


@pytest.mark.parametrize("wrong", [5, None, object()])
def test_a_source_that_is_none_is_refused_at_the_call(wrong: Any) -> None:
    for way in (offloop.map, offloop.Pool(limit=1).amap):
        with pytest.raises(TypeError, match="iterable"):
            way(abs, wrong)

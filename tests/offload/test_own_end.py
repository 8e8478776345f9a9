"""Calls that would wait for the end of their own pool, and Jobs that end before they begin."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

import offloop

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]

LIMIT = 60.0


def test_a_call_that_shuts_its_own_pool_down_is_refused() -> None:
    pool = offloop.Pool("own", limit=2)
    with pytest.raises(offloop.WouldDeadlock, match="own pool"):
        pool.submit(pool.shutdown).result(LIMIT)
    with pytest.raises(offloop.Closed):  # it has been closed all the same
        pool.submit(abs, -1)
    pool.shutdown()


def test_a_call_may_shut_its_own_pool_down_without_waiting() -> None:
    pool = offloop.Pool("own", limit=2)
    pool.submit(pool.shutdown, False).result(LIMIT)
    pool.shutdown()


def test_a_call_may_shut_another_pool_down() -> None:
    with offloop.Pool("one", limit=1) as one:
        other = offloop.Pool("other", limit=1)
        other.submit(abs, -1)
        one.submit(other.shutdown).result(LIMIT)


def test_a_task_of_a_job_that_is_cancelled_before_it_begins_warns_of_nothing(
    run: Run[Any],
) -> None:
    begun: list[int] = []

    async def main() -> None:
        task: asyncio.Task[None] = asyncio.create_task(offloop.run(begun.append, 1))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(main())
        gc.collect()
    assert begun == []


def test_a_scope_that_fails_at_once_warns_of_nothing(run: Run[Any]) -> None:
    async def main() -> None:
        async with offloop.Scope() as scope:
            scope.run(abs, -1)
            raise KeyError("mine")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ExceptionGroup) as caught:
            run(main())
        assert [type(error) for error in caught.value.exceptions] == [KeyError]
        del caught
        gc.collect()

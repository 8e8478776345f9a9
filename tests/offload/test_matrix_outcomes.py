"""The matrix: what goes to a call, and what comes back from it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matrix
import matrix_jobs as jobs
import pytest
from matrix import LIMIT, Row

import offloop

rows = matrix.Rows()


@pytest.fixture(scope="module")
def pools() -> Iterator[dict[str, offloop.Pool]]:
    yield from matrix.pools()


@rows.row()
async def arguments_and_results_pass(pool: offloop.Pool, _: Path) -> None:
    assert await pool.run(jobs.echo, 1, "a", key=b"b") == ((1, "a"), {"key": b"b"})


@rows.row()
async def keywords_named_like_options_are_the_functions(pool: offloop.Pool, _: Path) -> None:
    given = {"timeout": 1, "priority": 2, "fn": 3, "limit": 4, "on_cancel": 5}
    assert await pool.run(jobs.echo, **given) == ((), given)


@rows.row()
async def none_and_falsy_results_are_results(pool: offloop.Pool, _: Path) -> None:
    for value in (None, 0, "", False, [], b""):
        assert await pool.run(jobs.same, value) == value


@rows.row()
async def large_bytes_pass_both_ways(pool: offloop.Pool, _: Path) -> None:
    data = os.urandom(1_000_000)
    assert await pool.run(jobs.same, data) == data


@rows.row()
async def an_exception_may_be_a_result(pool: offloop.Pool, _: Path) -> None:
    assert isinstance(await pool.run(jobs.same, ValueError("x")), ValueError)


@rows.row("thread")
async def context_variables_are_copied(pool: offloop.Pool, _: Path) -> None:
    token = jobs.variable.set("mine")
    try:
        assert await pool.run(jobs.read_variable) == "mine"
        assert jobs.variable.get() == "mine"
        assert await pool.run(jobs.read_variable) == "mine"
    finally:
        jobs.variable.reset(token)


@rows.row("process", "interpreter")
async def context_variables_stay_at_home(pool: offloop.Pool, _: Path) -> None:
    token = jobs.variable.set("mine")
    try:
        assert await pool.run(jobs.read_variable) != "mine"
    finally:
        jobs.variable.reset(token)


@rows.row("thread")
async def the_very_objects_pass(pool: offloop.Pool, _: Path) -> None:
    thing = object()
    assert await pool.run(jobs.same, thing) is thing


@rows.row("thread", "process")
async def a_call_knows_what_it_is_part_of(pool: offloop.Pool, _: Path) -> None:
    name, of_pool, where, cancelled = await pool.run(jobs.current)
    assert (name, of_pool, cancelled) == ("current", pool.name, False)
    assert where.startswith(f"{pool.on}:")


@rows.row()
async def where_a_call_ran_is_known_while_and_after(pool: offloop.Pool, _: Path) -> None:
    job = pool.run(jobs.same, 1)
    assert job.where is None
    await job
    assert str(job.where).startswith(f"{pool.on}:")


# Exceptions.


@rows.row()
async def an_exception_comes_back_as_itself(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(jobs.PlainError, match="mine") as caught:
        await pool.run(jobs.fail, jobs.PlainError, "mine")
    assert caught.value.args == ("mine",)


@rows.row()
async def notes_come_along(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(jobs.PlainError) as caught:
        await pool.run(jobs.fail_noted)
    assert "a note of mine" in caught.value.__notes__


@rows.row("thread")
async def a_cause_comes_along(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(jobs.PlainError) as caught:
        await pool.run(jobs.fail_chained)
    assert isinstance(caught.value.__cause__, KeyError)


@rows.row("process", "interpreter")
async def the_remote_traceback_is_shown(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(jobs.PlainError) as caught:
        await pool.run(jobs.fail_chained)
    assert "KeyError" in str(caught.value.__cause__)


@rows.row()
async def groups_come_back_whole(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await pool.run(jobs.fail_group)
    assert [type(it) for it in caught.value.exceptions] == [jobs.PlainError, ValueError]


@rows.row()
async def stop_iteration_is_a_runtime_error(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(RuntimeError, match="StopIteration") as caught:
        await asyncio.wait_for(pool.run(jobs.fail, StopIteration, 3), LIMIT)
    assert isinstance(caught.value.__cause__, StopIteration)


@rows.row()
async def stop_async_iteration_is_itself(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(StopAsyncIteration):
        await pool.run(jobs.fail, StopAsyncIteration)


@rows.row()
async def cancelled_error_of_a_function_reaches_the_awaiter(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(asyncio.CancelledError):
        await pool.run(jobs.fail, asyncio.CancelledError)


@rows.row()
async def a_timeout_error_of_a_function_is_its_own(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(TimeoutError) as caught:
        await pool.run(jobs.fail, TimeoutError, "own")
    assert not isinstance(caught.value, offloop.JobTimeout)


@rows.row()
async def memory_error_spares_the_worker(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(MemoryError):
        await pool.run(jobs.fail, MemoryError)
    assert await pool.run(jobs.same, 1) == 1


def _exit_reaches(kind: type[BaseException]) -> Row:
    async def check(pool: offloop.Pool, _: Path) -> None:
        got: Any = None
        try:
            await pool.run(jobs.fail, kind, 3)
        except kind as error:
            got = error.args
        assert got == (3,)
        assert await pool.run(jobs.same, 1) == 1

    check.__name__ = f"{kind.__name__}_reaches_the_awaiter_and_spares_the_worker"
    return check


for _kind in (SystemExit, KeyboardInterrupt):
    rows.row()(_exit_reaches(_kind))


@rows.row()
async def deep_recursion_is_recursion_error(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(RecursionError):
        await pool.run(jobs.recurse)
    assert await pool.run(jobs.same, 1) == 1


@rows.row("process", "interpreter")
async def a_result_too_deep_to_travel_is_an_error(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises((offloop.NotPicklable, RecursionError)):
        await pool.run(jobs.nested_list, 100_000)
    assert await pool.run(jobs.same, 1) == 1


@rows.row()
async def a_wrong_call_is_a_type_error(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(TypeError):
        await pool.run(jobs.sleep)  # type: ignore[call-arg]


@rows.all()
def test_the_matrix(place: str, check: Row, pools: dict[str, offloop.Pool], tmp_path: Path) -> None:
    matrix.check_row(place, check, pools, tmp_path)

"""What an offloaded call may count on, place by place: one table for all of it.

Each row is a function of a pool, run for each kind of place that has to keep it. Long stories have
tests of their own; this is the list.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import matrix_jobs as jobs
import pytest

import offloop

LIMIT = 60.0
HAS_INTERPRETERS = sys.version_info >= (3, 14)
PLACES = ["thread", "process", "interpreter"]

Row = Callable[[offloop.Pool, Path], Awaitable[None]]
ROWS: list[tuple[str, Row]] = []


def row(*places: str) -> Callable[[Row], Row]:
    """Enter a row into the matrix; without places it holds in all."""

    def enter(function: Row) -> Row:
        ROWS.extend((place, function) for place in places or PLACES)
        return function

    return enter


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture(scope="module")
def pools() -> Iterator[dict[str, offloop.Pool]]:
    """One pool for each place: rows leave them as they were."""
    places = [place for place in PLACES if place != "interpreter" or HAS_INTERPRETERS]
    made = {place: offloop.Pool(f"m-{place}", on=place, limit=2, queue=50) for place in places}  # type: ignore[arg-type]
    yield made
    for pool in made.values():
        pool.close(grace=5)


# Arguments, results, contexts.


@row()
async def arguments_and_results_pass(pool: offloop.Pool, _: Path) -> None:
    assert await pool.run(jobs.echo, 1, "a", key=b"b") == ((1, "a"), {"key": b"b"})


@row()
async def keywords_named_like_options_are_the_functions(pool: offloop.Pool, _: Path) -> None:
    given = {"timeout": 1, "priority": 2, "fn": 3, "limit": 4, "on_cancel": 5}
    assert await pool.run(jobs.echo, **given) == ((), given)


@row()
async def none_and_falsy_results_are_results(pool: offloop.Pool, _: Path) -> None:
    for value in (None, 0, "", False, [], b""):
        assert await pool.run(jobs.same, value) == value


@row()
async def large_bytes_pass_both_ways(pool: offloop.Pool, _: Path) -> None:
    data = os.urandom(1_000_000)
    assert await pool.run(jobs.same, data) == data


@row()
async def an_exception_may_be_a_result(pool: offloop.Pool, _: Path) -> None:
    assert isinstance(await pool.run(jobs.same, ValueError("x")), ValueError)


@row("thread")
async def context_variables_are_copied(pool: offloop.Pool, _: Path) -> None:
    token = jobs.variable.set("mine")
    try:
        assert await pool.run(jobs.read_variable) == "mine"
        assert jobs.variable.get() == "mine"
        assert await pool.run(jobs.read_variable) == "mine"
    finally:
        jobs.variable.reset(token)


@row("process", "interpreter")
async def context_variables_stay_at_home(pool: offloop.Pool, _: Path) -> None:
    token = jobs.variable.set("mine")
    try:
        assert await pool.run(jobs.read_variable) != "mine"
    finally:
        jobs.variable.reset(token)


@row("thread")
async def the_very_objects_pass(pool: offloop.Pool, _: Path) -> None:
    thing = object()
    assert await pool.run(jobs.same, thing) is thing


@row("thread", "process")
async def a_call_knows_what_it_is_part_of(pool: offloop.Pool, _: Path) -> None:
    name, of_pool, where, cancelled = await pool.run(jobs.current)
    assert (name, of_pool, cancelled) == ("current", pool.name, False)
    assert where.startswith(f"{pool.on}:")


@row()
async def where_a_call_ran_is_known_while_and_after(pool: offloop.Pool, _: Path) -> None:
    job = pool.run(jobs.same, 1)
    assert job.where is None
    await job
    assert str(job.where).startswith(f"{pool.on}:")


# Exceptions.


@row()
async def an_exception_comes_back_as_itself(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(jobs.PlainError, match="mine") as caught:
        await pool.run(jobs.fail, jobs.PlainError, "mine")
    assert caught.value.args == ("mine",)


@row()
async def notes_come_along(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(jobs.PlainError) as caught:
        await pool.run(jobs.fail_noted)
    assert "a note of mine" in caught.value.__notes__


@row("thread")
async def a_cause_comes_along(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(jobs.PlainError) as caught:
        await pool.run(jobs.fail_chained)
    assert isinstance(caught.value.__cause__, KeyError)


@row("process", "interpreter")
async def the_remote_traceback_is_shown(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(jobs.PlainError) as caught:
        await pool.run(jobs.fail_chained)
    assert "KeyError" in str(caught.value.__cause__)


@row()
async def groups_come_back_whole(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await pool.run(jobs.fail_group)
    assert [type(it) for it in caught.value.exceptions] == [jobs.PlainError, ValueError]


@row()
async def stop_iteration_is_a_runtime_error(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(RuntimeError, match="StopIteration") as caught:
        await asyncio.wait_for(pool.run(jobs.fail, StopIteration, 3), LIMIT)
    assert isinstance(caught.value.__cause__, StopIteration)


@row()
async def stop_async_iteration_is_itself(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(StopAsyncIteration):
        await pool.run(jobs.fail, StopAsyncIteration)


@row()
async def cancelled_error_of_a_function_reaches_the_awaiter(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(asyncio.CancelledError):
        await pool.run(jobs.fail, asyncio.CancelledError)


@row()
async def a_timeout_error_of_a_function_is_its_own(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(TimeoutError) as caught:
        await pool.run(jobs.fail, TimeoutError, "own")
    assert not isinstance(caught.value, offloop.JobTimeout)


@row()
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
    row()(_exit_reaches(_kind))


@row()
async def deep_recursion_is_recursion_error(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(RecursionError):
        await pool.run(jobs.recurse)
    assert await pool.run(jobs.same, 1) == 1


@row("process", "interpreter")
async def a_result_too_deep_to_travel_is_an_error(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises((offloop.NotPicklable, RecursionError)):
        await pool.run(jobs.nested_list, 100_000)
    assert await pool.run(jobs.same, 1) == 1


@row()
async def a_wrong_call_is_a_type_error(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(TypeError):
        await pool.run(jobs.sleep)  # type: ignore[call-arg]


# What does not travel.


@row("process", "interpreter")
async def an_argument_that_does_not_pickle_is_named_at_once(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(offloop.NotPicklable, match="lock"):
        await pool.run(jobs.same, {"here": threading.Lock()})


@row("process", "interpreter")
async def a_result_that_does_not_pickle_is_an_error(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(offloop.NotPicklable):
        await pool.run(jobs.give_unpicklable)
    assert await pool.run(jobs.same, 1) == 1


@row("process", "interpreter")
async def a_result_that_does_not_come_back_is_an_error(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises((offloop.NotPicklable, jobs.PlainError)):
        await pool.run(jobs.give_unloadable)
    assert await pool.run(jobs.same, 1) == 1


@row("process", "interpreter")
async def an_exception_that_does_not_pickle_is_an_error(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(offloop.OffloadError, match="has a lock"):
        await pool.run(jobs.fail_unpicklable)
    assert await pool.run(jobs.same, 1) == 1


@row("process", "interpreter")
async def an_exception_with_its_own_constructor_is_an_error(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises((offloop.OffloadError, jobs.OwnError), match="mine"):
        await pool.run(jobs.fail_own)
    assert await pool.run(jobs.same, 1) == 1


# Cancelling and time.


@row("thread", "process")
async def a_cancelled_call_in_the_queue_never_runs(pool: offloop.Pool, path: Path) -> None:
    held = [pool.run(jobs.sleep, 0.3).start() for _ in range(2)]
    await until(lambda: pool.stats()["running"] == 2)
    waiting = pool.run(jobs.touch_and_sleep, str(path / "ran"), 0).start()
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.gather(*held)
    await pool.run(jobs.same, 1)
    assert not (path / "ran").exists()


@row("thread", "process")
async def cancel_waits_for_the_function_by_default(pool: offloop.Pool, path: Path) -> None:
    future = pool.run(jobs.touch_and_sleep, str(path / "x"), 0.3).start()
    await until((path / "x").exists)
    began = time.monotonic()
    future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await future
    assert time.monotonic() - began > 0.1
    assert pool.stats()["running"] == 0


@row("thread", "process")
async def cancel_abandons_where_that_was_asked_for(pool: offloop.Pool, path: Path) -> None:
    before = pool.stats()["abandoned"]
    job = pool.view(on_cancel="abandon").run(jobs.touch_and_sleep, str(path / "x"), 0.5)
    future = job.start()
    await until((path / "x").exists)
    future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await future
    stats = pool.stats()
    assert (stats["running"], stats["abandoned"]) == (1, before + 1)
    await until(lambda: pool.stats()["running"] == 0)


@row("process")
async def cancel_kills_where_that_was_asked_for(pool: offloop.Pool, path: Path) -> None:
    future = pool.view(on_cancel="kill").run(jobs.touch_and_sleep, str(path / "x"), 600).start()
    await until(lambda: (path / "x").exists() and (path / "x").read_text())
    worker = int((path / "x").read_text())
    future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await future
    await until(lambda: not Path(f"/proc/{worker}").exists() or sys.platform != "linux")
    await until(lambda: pool.stats()["running"] == 0)
    assert await pool.run(jobs.same, 1) == 1


@row("thread", "process")
async def a_function_that_asks_is_told_of_a_cancel(pool: offloop.Pool, path: Path) -> None:
    future = pool.run(jobs.ask_until_cancelled, str(path / "x"), LIMIT).start()
    await until((path / "x").exists)
    future.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await future
    assert time.monotonic() - began < LIMIT / 2
    # The next call of the same worker is not taken for the cancelled one.
    assert await pool.run(jobs.ask_until_cancelled, str(path / "y"), 0.05) == "never asked to stop"


@row("thread", "process")
async def a_timeout_ends_the_await_at_once(pool: offloop.Pool, path: Path) -> None:
    with pytest.raises(offloop.JobTimeout) as caught:
        await pool.view(timeout=0.2).run(jobs.sleep, 1.5)
    assert 0.15 < caught.value.queued + caught.value.ran < LIMIT
    await until(lambda: pool.stats()["running"] == 0)
    assert await pool.run(jobs.same, 1) == 1


@row("thread", "process")
async def a_queue_timeout_is_for_the_queue_alone(pool: offloop.Pool, _: Path) -> None:
    assert await pool.view(queue_timeout=LIMIT).run(jobs.sleep, 0.1) == "slept"
    held = [pool.run(jobs.sleep, 0.6).start() for _ in range(2)]
    await until(lambda: pool.stats()["running"] == 2)
    with pytest.raises(offloop.JobTimeout) as caught:
        await pool.view(queue_timeout=0.1).run(jobs.same, 1)
    assert caught.value.ran == 0
    await asyncio.gather(*held)


# Limits, queues, streams of calls.


@row()
async def a_full_queue_refuses_at_once(pool: offloop.Pool, _: Path) -> None:
    held = [pool.run(jobs.sleep, 0.6).start() for _ in range(2)]
    await until(lambda: pool.stats()["running"] == 2)
    waiting = [pool.run(jobs.same, n).start() for n in range(50)]
    with pytest.raises(offloop.PoolFull):
        await pool.run(jobs.same, 1)
    await asyncio.gather(*held, *waiting)
    assert await pool.run(jobs.same, 1) == 1


@row()
async def an_endless_map_stays_bounded_and_closes_its_source(pool: offloop.Pool, _: Path) -> None:
    taken: list[int] = []

    def endless() -> Iterator[int]:
        try:
            while True:
                taken.append(len(taken))
                yield taken[-1]
        finally:
            taken.append(-1)

    got = []
    async with contextlib.aclosing(pool.amap(jobs.same, endless(), limit=4, ordered=True)) as them:
        async for value in them:
            got.append(value)
            if len(got) == 30:
                break
    assert got == list(range(30))
    assert len(taken) <= 30 + 6
    assert taken[-1] == -1


@row()
async def a_map_takes_an_asynchronous_source(pool: offloop.Pool, _: Path) -> None:
    async def source() -> AsyncIterator[int]:
        for number in range(10):
            await asyncio.sleep(0)
            yield number

    got = [it async for it in pool.amap(jobs.same, source())]
    assert sorted(got) == list(range(10))


@row()
async def a_map_raises_where_the_result_would_have_come(pool: offloop.Pool, _: Path) -> None:
    got = []
    with pytest.raises(TypeError):
        async for value in pool.amap(abs, [-1, -2, "x", -4], ordered=True):  # type: ignore[list-item]
            got.append(value)
    assert got == [1, 2]


@row("thread")
async def a_generator_is_closed_in_its_thread_and_context(pool: offloop.Pool, _: Path) -> None:
    seen: list[tuple[int, str]] = []

    def numbers() -> Iterator[int]:
        jobs.variable.set("the generator's")
        try:
            for number in range(1000):
                seen.append((threading.get_ident(), jobs.variable.get()))
                yield number
        finally:
            seen.append((threading.get_ident(), jobs.variable.get()))

    async with contextlib.aclosing(pool.iterate(numbers(), batch=5)) as items:
        async for number in items:
            if number == 7:
                break
    assert len(set(seen)) == 1
    assert seen[0][0] != threading.get_ident()
    assert jobs.variable.get() != "the generator's"


@row("process", "interpreter")
async def only_threads_iterate(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(offloop.PlaceUnavailable):
        pool.iterate(range(3))


@row("thread")
async def nested_calls_work_while_there_is_room(pool: offloop.Pool, _: Path) -> None:
    def nest(depth: int) -> int:
        return 1 + pool.submit(nest, depth - 1).result(LIMIT) if depth > 1 else 1

    assert await pool.run(nest, 2) == 2
    with pytest.raises(offloop.WouldDeadlock):
        await pool.run(nest, 3)


@row("thread")
async def a_call_may_use_another_pool(pool: offloop.Pool, _: Path) -> None:
    other = offloop.Pool(limit=1)
    assert await pool.run(lambda: other.submit(jobs.same, 5).result(LIMIT)) == 5
    other.close()


@row("thread")
async def a_call_may_ask_the_loop(pool: offloop.Pool, _: Path) -> None:
    async def ask() -> int:
        return threading.get_ident()

    assert await pool.run(lambda: offloop.from_worker.run(ask())) == threading.get_ident()


@row()
async def a_thousand_calls_all_come_back(pool: offloop.Pool, _: Path) -> None:
    got = [it async for it in pool.amap(jobs.same, range(300), ordered=True)]
    assert got == list(range(300))


@row()
async def submit_gives_a_concurrent_future(pool: offloop.Pool, _: Path) -> None:
    assert await asyncio.wrap_future(pool.submit(jobs.same, 4)) == 4
    assert await asyncio.get_running_loop().run_in_executor(pool, jobs.same, 5) == 5


# Workers that die.


@row("process")
async def a_worker_that_exits_fails_its_own_call(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(offloop.WorkerDied) as caught:
        await pool.run(jobs.leave, 3)
    assert caught.value.exit_code == 3
    assert await pool.run(jobs.same, 1) == 1


@row("process")
async def twenty_killed_workers_harm_no_other_call(pool: offloop.Pool, path: Path) -> None:
    other = offloop.Pool("other", on="process", limit=1)
    unharmed = other.run(jobs.touch_and_sleep, str(path / "other"), 0.5).start()
    for n in range(20):
        file = path / str(n)
        victim = pool.run(jobs.touch_and_sleep, str(file), LIMIT).start()
        await until(lambda file=file: file.exists() and file.read_text())  # type: ignore[misc]
        beside = pool.run(jobs.same, n).start()
        os.kill(int(file.read_text()), signal.SIGKILL)
        with pytest.raises(offloop.WorkerDied) as caught:
            await victim
        assert caught.value.signal == signal.SIGKILL
        assert await beside == n
    assert await unharmed == "slept"
    other.close()


@row("process")
async def calls_run_in_other_processes(pool: offloop.Pool, _: Path) -> None:
    assert await pool.run(jobs.pid) != os.getpid()


@row("process")
async def what_a_call_prints_is_not_an_answer(pool: offloop.Pool, _: Path) -> None:
    assert await pool.run(jobs.print_much) == 100_000


@pytest.mark.parametrize(
    ("place", "check"), ROWS, ids=lambda it: it if isinstance(it, str) else it.__name__
)
def test_the_matrix(place: str, check: Row, pools: dict[str, offloop.Pool], tmp_path: Path) -> None:
    if place == "interpreter" and not HAS_INTERPRETERS:
        pytest.skip("needs Python 3.14")
    if place == "process" and os.name != "posix":
        pytest.skip("needs POSIX")
    asyncio.run(asyncio.wait_for(_checked(check, pools[place], tmp_path), 2 * LIMIT))


async def _checked(check: Row, pool: offloop.Pool, path: Path) -> None:
    """Run a row inside of a task of its own: SystemExit would end the loop."""
    await check(pool, path)


EXIT = """if True:
    import asyncio, sys, time
    import offloop, matrix_jobs

    async def main():
        pool = offloop.Pool("stuck", on={place!r}, limit=1)
        call = pool.view(on_cancel="abandon").run(matrix_jobs.touch_and_sleep, {file!r}, 3600)
        future = call.start()
        import os
        while not os.path.exists({file!r}):
            await asyncio.sleep(0.005)

    asyncio.run(main())
    print(time.time(), flush=True)
"""


@pytest.mark.parametrize("place", ["thread", "process"])
def test_a_stuck_call_holds_up_the_exit_for_three_seconds_at_most(
    place: str, tmp_path: Path
) -> None:
    code = EXIT.format(place=place, file=str(tmp_path / "begun"))
    began: list[float] = []
    program = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)])},
    )
    assert program.stdout is not None
    began.append(float(program.stdout.readline()))  # the end of main
    assert program.wait(LIMIT) == 0
    program.stdout.close()
    assert time.time() - began[0] <= 5  # three, and what a busy machine adds

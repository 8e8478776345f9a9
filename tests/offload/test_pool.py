"""`Pool` and its views on threads: limits, time, cancelling, waiting for oneself, iterating."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

import offloop
from conftest import Run

LIMIT = 10.0
"""Seconds to wait for anything."""


async def until(condition: Any) -> None:
    async with asyncio.timeout(LIMIT):
        while not condition():
            await asyncio.sleep(0.001)


def test_no_more_calls_run_at_once_than_the_limit_says(run: Run[Any]) -> None:
    lock, running, most = threading.Lock(), 0, 0
    together = threading.Barrier(3)

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        together.wait(LIMIT)
        with lock:
            running -= 1

    async def main() -> None:
        pool = offloop.Pool("three", limit=3)
        await asyncio.gather(*(pool.run(work) for _ in range(30)))
        assert most == 3
        stats = pool.stats()
        assert (stats["queued"], stats["running"], stats["done"]) == (0, 0, 30)
        assert sum(stats["run_time"]["counts"].values()) == 30

    run(main())


def test_a_view_has_a_limit_of_its_own_and_leaves_the_pool_to_others() -> None:
    async def main() -> None:
        pool, gate = offloop.Pool("gated", limit=2), threading.Event()
        narrow = pool.view(limit=1)
        held = [narrow.run(gate.wait, LIMIT).start() for _ in range(3)]
        assert await asyncio.wait_for(pool.run(int, "7"), LIMIT) == 7
        assert narrow.stats()["queued"] == 2
        gate.set()
        assert await asyncio.gather(*held) == [True] * 3

    asyncio.run(main())


def test_a_higher_priority_goes_first() -> None:
    async def main() -> None:
        pool, gate, order = offloop.Pool(limit=1), threading.Event(), list[int]()
        held = pool.run(gate.wait, LIMIT).start()
        await until(lambda: pool.stats()["running"] == 1)
        urgent = pool.view(priority=10)
        jobs = [pool.run(order.append, n).start() for n in range(3)]
        jobs += [urgent.run(order.append, n).start() for n in (10, 11)]
        gate.set()
        await asyncio.gather(held, *jobs)
        assert order == [10, 11, 0, 1, 2]

    asyncio.run(main())


def test_a_full_queue_refuses_and_cancelled_calls_give_way() -> None:
    async def main() -> None:
        pool, gate = offloop.Pool(limit=1, queue=2), threading.Event()
        held = pool.run(gate.wait, LIMIT).start()
        await until(lambda: pool.stats()["running"] == 1)
        waiting = [pool.run(int).start() for _ in range(2)]
        with pytest.raises(offloop.PoolFull):
            await pool.run(int)
        waiting[0].cancel()
        last = pool.run(int, "5").start()
        gate.set()
        assert await asyncio.wait_for(last, LIMIT) == 5
        await held
        assert pool.stats()["cancelled"] == 1

    asyncio.run(main())


def test_a_timeout_ends_the_await_and_tells_where_the_function_stood(run: Run[Any]) -> None:
    async def main() -> None:
        pool, gate = offloop.Pool(limit=1), threading.Event()

        def stuck() -> None:
            gate.wait(LIMIT)

        with pytest.raises(offloop.JobTimeout) as caught:
            await pool.view(timeout=0.05).run(stuck)
        assert isinstance(caught.value, TimeoutError)
        assert "gate.wait(LIMIT)" in "".join(caught.value.stack)
        assert caught.value.ran > 0.03 > caught.value.queued
        with pytest.raises(offloop.JobTimeout) as caught:
            await pool.view(queue_timeout=0.05).run(int)
        assert (caught.value.ran, caught.value.stack) == (0, [])
        stats = pool.stats()
        assert (stats["running"], stats["abandoned"], stats["failed"]) == (1, 1, 1)
        gate.set()
        assert await pool.run(int, "3") == 3

    run(main())


def test_an_abandoned_call_is_counted_and_its_result_released_by_the_loop(run: Run[Any]) -> None:
    released: list[int] = []

    class Witness:
        def __del__(self) -> None:
            released.append(threading.get_ident())

    async def main() -> None:
        pool, gate = offloop.Pool(limit=1), threading.Event()

        def work() -> Witness:
            gate.wait(LIMIT)
            return Witness()

        future = pool.view(on_cancel="abandon").run(work).start()
        await until(lambda: pool.stats()["running"] == 1)
        future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await future
        assert pool.stats()["abandoned"] == 1
        gate.set()
        await until(lambda: released)
        assert released == [threading.get_ident()]
        assert pool.stats()["running"] == 0

    run(main())


def test_a_function_can_ask_whether_it_is_still_wanted(run: Run[Any]) -> None:
    seen: list[Any] = []

    def work() -> None:
        seen.append(offloop.current_job())
        while True:
            offloop.check_cancelled()
            time.sleep(0.001)

    async def main() -> None:
        pool = offloop.Pool("asking", limit=1)
        future = pool.run(work).start()
        await until(lambda: seen)
        future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(future, LIMIT)
        assert (seen[0].pool, seen[0].where) == ("asking", "thread:asking-1")
        assert pool.stats()["cancelled"] == 1
        assert offloop.current_job() is None

    run(main())


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_waiting_for_the_own_full_pool_is_an_error_and_not_a_hang(limit: int) -> None:
    pool = offloop.Pool(limit=limit)

    def nest(depth: int) -> int:
        return 1 + pool.submit(nest, depth - 1).result() if depth > 1 else 1

    for depth in range(1, limit + 3):
        if depth <= limit:
            assert pool.submit(nest, depth).result(LIMIT) == depth
        else:
            with pytest.raises(offloop.WouldDeadlock):
                pool.submit(nest, depth).result(LIMIT)
    assert pool.submit(int, "1").result(LIMIT) == 1


def test_waiting_in_a_circle_of_two_pools_is_an_error() -> None:
    pools = [offloop.Pool(limit=1), offloop.Pool(limit=1)]

    def nest(depth: int) -> int:
        return 1 + pools[depth % 2].submit(nest, depth - 1).result() if depth else 0

    assert pools[0].submit(nest, 1).result(LIMIT) == 1
    with pytest.raises(offloop.WouldDeadlock):
        pools[0].submit(nest, 3).result(LIMIT)


def test_a_loop_in_a_worker_that_awaits_its_own_pool_is_an_error() -> None:
    async def main() -> None:
        pool = offloop.Pool(limit=1)

        async def inner() -> int:
            return await pool.run(int)

        with pytest.raises(offloop.WouldDeadlock):
            await asyncio.wait_for(pool.run(lambda: asyncio.run(inner())), LIMIT)

    asyncio.run(main())


def test_the_loop_can_be_asked_from_a_worker_in_the_same_context(run: Run[Any]) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    async def ask() -> tuple[str, int]:
        return variable.get(), threading.get_ident()

    async def main() -> None:
        variable.set("mine")
        got = await offloop.run(lambda: offloop.from_worker.run(ask()))
        assert got == ("mine", threading.get_ident())

    run(main())


def test_a_cancel_reaches_the_coroutine_a_worker_waits_for() -> None:
    cancelled: list[bool] = []

    async def main() -> None:
        begun = asyncio.Event()

        async def wait() -> None:
            begun.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append(True)
                raise

        future = offloop.run(lambda: offloop.from_worker.run(wait())).start()
        await asyncio.wait_for(begun.wait(), LIMIT)
        future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(future, LIMIT)

    asyncio.run(main())
    assert cancelled == [True]


def test_the_limit_changes_while_calls_run() -> None:
    async def main() -> None:
        pool, gate = offloop.Pool(limit=1), threading.Event()
        jobs = [pool.run(gate.wait, LIMIT).start() for _ in range(4)]
        await until(lambda: pool.stats()["running"] == 1)
        pool.resize(3)
        await until(lambda: pool.stats()["running"] == 3)
        pool.resize(1)
        gate.set()
        await asyncio.gather(*jobs)
        await until(lambda: pool.stats()["workers"] <= 1)
        assert await pool.run(int, "4") == 4

    asyncio.run(main())


def test_workers_leave_when_they_have_had_nothing_to_do() -> None:
    async def main() -> None:
        pool = offloop.Pool(limit=2, idle=0.02)
        await pool.run(int)
        await until(lambda: pool.stats()["workers"] == 0)
        assert await pool.run(int, "6") == 6

    asyncio.run(main())


def test_an_initializer_runs_once_in_each_worker_and_its_failure_fails_the_calls() -> None:
    async def main() -> None:
        local = threading.local()
        pool = offloop.Pool(limit=1, initializer=setattr, initargs=(local, "ready", True))
        assert await pool.run(getattr, local, "ready") is True

        def fail() -> None:
            raise LookupError("mine")

        broken = offloop.Pool("broken", limit=1, initializer=fail)
        with pytest.raises(offloop.OffloadError, match="broken") as caught:
            await asyncio.wait_for(broken.run(int), LIMIT)
        assert isinstance(caught.value.__cause__, LookupError)

    asyncio.run(main())


@pytest.mark.parametrize("ordered", [True, False])
def test_map_takes_endless_sources_and_stays_bounded(run: Run[Any], ordered: bool) -> None:
    taken, closed = 0, False

    def endless() -> Iterator[int]:
        nonlocal taken, closed
        try:
            while taken < 10_000:  # an end for a map without a bound
                yield taken
                taken += 1
        finally:
            closed = True

    async def main() -> None:
        got = []
        async with contextlib.aclosing(
            offloop.map(lambda n: n, endless(), limit=4, ordered=ordered)
        ) as results:
            async for value in results:
                got.append(value)
                if len(got) == 100:
                    break
        assert sorted(got)[:90] == list(range(90))
        assert not ordered or got == list(range(100))
        assert taken <= 105
        assert closed

    run(main())


def test_map_reads_an_asynchronous_source_and_raises_its_error_after_what_was_done(
    run: Run[Any],
) -> None:
    async def source() -> AsyncIterator[int]:
        for n in range(5):
            await asyncio.sleep(0)
            yield n
        raise LookupError("mine")

    async def main() -> None:
        got = []
        with pytest.raises(LookupError, match="mine"):
            async for value in offloop.map(lambda n: n * n, source(), ordered=True):
                got.append(value)
        assert got == [0, 1, 4, 9, 16]

    run(main())


def test_iterate_keeps_a_generator_on_one_thread_and_closes_it_there(run: Run[Any]) -> None:
    threads: set[int] = set()

    def numbers() -> Iterator[int]:
        try:
            for n in range(10_000):
                threads.add(threading.get_ident())
                yield n
        finally:
            threads.add(threading.get_ident())
            threads.add(-1)

    async def main() -> None:
        assert [n async for n in offloop.iterate(numbers())] == list(range(10_000))
        assert len(threads) == 2
        threads.clear()
        async with contextlib.aclosing(offloop.iterate(numbers(), batch=7)) as items:
            async for n in items:
                if n == 50:
                    break
        assert len(threads) == 2
        assert threading.get_ident() not in threads

    run(main())


def test_iterate_gives_what_came_before_an_error_and_lets_no_item_wait(run: Run[Any]) -> None:
    go_on = threading.Event()

    def numbers() -> Iterator[int]:
        yield 1
        go_on.wait(LIMIT)
        yield 2
        raise LookupError("mine")

    async def main() -> None:
        go_on.clear()
        got = []
        with pytest.raises(LookupError, match="mine"):
            async for n in offloop.iterate(numbers()):
                got.append(n)
                go_on.set()  # never set, if the first item waited for the second
        assert got == [1, 2]

    run(main())


def test_a_declared_function_runs_where_it_was_declared_to(run: Run[Any]) -> None:
    @offloop.offloaded(kind="io", limit=1, timeout=5)
    def double(number: int) -> int:
        return 2 * number

    async def main() -> None:
        assert await double(2) == 4
        assert await offloop.run(double, 3) == 6
        assert double.sync(4) == 8
        assert "thread" in offloop.explain(double)
        inline = offloop.Pool(on="inline")
        assert await inline.run(threading.get_ident) == threading.get_ident()

    run(main())


def test_a_scope_waits_for_its_calls_and_cancels_them_when_one_fails(run: Run[Any]) -> None:
    async def main() -> None:
        async with offloop.Scope() as scope:
            task = scope.run(pow, 2, 3)
        assert task.result() == 8
        with pytest.raises(ExceptionGroup):
            async with offloop.Scope() as scope:
                scope.run(int, "x")

    run(main())


def test_a_pool_is_an_executor_for_loops_and_can_be_their_default(run: Run[Any]) -> None:
    async def main() -> None:
        loop, pool = asyncio.get_running_loop(), offloop.Pool("own", limit=2)
        assert await loop.run_in_executor(pool, pow, 2, 3) == 8
        pool.as_default_executor()
        thread = await asyncio.to_thread(threading.current_thread)
        assert thread.name.startswith("offloop-own-")

    run(main())


def test_closing_calls_off_what_waits_and_names_what_runs() -> None:
    gate = threading.Event()
    pool = offloop.Pool("closing", limit=1)
    running = pool.submit(gate.wait, LIMIT)
    while not running.running():
        time.sleep(0.001)
    waiting: Future[int] = pool.submit(int)
    assert len(pool.close(grace=0.05)) == 1
    assert waiting.cancelled()
    with pytest.raises(offloop.Closed):
        pool.submit(int)
    gate.set()
    assert running.result(LIMIT) is True


def test_a_stuck_call_of_a_pool_does_not_hold_up_the_exit() -> None:
    code = """if True:
        import asyncio, time, offloop

        async def main():
            pool = offloop.Pool("stuck", limit=1)
            pool.view(on_cancel="abandon").run(time.sleep, 3600).start()
            await asyncio.sleep(0.1)

        asyncio.run(main())
    """
    began = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert time.monotonic() - began < 6
    assert ended.returncode == 0
    assert "sleep" in ended.stderr
    assert "offloop-stuck-1" in ended.stderr

"""Cancelling stops the work at once, loses nothing and is never swallowed."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import offloop
from conftest import Run
from offloop import _offloop
from servers import Server


def test_cancel_settles_at_once(run: Run[Any]) -> None:
    async def main() -> None:
        job = _offloop.sleep(60)
        job.start()
        assert job.cancel("enough")
        assert job.cancelled()
        assert not job.cancel()
        with pytest.raises(asyncio.CancelledError, match="enough"):
            job.result()
        with pytest.raises(asyncio.CancelledError):
            await job

    run(main())


def test_cancelling_the_task_cancels_the_job(run: Run[Any]) -> None:
    async def main() -> None:
        job = _offloop.sleep(60)

        async def waiter() -> None:
            await job

        task = asyncio.create_task(waiter())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert job.cancelled()

    run(main())


def test_a_timeout_leaves_no_cancel_behind(run: Run[Any]) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), asyncio.TaskGroup() as group:
                group.create_task(_offloop.sleep(60))
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_offloop.sleep(60), 0.01)
        await _offloop.sleep(0.001)

    run(main())


def test_a_call_that_waits_for_its_turn_is_dropped(run: Run[Any]) -> None:
    async def main() -> None:
        blockers = [offloop.run(time.sleep, 0.3).start() for _ in range(40)]
        called: list[int] = []
        late = offloop.run(called.append, 1)
        future = late.start()
        await asyncio.sleep(0.1)
        assert late.state == "queued"
        assert late.cancel()
        assert late.cancelled()
        await asyncio.gather(*blockers)
        await asyncio.sleep(0.05)
        assert called == []
        assert future.cancelled()

    run(main())


def test_cancelling_a_running_call_waits_for_its_end(run: Run[Any]) -> None:
    async def main() -> None:
        began = time.perf_counter()
        task = asyncio.ensure_future(asyncio.wait_for(offloop.run(time.sleep, 0.3), 0.05))
        with pytest.raises(TimeoutError):
            await task
        assert time.perf_counter() - began >= 0.29

    run(main())


def test_what_a_cancelled_call_raised_is_not_lost(run: Run[Any]) -> None:
    def fail_late() -> None:
        time.sleep(0.1)
        raise LookupError("late")

    async def main() -> None:
        job = offloop.run(fail_late)
        job.start()
        await asyncio.sleep(0.02)
        assert job.cancel()
        assert not job.cancelled()
        with pytest.raises(asyncio.CancelledError) as caught:
            await job
        assert isinstance(caught.value.__context__, LookupError)

    run(main())


def test_throwing_at_one_awaiter_leaves_the_others_alone(run: Run[Any]) -> None:
    async def main() -> None:
        job = _offloop.sleep(0.05)

        async def waiter() -> str:
            await asyncio.shield(job)
            return "done"

        first, second = asyncio.create_task(waiter()), asyncio.create_task(waiter())
        await asyncio.sleep(0.01)
        first.cancel()
        assert await second == "done"
        with pytest.raises(asyncio.CancelledError):
            await first

    run(main())


def test_closing_an_abandoned_awaiter_leaves_the_job_alone(run: Run[Any]) -> None:
    async def main() -> None:
        job = _offloop.sleep(0.02)

        async def waiter() -> None:
            await job

        coroutine = waiter()
        coroutine.send(None)
        coroutine.close()
        await job

    run(main())


@settings(max_examples=30, deadline=None)
@given(
    delays=st.lists(st.tuples(st.floats(0, 0.004), st.floats(0, 0.004)), min_size=1, max_size=40)
)
def test_result_or_cancelled_error_but_never_both_and_never_neither(
    delays: list[tuple[float, float]],
) -> None:
    async def one(work: float, patience: float) -> str:
        job = _offloop.sleep(work)
        ends: list[str] = []
        job.add_done_callback(lambda it: ends.append("cancelled" if it.cancelled() else "result"))
        asyncio.get_running_loop().call_later(patience, job.cancel)
        try:
            await job
            outcome = "result"
        except asyncio.CancelledError:
            outcome = "cancelled"
        await asyncio.sleep(0.001)
        assert ends == [outcome]
        return outcome

    async def main() -> None:
        outcomes = await asyncio.gather(*(one(*delay) for delay in delays))
        assert len(outcomes) == len(delays)

    asyncio.run(main())


def test_two_thousand_cancelled_fetches_leave_no_connection(own_server: Server) -> None:
    async def main() -> None:
        async with offloop.Client() as client:

            async def one() -> None:
                job = client.get(f"{own_server.url}/delay/0.02")
                asyncio.get_running_loop().call_later(random.uniform(0, 0.04), job.cancel)
                try:
                    await job
                except asyncio.CancelledError:
                    pass

            for _ in range(20):
                await asyncio.gather(*(one() for _ in range(100)))
            assert (await client.get(f"{own_server.url}/1k")).status_code == 200
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())
    give_up = time.monotonic() + 1
    while (left := own_server.stats()["open"]) and time.monotonic() < give_up:
        time.sleep(0.02)
    assert left == 0


def test_a_cancelled_fetch_closes_its_connection_within_100_ms(own_server: Server) -> None:
    async def main() -> None:
        async with offloop.Client() as client:
            jobs = [client.get(f"{own_server.url}/hang") for _ in range(20)]
            futures = [job.start() for job in jobs]
            while own_server.stats()["open"] < 20:
                await asyncio.sleep(0.01)
            for future in futures:
                future.cancel()
            await asyncio.sleep(0.1)
            assert own_server.stats()["open"] == 0

    asyncio.run(main())


@pytest.mark.parametrize("return_exceptions", [False, True])
def test_a_cancelled_gather_of_jobs_ends(run: Run[Any], return_exceptions: bool) -> None:
    async def main() -> None:
        async def gather(jobs: list[offloop.Job[None]]) -> None:
            await asyncio.gather(*jobs, return_exceptions=return_exceptions)

        task = asyncio.create_task(gather([_offloop.sleep(60) for _ in range(100)]))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 5)
        jobs = [_offloop.sleep(60), _offloop.sleep(60)]
        task = asyncio.create_task(gather(jobs))
        await asyncio.sleep(0.01)
        for job in jobs:
            job.cancel()
        if return_exceptions:
            await asyncio.wait_for(task, 5)
        else:
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, 5)

    run(main())

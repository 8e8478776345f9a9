"""Every completion is delivered, once, in the loop's thread, and none starves the loop."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from typing import Any

import pytest

import offloop
from conftest import Run
from offloop import _offloop


def test_every_completion_arrives_once_though_callbacks_raise(run: Run[Any]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        reported: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: reported.append(context))
        calls: dict[int, int] = dict.fromkeys(range(1000), 0)
        jobs = []
        for n in calls:

            def callback(job: offloop.Job[None], n: int = n) -> None:
                assert threading.current_thread() is threading.main_thread()
                calls[n] += 1
                if n % 7 == 0:
                    raise LookupError(n)

            job = _offloop.sleep(0.001)
            job.add_done_callback(callback)
            jobs.append(job)
        await asyncio.gather(*jobs)
        await asyncio.sleep(0.01)
        assert set(calls.values()) == {1}
        assert len(reported) == len(range(0, 1000, 7))
        assert all(isinstance(context["exception"], LookupError) for context in reported)

    run(main())


def test_a_system_exit_in_a_callback_loses_none_of_the_others(run: Run[Any]) -> None:
    arrived: list[int] = []

    async def main() -> None:
        def leave(_: Any) -> None:
            raise SystemExit(7)

        for n in range(50):
            job = _offloop.sleep(0.001)
            job.add_done_callback(lambda _, n=n: arrived.append(n))
            if n == 10:
                job.add_done_callback(leave)
        await asyncio.sleep(5)

    loop = asyncio.new_event_loop()
    task = loop.create_task(main())
    with pytest.raises(SystemExit) as left:
        loop.run_until_complete(task)
    assert left.value.code == 7
    loop.run_until_complete(asyncio.sleep(0.05))
    assert sorted(arrived) == list(range(50))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


def test_a_hundred_thousand_lone_completions_at_random_gaps(run: Run[Any]) -> None:
    async def main() -> None:
        async def chain(count: int) -> None:
            for _ in range(count):
                await _offloop.sleep()
                if random.random() < 0.05:
                    await asyncio.sleep(random.random() * 1e-4)

        await asyncio.wait_for(asyncio.gather(*(chain(2_500) for _ in range(4))), 60)

    run(main())


def test_a_flood_of_completions_leaves_turns_to_others(run: Run[Any]) -> None:
    async def main() -> None:
        def busy(_: Any) -> None:
            end = time.perf_counter() + 50e-6
            while time.perf_counter() < end:
                pass

        gaps: list[float] = []

        async def heartbeat() -> None:
            last = time.perf_counter()
            while True:
                await asyncio.sleep(0)
                now = time.perf_counter()
                gaps.append(now - last)
                last = now

        beating = asyncio.create_task(heartbeat())
        jobs = [_offloop.sleep(0.005) for _ in range(2_000)]
        for job in jobs:
            job.add_done_callback(busy)
        await asyncio.gather(*jobs)
        beating.cancel()
        # All of them at once would be 100 ms and more; a turn is 1 ms and one callback. In debug
        # mode asyncio runs the callbacks itself, and sets the pace.
        if not asyncio.get_running_loop().get_debug():
            assert max(sorted(gaps)[: len(gaps) * 99 // 100]) < 0.08

    run(main())


def test_timers_and_completions_share_the_loop(run: Run[Any]) -> None:
    async def main() -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.001)
                ticks += 1

        ticking = asyncio.create_task(tick())
        end = time.perf_counter() + 0.3
        # Longer on a busy machine; one that starves would have one tick or none all the same.
        while (now := time.perf_counter()) < end or (ticks <= 5 and now < end + 3):
            await asyncio.gather(*(_offloop.sleep() for _ in range(100)))
        ticking.cancel()
        assert ticks > 5

    run(main())


def test_jobs_started_together_all_depart(run: Run[Any]) -> None:
    async def main() -> None:
        for count in (1, 2, 3, 31, 32, 33, 100):
            async with asyncio.timeout(10):
                await asyncio.gather(*(_offloop.sleep() for _ in range(count)))

    run(main())

"""`Pool(on="process")`, `to_process` and `offloaded`: what the awaiter sees."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import process_declared as declared
import process_jobs as jobs
import pytest
from process_place import LIMIT, exists, told

import offloop
from conftest import Run


async def gone(pid: int) -> None:
    """Wait for the end of a process, without blocking the loop."""
    async with asyncio.timeout(3):
        while exists(pid):
            await asyncio.sleep(0.01)


def in_pool(main: Callable[[offloop.Pool], Any], **options: Any) -> Any:
    """Run a coroutine with a pool of processes that is gone afterwards."""

    async def whole() -> Any:
        pool = offloop.Pool("test", on="process", **{"limit": 2, **options})
        try:
            async with asyncio.timeout(30):
                return await main(pool)
        finally:
            pool.close(grace=0)

    return asyncio.run(whole())


def test_awaiting_gives_the_result_on_every_loop(run: Run[Any]) -> None:
    async def main() -> None:
        assert await offloop.to_process(jobs.describe, 1, x=2) == ((1,), {"x": 2})
        got = await asyncio.gather(*(offloop.to_process(jobs.echo, n) for n in range(50)))
        assert got == list(range(50))
        with pytest.raises(ValueError, match="outer") as caught:
            await offloop.to_process(jobs.raise_with_notes)
        assert "in raise_with_notes" in str(caught.value.__cause__)
        assert "raised in process:" in caught.value.__notes__[-1]

    run(main())


@pytest.mark.parametrize(
    ("fn", "args", "kind"),
    [
        (jobs.raise_stop_iteration, (), RuntimeError),
        (jobs.recurse, (), RecursionError),
        (jobs.return_lock, (), offloop.NotPicklable),
        (jobs.echo, (threading.Lock(),), offloop.NotPicklable),
        (jobs.die, (), offloop.WorkerDied),
        (os._exit, (3,), offloop.WorkerDied),
    ],
)
def test_failures_reach_the_awaiter(fn: Any, args: Any, kind: type[BaseException]) -> None:
    async def main(pool: offloop.Pool) -> None:
        with pytest.raises(kind):
            await pool.run(fn, *args)
        assert await pool.run(jobs.echo, 1) == 1

    in_pool(main)


@pytest.mark.parametrize(
    ("fn", "args", "kind"),
    [(jobs.leave, (3,), SystemExit), (jobs.interrupt, (), KeyboardInterrupt)],
)
def test_exits_and_interrupts_reach_the_awaiter(
    fn: Any, args: Any, kind: type[BaseException]
) -> None:
    async def main(pool: offloop.Pool) -> int:
        pid = await pool.run(os.getpid)
        try:
            await pool.run(fn, *args)
        except kind:
            assert await pool.run(os.getpid) == pid
            return 1
        return 0

    assert in_pool(main) == 1


def test_context_variables_stay_at_home() -> None:
    async def main(pool: offloop.Pool) -> None:
        declared.variable.set("mine")
        assert await pool.run(declared.read_variable) == "none"

    in_pool(main)


def test_a_timeout_ends_the_worker_and_nothing_else(tmp_path: Path) -> None:
    async def main(pool: offloop.Pool) -> None:
        other = asyncio.ensure_future(pool.run(jobs.pid_after, 1.0))
        started = time.monotonic()
        with pytest.raises(offloop.JobTimeout):
            await pool.view(timeout=0.5).run(jobs.touch_and_sleep, str(tmp_path / "pid"), 60)
        assert time.monotonic() - started < 10
        pid = told(tmp_path / "pid")
        await gone(pid)
        assert await other != pid
        assert await pool.run(jobs.echo, 1) == 1

    in_pool(main)


@pytest.mark.parametrize("mode", ["wait", "abandon", "kill"])
def test_cancelling_waits_abandons_or_kills(mode: Any, tmp_path: Path) -> None:
    async def main(pool: offloop.Pool) -> None:
        seconds = 2.0 if mode != "kill" else 60
        job = asyncio.ensure_future(
            pool.view(on_cancel=mode).run(jobs.touch_and_sleep, str(tmp_path / "pid"), seconds)
        )
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            await asyncio.sleep(0.01)
        pid = told(tmp_path / "pid")
        started = time.monotonic()
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        took = time.monotonic() - started
        if mode == "wait":
            assert took > 1
            assert exists(pid)
        elif mode == "abandon":
            assert took < 1
            assert exists(pid)
        else:
            await gone(pid)
        assert await pool.run(jobs.echo, 1) == 1

    in_pool(main)


def test_what_waits_is_dropped_when_it_is_cancelled(tmp_path: Path) -> None:
    async def main(pool: offloop.Pool) -> None:
        first = asyncio.ensure_future(pool.run(jobs.pid_after, 0.4))
        second = asyncio.ensure_future(pool.run(jobs.touch_and_sleep, str(tmp_path / "pid"), 0))
        await asyncio.sleep(0.1)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        await first
        assert await pool.run(jobs.echo, 1) == 1
        assert not (tmp_path / "pid").exists()

    in_pool(main, limit=1)


@pytest.mark.once
def test_twenty_kills_during_a_map_cost_a_call_each_at_most() -> None:
    async def main(pool: offloop.Pool) -> None:
        killed: list[int] = []

        async def kill() -> None:
            while len(killed) < 20:
                await asyncio.sleep(0.05)
                pids = pool._dispatcher.place.pids()  # type: ignore[union-attr]
                if pids:
                    killed.append(pids[0])
                    os.kill(pids[0], signal.SIGKILL)

        async def one(number: int) -> int | None:
            try:
                return await pool.run(jobs.echo_after, number, 0.01)
            except offloop.WorkerDied as error:
                return None if (error.signal, error.pid in killed) == (signal.SIGKILL, True) else -1

        killer = asyncio.ensure_future(kill())
        got = await asyncio.gather(*(one(n) for n in range(400)))
        await killer
        lost = got.count(None)
        assert lost <= 20
        assert [it for it in got if it is not None] == [n for n in range(400) if got[n] is not None]

    in_pool(main, limit=3)


def test_amap_is_bounded_and_ordered_over_an_endless_source() -> None:
    async def main(pool: offloop.Pool) -> None:
        taken = 0

        async def endless() -> AsyncIterator[int]:
            nonlocal taken
            while taken < 10_000:  # an end for a map without a bound
                taken += 1
                yield taken

        got = []
        async for value in pool.amap(jobs.echo, endless(), limit=4, ordered=True):
            got.append(value)
            if value == 50:
                break
        assert got == list(range(1, 51))
        assert taken < 100

    in_pool(main)


def test_declared_functions_run_there_though_their_names_mean_something_else() -> None:
    async def main() -> None:
        pid, value = await declared.where(4)
        assert pid != os.getpid()
        assert value == 4
        assert await declared.compute(5) == 25

    asyncio.run(main())
    assert declared.where.sync(2)[0] != os.getpid()
    expected = "interpreter" if sys.version_info >= (3, 14) else "process"
    assert f"compute: {expected}" in offloop.explain(declared.compute) or (
        "compute: process" in offloop.explain(declared.compute)
    )


def test_declared_functions_need_no_cloudpickle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)

    async def main() -> None:
        assert (await declared.where(4))[1] == 4

    asyncio.run(main())


def test_a_worker_process_may_offload_to_processes_of_its_own() -> None:
    async def main(pool: offloop.Pool) -> None:
        parent, own = await pool.run(declared.run_nested)
        assert parent == own

    in_pool(main)


def test_it_is_an_executor_for_run_in_executor() -> None:
    async def main(pool: offloop.Pool) -> None:
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(pool, os.getpid) != os.getpid()
        futures = [pool.submit(jobs.echo, n) for n in range(5)]
        done, _ = concurrent.futures.wait(futures, LIMIT)
        assert {it.result() for it in done} == set(range(5))

    in_pool(main)


def test_stats_count_what_was_killed() -> None:
    async def main(pool: offloop.Pool) -> None:
        for fn in (jobs.die, os.getpid):
            await asyncio.gather(pool.run(fn), return_exceptions=True)
        stats = pool.stats()
        assert (stats["done"], stats["failed"]) == (1, 1)

    in_pool(main)


def test_an_executor_can_be_the_place() -> None:
    async def main() -> None:
        with concurrent.futures.ThreadPoolExecutor(2) as executor:
            pool = offloop.Pool("other", on=executor, limit=2)
            assert await pool.run(pow, 2, 5) == 32
            with pytest.raises(ZeroDivisionError):
                await pool.run(divmod, 1, 0)
            pool.close()

    asyncio.run(main())


@pytest.mark.once
def test_a_dask_cluster_can_be_the_place() -> None:
    pytest.importorskip("distributed")

    async def main() -> None:
        pool = offloop.Pool.dask(limit=2)
        assert await pool.run(jobs.describe, 1, key=2) == ((1,), {"key": 2})
        got = [it async for it in pool.amap(jobs.echo, range(20), ordered=True)]
        assert got == list(range(20))
        await pool.aclose()

    asyncio.run(main())

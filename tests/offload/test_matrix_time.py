"""The matrix: cancelling, time limits, and the exit."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import matrix
import matrix_jobs as jobs
import pytest
from matrix import LIMIT, Row, until

import offloop

rows = matrix.Rows()


@pytest.fixture(scope="module")
def pools() -> Iterator[dict[str, offloop.Pool]]:
    yield from matrix.pools()


@rows.row("thread", "process")
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


@rows.row("thread", "process")
async def cancel_waits_for_the_function_by_default(pool: offloop.Pool, path: Path) -> None:
    future = pool.run(jobs.touch_and_sleep, str(path / "x"), 0.3).start()
    await until((path / "x").exists)
    began = time.monotonic()
    future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await future
    assert time.monotonic() - began > 0.1
    assert pool.stats()["running"] == 0


@rows.row("thread", "process")
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


@rows.row("process")
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


@rows.row("thread", "process")
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


@rows.row("thread", "process")
async def a_timeout_ends_the_await_at_once(pool: offloop.Pool, path: Path) -> None:
    with pytest.raises(offloop.JobTimeout) as caught:
        await pool.view(timeout=0.2).run(jobs.sleep, 1.5)
    assert 0.15 < caught.value.queued + caught.value.ran < LIMIT
    await until(lambda: pool.stats()["running"] == 0)
    assert await pool.run(jobs.same, 1) == 1


@rows.row("thread", "process")
async def a_queue_timeout_is_for_the_queue_alone(pool: offloop.Pool, _: Path) -> None:
    assert await pool.view(queue_timeout=LIMIT).run(jobs.sleep, 0.1) == "slept"
    held = [pool.run(jobs.sleep, 0.6).start() for _ in range(2)]
    await until(lambda: pool.stats()["running"] == 2)
    with pytest.raises(offloop.JobTimeout) as caught:
        await pool.view(queue_timeout=0.1).run(jobs.same, 1)
    assert caught.value.ran == 0
    await asyncio.gather(*held)


@rows.all()
def test_the_matrix(place: str, check: Row, pools: dict[str, offloop.Pool], tmp_path: Path) -> None:
    matrix.check_row(place, check, pools, tmp_path)


EXIT = """if True:
    import asyncio, sys, time
    import offloop, matrix_jobs

    async def main():
        {keep}
        pool = offloop.Pool("stuck", on={place!r}, limit=1)
        call = pool.view(on_cancel="abandon").run(matrix_jobs.touch_and_sleep, {file!r}, 3600)
        future = call.start()
        import os
        while not os.path.exists({file!r}):
            await asyncio.sleep(0.005)

    asyncio.run(main())
    print(time.time(), flush=True)
"""


@pytest.mark.parametrize("kept", [False, True], ids=["dropped", "kept"])
@pytest.mark.parametrize("place", ["thread", "process"])
def test_a_stuck_call_holds_up_the_exit_for_three_seconds_at_most(
    place: str, kept: bool, tmp_path: Path
) -> None:
    code = EXIT.format(
        place=place, keep="global pool" if kept else "", file=str(tmp_path / "begun")
    )
    began: list[float] = []
    program = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)])},
    )
    assert program.stdout is not None
    assert program.stderr is not None
    began.append(float(program.stdout.readline()))  # the end of main
    assert program.wait(LIMIT) == 0
    with program.stdout, program.stderr:
        assert "touch_and_sleep running at exit" in program.stderr.read()
    assert time.time() - began[0] <= 5  # three, and what a busy machine adds

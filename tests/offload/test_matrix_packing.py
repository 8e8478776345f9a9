"""The matrix: what does not travel, and workers that die."""

from __future__ import annotations

import os
import signal
import threading
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


@rows.row("process", "interpreter")
async def an_argument_that_does_not_pickle_is_named_at_once(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(offloop.NotPicklable, match="lock"):
        await pool.run(jobs.same, {"here": threading.Lock()})


@rows.row("process", "interpreter")
async def a_result_that_does_not_pickle_is_an_error(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(offloop.NotPicklable):
        await pool.run(jobs.give_unpicklable)
    assert await pool.run(jobs.same, 1) == 1


@rows.row("process", "interpreter")
async def a_result_that_does_not_come_back_is_an_error(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises((offloop.NotPicklable, jobs.PlainError)):
        await pool.run(jobs.give_unloadable)
    assert await pool.run(jobs.same, 1) == 1


@rows.row("process", "interpreter")
async def an_exception_that_does_not_pickle_is_an_error(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(offloop.OffloadError, match="has a lock"):
        await pool.run(jobs.fail_unpicklable)
    assert await pool.run(jobs.same, 1) == 1


@rows.row("process", "interpreter")
async def an_exception_with_its_own_constructor_is_an_error(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises((offloop.OffloadError, jobs.OwnError), match="mine"):
        await pool.run(jobs.fail_own)
    assert await pool.run(jobs.same, 1) == 1


# Workers that die.


@rows.row("process")
async def a_worker_that_exits_fails_its_own_call(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(offloop.WorkerDied) as caught:
        await pool.run(jobs.leave, 3)
    assert caught.value.exit_code == 3
    assert await pool.run(jobs.same, 1) == 1


@rows.row("process")
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


@rows.row("process")
async def calls_run_in_other_processes(pool: offloop.Pool, _: Path) -> None:
    assert await pool.run(jobs.pid) != os.getpid()


@rows.row("process")
async def what_a_call_prints_is_not_an_answer(pool: offloop.Pool, _: Path) -> None:
    assert await pool.run(jobs.print_much) == 100_000


@rows.all()
def test_the_matrix(place: str, check: Row, pools: dict[str, offloop.Pool], tmp_path: Path) -> None:
    matrix.check_row(place, check, pools, tmp_path)

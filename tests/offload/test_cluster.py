"""Any executor as the place of a pool's calls."""

from __future__ import annotations

import threading
from concurrent.futures import (
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from typing import Any

import process_jobs as jobs
import pytest
from process_place import LIMIT, call, start, submit

import offloop
from offloop.pools._base import Plan
from offloop.pools.cluster import ClusterPlace


def place_of(executor: Any, **options: Any) -> ClusterPlace:
    return ClusterPlace(Plan("test", 4, options={"executor": executor, **options}))


def test_calls_go_to_the_executor_and_their_outcomes_come_back() -> None:
    with ThreadPoolExecutor(2) as executor:
        place = place_of(executor)
        assert call(place, jobs.describe, 1, x=2) == ((1,), {"x": 2})
        with pytest.raises(ZeroDivisionError):
            call(place, divmod, 1, 0)
        place.close()
        assert executor.submit(len, "ab").result(LIMIT) == 2


def test_an_executor_that_is_the_pools_own_is_shut_down_with_it() -> None:
    executor = ThreadPoolExecutor(1)
    place = place_of(executor, shutdown=True)
    place.close()
    with pytest.raises(RuntimeError):
        executor.submit(len, "")
    with pytest.raises(offloop.Closed):
        start(place, len, "")


def test_a_call_that_waits_in_the_executor_is_taken_back() -> None:
    release = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        place = place_of(executor)
        first = submit(place, release.wait, LIMIT)
        waiting, future = start(place, len, "x")
        place.cancel(waiting, "cancel")
        with pytest.raises(offloop.WorkerDied, match="given up"):
            future.result(LIMIT)
        release.set()
        assert first.result(LIMIT) is True


def test_a_broken_executor_is_a_dead_worker() -> None:
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        place = place_of(executor)
        with pytest.raises(offloop.WorkerDied):
            submit(place, jobs.die).result(30)
        with pytest.raises(offloop.WorkerDied):
            call(place, len, "")


def test_a_cancelled_error_of_the_function_is_its_own() -> None:
    def give_up() -> None:
        raise CancelledError("mine")

    with ThreadPoolExecutor(1) as executor, pytest.raises(CancelledError, match="mine"):
        call(place_of(executor), give_up)


def test_an_executor_that_drops_its_futures_leaves_no_await_behind() -> None:
    class Forgetful(Executor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            self.given: Future[Any] = Future()
            return self.given

    executor = Forgetful()
    place = place_of(executor)
    future = submit(place, len, "")
    place.kill()
    with pytest.raises(offloop.WorkerDied):
        future.result(LIMIT)


def test_what_is_no_executor_is_refused() -> None:
    with pytest.raises(TypeError, match=r"concurrent\.futures\.Executor"):
        place_of(object())
    with pytest.raises(TypeError, match="no option 'what'"):
        place_of(ThreadPoolExecutor(1), what=1)

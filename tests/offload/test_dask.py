"""A dask cluster as the place of a pool's calls; workers are processes on loopback."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import process_jobs as jobs
import pytest
from process_place import LIMIT, call, start, submit

import offloop
from offloop.pools._base import Plan

distributed = pytest.importorskip("distributed")
dask = pytest.importorskip("dask")

from offloop.pools.dask import DaskPlace  # noqa: E402 - needs distributed

pytestmark = [
    pytest.mark.once,
    # dask's own: sockets and processes that its garbage collection ends.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

TIMEOUTS = {"distributed.comm.timeouts.connect": "3s"}


@contextlib.contextmanager
def place_on(client: Any, limit: int = 8, **options: Any) -> Iterator[DaskPlace]:
    place = DaskPlace(Plan("test", limit, options={"client": client, **options}))
    try:
        yield place
    finally:
        place.kill()


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Two worker processes."""
    with (
        dask.config.set(TIMEOUTS),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=2,
            processes=True,
            dashboard_address="127.0.0.1:0",
            silence_logs=50,
        ) as running,
    ):
        yield running


def test_without_an_address_a_cluster_runs_in_this_process() -> None:
    with place_on(None, limit=2) as place:
        assert call(place, os.getpid) == os.getpid()
        with pytest.raises(ValueError, match="invalid literal"):
            call(place, int, "x")
        counted = [submit(place, jobs.echo, 7) for _ in range(50)]
        assert [it.result(LIMIT) for it in counted] == [7] * 50


def test_keywords_of_the_function_are_not_taken_for_dasks() -> None:
    with place_on(None, priority=2, retries=1) as place:
        assert call(place, jobs.describe, retries=5, key="k") == ((), {"retries": 5, "key": "k"})


def test_equal_calls_are_two_calls() -> None:
    with place_on(None, limit=1) as place:
        first = call(place, time.monotonic_ns)
        assert call(place, time.monotonic_ns) > first


def test_one_of_two_workers_killed_in_a_map_of_a_thousand_loses_nothing(cluster: Any) -> None:
    with place_on(cluster.scheduler_address, limit=1000, retries=3) as place:
        futures = [submit(place, jobs.echo_after, n, 0.002) for n in range(1000)]
        assert futures[0].result(30) == 0
        pid = next(iter(cluster.workers.values())).pid
        os.kill(pid, signal.SIGKILL)
        outcomes = [(it.exception(60), it) for it in futures]
        for number, (error, future) in enumerate(outcomes):
            assert isinstance(error, offloop.WorkerDied) or future.result() == number
        assert sum(error is None for error, _ in outcomes) >= 990


def test_a_call_that_kills_every_worker_it_meets_is_a_dead_worker(cluster: Any) -> None:
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(
            n_workers=1, processes=True, dashboard_address="127.0.0.1:0", silence_logs=50
        ) as fragile,
        place_on(fragile.scheduler_address) as place,
        pytest.raises(offloop.WorkerDied, match="dask workers died"),
    ):
        submit(place, jobs.die).result(30)


def test_a_lost_scheduler_leaves_no_await_behind(cluster: Any) -> None:
    with place_on(cluster.scheduler_address) as place:
        call(place, jobs.echo, 1)
        futures = [submit(place, jobs.pid_after, 30) for _ in range(4)]
        cluster.close()
        for future in futures:
            assert isinstance(future.exception(20), offloop.WorkerDied)


def test_cancelling_reaches_the_cluster(cluster: Any) -> None:
    with place_on(cluster.scheduler_address) as place:
        made, future = start(place, jobs.pid_after, 30)
        while made not in place._futures:
            time.sleep(0.01)
        place.cancel(made, "cancel")
        assert isinstance(future.exception(LIMIT), offloop.WorkerDied)


def test_a_client_of_the_users_is_used_and_left_open(cluster: Any) -> None:
    with distributed.Client(cluster, set_as_default=False) as client:
        with place_on(client) as place:
            assert call(place, os.getpid) != os.getpid()
        assert client.submit(len, "ab").result(LIMIT) == 2


def test_a_cluster_that_is_not_there_is_said() -> None:
    with dask.config.set({"distributed.comm.timeouts.connect": "0.5s"}):
        with place_on("tcp://127.0.0.1:1") as place:
            with pytest.raises(offloop.PlaceUnavailable, match="cannot be reached"):
                call(place, len, "")


def test_what_is_no_client_is_refused() -> None:
    with pytest.raises(TypeError, match=r"distributed\.Client"):
        DaskPlace(Plan("test", 1, options={"client": 5}))

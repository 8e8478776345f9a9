"""Requests made by workers: each is reported once, whatever becomes of the workers."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import offloop
from batch.conftest import Counting

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def processes() -> Iterator[Executor]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        yield pool


@pytest.fixture
def threads() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def fetch(urls: Any, workers: Any, **options: Any) -> list[offloop.Fetched]:
    client = options.pop("client", {})

    async def main() -> list[offloop.Fetched]:
        async with offloop.Client(**client) as made:
            return [got async for got in made.fetch_all(urls, workers=workers, **options)]

    return asyncio.run(main())


def test_processes_bring_all_that_is_known_but_the_bodies(
    counting: Counting, processes: Executor
) -> None:
    urls: list[Any] = [f"{counting.host(n % 5 + 1)}/hold/0.001/n{n}" for n in range(300)]
    urls[7] = "no URL"
    urls[8] = 5
    urls[9] = f"{counting.host(1)}/to/moved?{counting.host(2)}/hold/0/there"
    urls[10] = "http://127.0.0.1:1/"
    urls[11] = offloop.Request("GET", f"{counting.url}/hold/0/asked", headers={"x-one": "1"})
    urls[12] = f"{counting.url}/flaky/busy/1/503"
    got = fetch(urls, processes, ordered=True, retries=1)
    assert [one.index for one in got] == list(range(300))
    assert isinstance(got[7].error, offloop.InvalidURL)
    assert isinstance(got[8].error, TypeError)
    assert isinstance(got[10].error, offloop.ConnectError)
    assert got[10].error.addresses[0][0] == "127.0.0.1:1"
    assert [one.index for one in got if one.error] == [7, 8, 10]
    moved, asked, tried = got[9].response, got[11].response, got[12].response
    assert moved is not None
    assert moved.url == f"{counting.host(2)}/hold/0/there"
    assert [one.status_code for one in moved.history] == [302]
    assert moved.history[0].headers["location"] == f"{counting.host(2)}/hold/0/there"
    assert asked is not None
    assert asked.request.headers["x-one"] == "1"
    assert tried is not None
    assert [one.status for one in tried.attempts] == [503, 200]
    one = got[100].response
    assert one is not None
    assert (one.status_code, one.reason_phrase, one.http_version) == (200, "OK", "HTTP/1.1")
    assert one.headers["content-length"] == str(len("n100"))
    assert one.num_bytes_downloaded == len("n100")
    assert one.elapsed.total_seconds() > 0
    assert one.timings["first_byte"] > 0
    with pytest.raises(offloop.LifecycleError, match="worker"):
        _ = one.content


def test_the_limits_hold_across_workers(counting: Counting, processes: Executor) -> None:
    urls = [f"{counting.host(n % 8 + 1)}/hold/0.01/n{n}" for n in range(320)]
    got = fetch(urls, processes, limit=12, per_host=3)
    assert Counter(one.index for one in got) == dict.fromkeys(range(320), 1)
    peak = counting.report()["peak"]
    assert peak.pop("all") <= 12
    assert max(peak.values()) <= 3


def test_the_rate_of_a_host_goes_on_from_list_to_list(
    counting: Counting, threads: Executor
) -> None:
    urls = [f"{counting.host(1)}/hold/0/n{n}" for n in range(50)]
    fetch(urls, threads, limit=2, per_host=1, rate=40)
    times = sorted(time for times in counting.report()["times"].values() for time in times)
    assert len(times) == 50
    # 49 intervals; a timer may be late once by 5 ms.
    assert times[-1] - times[0] >= 49 / 40 - 0.03


def test_duplicates_files_functions_and_progress(
    counting: Counting, processes: Executor, tmp_path: Path
) -> None:
    events: list[offloop.Progress] = []
    urls = [f"{counting.url}/hold/0/n{n % 20}" for n in range(60)]
    got = fetch(
        urls,
        processes,
        dedupe=True,
        save_to=tmp_path,
        progress=events.append,
        client={"hooks": {"request": [repr]}},
    )
    assert sorted(one.index for one in got) == list(range(20))
    assert {one.path for one in got} == {tmp_path / f"n{n}" for n in range(20)}
    assert all(one.path.read_text() == one.path.name for one in got if one.path)
    assert (events[-1].items, events[-1].items_total, events[-1].phase) == (60, 60, "done")
    assert events[-1].bytes == sum(len(f"n{n}") for n in range(20))


def test_a_source_is_read_no_further_than_the_workers_are_ahead(
    counting: Counting, threads: Executor
) -> None:
    pulled = 0

    def urls() -> Iterator[str]:
        nonlocal pulled
        for n in range(100_000):
            pulled += 1
            yield f"{counting.host(1)}/hold/0/{n}"

    async def main() -> None:
        seen = 0
        async with offloop.fetch_all(urls(), workers=threads, limit=4, per_host=2) as results:
            async for got in results:
                assert got.error is None
                seen += 1
                assert pulled - seen <= 300
                if seen == 1000:
                    break

    asyncio.run(main())


def test_what_a_source_raises_comes_after_all_before_it(
    counting: Counting, threads: Executor
) -> None:
    def urls() -> Iterator[str]:
        for n in range(30):
            yield f"{counting.url}/hold/0/{n}"
        raise LookupError("no more")

    async def main() -> int:
        seen = 0
        with pytest.raises(LookupError, match="no more"):
            async for _ in offloop.fetch_all(urls(), workers=threads):
                seen += 1
        return seen

    assert asyncio.run(main()) == 30


def killed_while_busy(counting: Counting, pid: int) -> threading.Thread:
    """Kills a process when some requests have arrived."""

    def kill() -> None:
        while len(counting.report()["order"]) < 40:
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


async def fetched_while_a_worker_dies(
    counting: Counting, requests: list[Any]
) -> list[offloop.Fetched]:
    async with offloop.Pool(on="process", limit=2) as pool:
        thread = killed_while_busy(counting, await pool.run(os.getpid))
        try:
            options: Any = {"limit": 16, "per_host": 4}
            return [got async for got in offloop.fetch_all(requests, workers=pool, **options)]
        finally:
            thread.join()


def test_a_pool_that_heals_fetches_the_lists_of_a_lost_worker_again(counting: Counting) -> None:
    urls: list[Any] = [f"{counting.host(n % 8 + 1)}/hold/0.02/n{n}" for n in range(400)]

    got = asyncio.run(fetched_while_a_worker_dies(counting, urls))
    assert Counter(one.index for one in got) == dict.fromkeys(range(400), 1)
    assert [one.error for one in got] == [None] * 400
    times = counting.report()["times"]
    assert set(times) == {f"n{n}" for n in range(400)}
    assert max(len(each) for each in times.values()) >= 2, "something was asked for once more"


def test_what_a_broken_executor_has_lost_is_an_error_for_each(counting: Counting) -> None:
    urls: list[Any] = [f"{counting.host(n % 8 + 1)}/hold/0.02/n{n}" for n in range(400)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        thread = killed_while_busy(counting, pool.submit(os.getpid).result())
        got = fetch(urls, pool, limit=16, per_host=4)
        thread.join()
    assert Counter(one.index for one in got) == dict.fromkeys(range(400), 1)
    errors = [one.error for one in got if one.error is not None]
    assert errors
    assert {type(error) for error in errors} == {offloop.WorkerDied}
    assert all(one.url == urls[one.index] for one in got)


def test_what_is_not_safe_to_be_asked_for_twice_is_not(counting: Counting) -> None:
    posts: list[Any] = [
        offloop.Request("POST", f"{counting.host(n % 8 + 1)}/hold/0.05/n{n}") for n in range(200)
    ]

    got = asyncio.run(fetched_while_a_worker_dies(counting, posts))
    assert Counter(one.index for one in got) == dict.fromkeys(range(200), 1)
    assert {type(one.error) for one in got} == {type(None), offloop.WorkerDied}
    assert max(len(each) for each in counting.report()["times"].values()) == 1


def test_two_dask_workers_one_of_them_killed_report_each_url_once(
    counting: Counting, tmp_path: Path
) -> None:
    distributed = pytest.importorskip("distributed")
    urls: list[Any] = [f"{counting.host(n % 8 + 1)}/hold/0.02/n{n}" for n in range(400)]
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=4,
            processes=True,
            dashboard_address="127.0.0.1:0",
            local_directory=str(tmp_path),
            silence_logs=50,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        pids = client.run(os.getpid)
        assert len(set(pids.values())) == 2

        async def main() -> list[offloop.Fetched]:
            async with offloop.Pool.dask(client, limit=8) as pool:
                thread = killed_while_busy(counting, next(iter(pids.values())))
                try:
                    options: Any = {"limit": 16, "per_host": 4}
                    return [got async for got in offloop.fetch_all(urls, workers=pool, **options)]
                finally:
                    thread.join()

        got = asyncio.run(main())
    assert Counter(one.index for one in got) == dict.fromkeys(range(400), 1)
    assert {type(one.error) for one in got} <= {type(None), offloop.WorkerDied}
    assert sum(one.error is None for one in got) >= 200


def test_leaving_early_stops_and_makes_no_further_list(
    counting: Counting, threads: Executor
) -> None:
    async def main() -> None:
        urls = (f"{counting.url}/hold/0.001/{n}" for n in range(100_000))
        async with offloop.fetch_all(urls, workers=threads, limit=8) as results:
            async for _ in results:
                break

    asyncio.run(main())
    threads.shutdown(wait=True)
    before = len(counting.report()["order"])
    assert before <= 1000
    time.sleep(0.1)
    assert len(counting.report()["order"]) == before


def test_what_cannot_travel_or_is_no_executor_is_refused_at_once(threads: Executor) -> None:
    with pytest.raises(TypeError, match="workers"):
        offloop.fetch_all([], workers=2)  # type: ignore[arg-type]
    client = offloop.Client(hooks={"request": [lambda request: None]})
    with pytest.raises(offloop.NotPicklable):
        client.fetch_all([], workers=threads)


def test_a_forked_worker_says_what_to_do(counting: Counting) -> None:
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("there is no fork here")
    fetch([f"{counting.url}/hold/0/first"], None)  # the runtime is there
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        got = fetch([f"{counting.url}/hold/0/{n}" for n in range(3)], pool)
    assert [type(one.error) for one in got] == [offloop.ForkedProcessError] * 3
    assert "spawn" in str(got[0].error)

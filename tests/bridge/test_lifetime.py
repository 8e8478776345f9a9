"""Jobs that are dropped, fail unseen, outlive their loop, or pile up."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import subprocess
import sys
import threading
import time
import warnings
import weakref
from typing import Any

import pytest

import offloop
from conftest import Run
from offloop import _offloop
from servers import Server


def test_a_job_that_was_never_awaited_warns_and_names_itself(server: Server) -> None:
    with pytest.warns(RuntimeWarning, match=r'Job "GET http://.*/1k" was never awaited$'):
        offloop.fetch(f"{server.url}/1k?token=hunter2")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_debug_mode_names_the_line_that_made_the_job() -> None:
    async def main() -> None:
        line = sys._getframe().f_lineno + 2
        with pytest.warns(RuntimeWarning, match=f"test_lifetime.py:{line}"):
            offloop.run(print)

    asyncio.run(main(), debug=True)


def test_offloop_debug_names_the_line_without_asyncios_debug_mode() -> None:
    code = "import offloop\n\noffloop.run(print)\n"
    environment = {**os.environ, "OFFLOOP_DEBUG": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=30
    )
    assert 'Job "print" was never awaited\nJob created at <string>:3' in ended.stderr


def test_closed_and_cancelled_jobs_do_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _offloop.sleep().close()
        _offloop.sleep().cancel()
        gc.collect()


def test_dropping_a_started_job_cancels_it(run: Run[Any], own_server: Server) -> None:
    async def main() -> None:
        future = offloop.fetch(f"{own_server.url}/hang").start()
        while own_server.stats()["open"] == 0:
            await asyncio.sleep(0.01)
        del future
        gc.collect()
        give_up = time.monotonic() + 2
        while own_server.stats()["open"]:
            assert time.monotonic() < give_up
            await asyncio.sleep(0.01)

    run(main())


def test_an_awaited_job_survives_the_garbage_collector(run: Run[Any]) -> None:
    async def main() -> None:
        done = asyncio.Event()

        async def waiter() -> None:
            await _offloop.sleep(0.5)
            done.set()

        async def waiter_of_a_future() -> None:
            await _offloop.sleep(0.5).start()
            done.set()

        for make in (waiter, waiter_of_a_future):
            done.clear()
            weak = weakref.ref(asyncio.create_task(make()))
            for _ in range(3):
                gc.collect()
                await asyncio.sleep(0.001)
            assert weak() is not None
            await asyncio.wait_for(done.wait(), 5)

    run(main())


def test_an_exception_nobody_retrieved_is_logged_as_asyncio_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        for retrieve in (False, True):
            caplog.clear()
            job = offloop.run(int, "x")
            over = asyncio.Event()
            job.add_done_callback(lambda _: over.set())
            await over.wait()
            await asyncio.sleep(0)
            if retrieve:
                job.exception()
            del job
            gc.collect()
            logged = [record for record in caplog.records if "never retrieved" in record.message]
            assert len(logged) == (0 if retrieve else 1)
            if logged:
                assert "Job exception was never retrieved" in logged[0].message
                assert logged[0].exc_info is not None
                assert logged[0].exc_info[0] is ValueError

    with caplog.at_level(logging.ERROR, "asyncio"):
        asyncio.run(main())


def test_a_finished_job_leaves_no_cycle(run: Run[Any]) -> None:
    class Result:
        pass

    async def main() -> None:
        job = offloop.run(Result)
        value = await job
        weak_job, weak_value = weakref.ref(job), weakref.ref(value)
        del job, value
        await asyncio.sleep(0)
        assert weak_job() is None
        assert weak_value() is None

    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()


def test_a_closed_loop_is_not_kept_alive(server: Server) -> None:
    async def main() -> None:
        await offloop.fetch(f"{server.url}/1k")
        await offloop.run(int)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    weak = weakref.ref(loop)
    loop.close()
    del loop
    asyncio.run(main())  # the thread's shortcut to its latest loop moves on
    gc.collect()
    assert weak() is None


def test_loops_closed_with_jobs_pending_end_quietly(run: Run[Any]) -> None:
    async def main() -> None:
        for delay in (0.0, 0.0005, 0.02, 60):
            _offloop.sleep(delay).start().add_done_callback(lambda _: None)
            _offloop.sleep(delay).add_done_callback(lambda _: None)
            offloop.run(time.sleep, 0.01).add_done_callback(lambda _: None)

    for _ in range(50):
        run(main())


def test_a_loop_closed_by_hand_stops_its_fetches(own_server: Server) -> None:
    loop = asyncio.new_event_loop()

    async def main() -> offloop.Job[offloop.Response]:
        job = offloop.fetch(f"{own_server.url}/hang")
        job.add_done_callback(lambda _: None)
        while own_server.stats()["open"] == 0:
            await asyncio.sleep(0.01)
        return job

    job = loop.run_until_complete(main())
    loop.close()
    give_up = time.monotonic() + 2
    while own_server.stats()["open"]:
        assert time.monotonic() < give_up
        time.sleep(0.01)
    assert not job.done()


def test_one_client_serves_loops_in_many_threads(server: Server) -> None:
    client = offloop.Client()
    failures: list[BaseException] = []

    async def main() -> None:
        for _ in range(5):
            responses = await asyncio.gather(*(client.get(f"{server.url}/1k") for _ in range(20)))
            assert all(response.status_code == 200 for response in responses)
            assert await offloop.run(threading.get_ident) != threading.get_ident()

    def thread() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=thread) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert failures == []


def test_five_hundred_loops_one_after_another(server: Server) -> None:
    async def main() -> int:
        return (await offloop.fetch(f"{server.url}/1k")).status_code

    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    for _ in range(500):
        assert asyncio.run(main()) == 200
    if descriptors is not None:
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) <= descriptors + 3


def test_ten_thousand_jobs_in_flight_need_less_than_a_kibibyte_each() -> None:
    code = """if True:
        import asyncio, gc, os
        from offloop import _offloop
        def rss():
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        async def main():
            await asyncio.gather(*(_offloop.sleep(0) for _ in range(100)))
            gc.collect()
            before = rss()
            jobs = [_offloop.sleep(60) for _ in range(10_000)]
            gathered = asyncio.gather(*jobs)
            await asyncio.sleep(0.3)
            print((rss() - before) / 10_000)
            gathered.cancel()
            try:
                await gathered
            except asyncio.CancelledError:
                pass
        asyncio.run(main())
    """
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("needs /proc")
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.stderr == ""
    # The Job itself: a future in gather costs asyncio's own callback and context besides.
    assert float(ended.stdout) < 1536

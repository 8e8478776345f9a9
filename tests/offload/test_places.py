"""Calls that are run elsewhere: what a place is handed, and what becomes of it."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

import offloop
from conftest import Run
from offloop._offloop import Job, Runner
from offloop.pools._base import Call, Place, Plan
from offloop.pools._dispatch import Dispatcher


class TestPlace(Place):
    """Leaves everything to the test."""

    __test__ = False
    kind = "test"

    def __init__(self, starter: Any, canceller: Any = None) -> None:
        super().__init__(Plan("test", 1))
        self.start = starter
        self.cancel = canceller or (lambda call, reason: None)

    def start(self, call: Call) -> None: ...

    def cancel(self, call: Call, reason: Any) -> None: ...

    def resize(self, limit: int) -> None: ...

    def close(self) -> None: ...

    def kill(self) -> None: ...


def promise(
    fn: Any, starter: Any, canceller: Any = None, *, on_cancel: str = "wait", limit: int = 5000
) -> Job[Any]:
    """A Job that is run by `starter(call)`."""
    dispatcher = Dispatcher(TestPlace(starter, canceller))
    runner, view = Runner(), Runner()
    runner._open("test", limit, 10, 1.0, (dispatcher.start, dispatcher.cancel), None)
    view._derive(runner, {"on_cancel": on_cancel})
    return view.run(fn)


def test_an_outcome_from_another_thread_comes_home(run: Run[Any]) -> None:
    def start(given: Call) -> None:
        assert threading.current_thread() is threading.main_thread()
        assert given.begin("process:8123")

        def work() -> None:
            assert given.set_result(42)
            assert not given.set_result(43)

        threading.Thread(target=work).start()

    async def main() -> None:
        job = promise(int, start)
        assert job.state == "new"
        assert await asyncio.wait_for(job, 5) == 42

    run(main())


def test_the_job_shows_where_its_work_is_done(run: Run[Any]) -> None:
    async def main() -> None:
        kept: list[Call] = []
        job = promise(int, kept.append)
        future = job.start()
        assert (job.state, job.where) == ("queued", None)
        while not kept:
            await asyncio.sleep(0)
        assert kept[0].begin("process:8123")
        assert (job.state, job.where) == ("running", "process:8123")
        assert kept[0].set_result(None)
        assert await asyncio.wait_for(future, 5) is None

    run(main())


def test_a_thousand_outcomes_of_an_executor_come_home(run: Run[Any]) -> None:
    async def main() -> None:
        with ThreadPoolExecutor(4) as executor:

            def start(number: int) -> Any:
                def begin(given: Call) -> None:
                    given.begin("executor")
                    executor.submit(lambda: given.set_result(number))

                return begin

            jobs = [promise(int, start(number)) for number in range(1000)]
            assert await asyncio.wait_for(asyncio.gather(*jobs), 20) == list(range(1000))

    run(main())


def test_exceptions_come_home_with_the_traceback_they_are_given(run: Run[Any]) -> None:
    def fail() -> None:
        raise LookupError("mine")

    def start(given: Call) -> None:
        given.begin("executor")
        try:
            fail()
        except LookupError as error:
            traceback = error.__traceback__
            given.set_exception(error, traceback and traceback.tb_next)

    async def main() -> None:
        with pytest.raises(LookupError) as caught:
            await promise(int, start)
        assert caught.traceback[-1].name == "fail"
        assert "start" not in [entry.name for entry in caught.traceback]

    run(main())


def test_a_stop_iteration_is_wrapped(run: Run[Any]) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="StopIteration"):
            await promise(int, lambda given: given.set_exception(StopIteration()))

    run(main())


def test_a_starter_that_raises_fails_the_job(run: Run[Any]) -> None:
    def start(given: Call) -> None:
        raise offloop.NotPicklable("a lambda")

    async def main() -> None:
        with pytest.raises(offloop.NotPicklable, match="a lambda"):
            await promise(int, start)

    run(main())


def test_a_promise_that_is_lost_fails_the_job(run: Run[Any]) -> None:
    def start(given: Call) -> None:
        given.begin("process:1")

    async def main() -> None:
        with pytest.raises(offloop.InternalError, match="without a result"):
            await asyncio.wait_for(promise(int, start), 5)

    run(main())


@pytest.mark.parametrize("begins", [True, False])
def test_a_submitted_call_that_is_lost_fails_its_future_and_gives_its_turn_up(begins: bool):
    started: list[str] = []

    def start(given: Call) -> None:
        started.append("call")
        if begins:
            given.begin("process:1")

    dispatcher = Dispatcher(TestPlace(start))
    runner = Runner()
    runner._open("test", 1, 10, 1.0, (dispatcher.start, dispatcher.cancel), None)
    for _ in range(2):  # the second needs the turn of the first
        future: Future[int] = Future()
        _, turns = runner._submit(future, (int,), None)
        if turns is not None:
            dispatcher.start(turns)
        with pytest.raises(offloop.InternalError, match="lost"):
            future.result(5)
    assert len(started) == 2


def test_a_job_cancelled_before_its_turn_is_not_begun(run: Run[Any]) -> None:
    async def main() -> None:
        kept: list[Call] = []
        told: list[str] = []
        job = promise(int, kept.append, lambda given, reason: told.append(reason))
        future = job.start()
        while not kept:
            await asyncio.sleep(0)
        assert job.cancel()
        assert job.cancelled()
        assert kept[0].cancelled()
        with pytest.raises(asyncio.CancelledError):
            await future
        async with asyncio.timeout(5):
            while not told:
                await asyncio.sleep(0)
        assert told == ["cancel"]
        assert not kept[0].begin("process:1")
        assert not kept[0].set_result(1)

    run(main())


def test_a_job_cancelled_before_the_loop_gets_to_it_never_starts(run: Run[Any]) -> None:
    async def main() -> None:
        started: list[Call] = []
        future = promise(int, started.append).start()
        future.cancel()
        await asyncio.sleep(0.01)
        assert started == []

    run(main())


@pytest.mark.parametrize("mode", ["abandon", "kill"])
def test_cancelling_work_that_runs_ends_the_await_at_once(run: Run[Any], mode: Any) -> None:
    released: list[int] = []

    class Witness:
        def __del__(self) -> None:
            released.append(threading.get_ident())

    async def main() -> None:
        kept: list[Call] = []
        told = asyncio.Event()
        job = promise(int, kept.append, lambda given, reason: told.set(), on_cancel=mode)
        future = job.start()
        while not kept:
            await asyncio.sleep(0)
        assert kept[0].on_cancel == mode
        assert kept[0].begin("process:1")
        future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await future
        await asyncio.wait_for(told.wait(), 5)
        late = threading.Thread(target=lambda: kept[0].set_result(Witness()))
        late.start()
        late.join(5)
        while not released:
            await asyncio.sleep(0.001)
        assert released == [threading.get_ident()]

    run(main())


def test_cancelling_work_that_is_waited_for_ends_the_await_with_it(run: Run[Any]) -> None:
    async def main() -> None:
        kept: list[Call] = []
        told = asyncio.Event()
        job = promise(int, kept.append, lambda given, reason: told.set())
        future = job.start()
        while not kept:
            await asyncio.sleep(0)
        assert kept[0].begin("process:1")
        assert not kept[0].cancelled()
        future.cancel()
        await asyncio.wait_for(told.wait(), 5)
        assert kept[0].cancelled()
        assert not future.done()
        assert kept[0].set_result(1)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(future, 5)

    run(main())


def test_a_dropped_job_is_called_off(run: Run[Any]) -> None:
    async def main() -> None:
        kept: list[Call] = []
        told = asyncio.Event()
        job = promise(int, kept.append, lambda given, reason: told.set())
        job.start()
        while not kept:
            await asyncio.sleep(0)
        del job
        gc.collect()
        await asyncio.wait_for(told.wait(), 5)
        assert not kept[0].begin("process:1")

    run(main())


def test_outcomes_that_come_after_the_loop_has_closed_are_dropped(run: Run[Any]) -> None:
    kept: list[Call] = []

    async def main() -> None:
        job = promise(int, kept.append).start()
        while not kept:
            await asyncio.sleep(0)
        assert kept[0].begin("process:1")
        kept.append(job)  # type: ignore[arg-type]

    run(main())
    gc.collect()
    give_up = time.monotonic() + 5
    while not kept[0].cancelled():  # a loop without readers is seen to be closed a little later
        assert time.monotonic() < give_up
        time.sleep(0.01)
    assert not kept[0].set_result(1)


def test_a_mode_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="on_cancel"):
        promise(int, print, on_cancel="ignore")  # type: ignore[arg-type]


def test_calls_beyond_the_limit_wait_for_the_end_of_others(run: Run[Any]) -> None:
    async def main() -> None:
        kept: list[Call] = []
        dispatcher = Dispatcher(TestPlace(kept.append))
        runner = Runner()
        runner._open("test", 2, 10, 1.0, (dispatcher.start, dispatcher.cancel), None)
        jobs = [runner.run(pow, number, 2) for number in range(5)]
        futures = [job.start() for job in jobs]
        jobs[2].cancel()
        for expected in (2, 2, 2, 1):
            while len(kept) < expected:
                await asyncio.sleep(0)
            await asyncio.sleep(0.001)
            assert len(kept) == expected
            stats = runner.stats()
            assert stats["running"] == expected
            call = kept.pop(0)
            assert call.begin("process:1")
            assert call.set_result(call.fn(*call.args))
        results = await asyncio.gather(*futures, return_exceptions=True)
        assert results[:2] + results[3:] == [0, 1, 9, 16]
        stats = runner.stats()
        assert (stats["running"], stats["queued"]) == (0, 0)
        assert (stats["done"], stats["cancelled"]) == (4, 1)

    run(main())

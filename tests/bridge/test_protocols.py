"""A Job is taken by everything in asyncio that takes a future or a coroutine."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable
from typing import Any

import pytest

import offloop
from conftest import Run
from offloop import _offloop
from servers import Server


def plus_one(n: int) -> int:
    return n + 1


MakeJob = Callable[[], tuple["offloop.Job[Any]", Callable[[Any], Any], Any]]


@pytest.fixture(params=["fetch", "run", "sleep"])
def make(request: pytest.FixtureRequest, server: Server) -> MakeJob:
    """Makes (a Job, what to read of its result, what that must be)."""

    def status(response: offloop.Response) -> int:
        return response.status_code

    kinds: dict[str, MakeJob] = {
        "fetch": lambda: (offloop.fetch(f"{server.url}/1k"), status, 200),
        "run": lambda: (offloop.run(plus_one, 41), lambda value: value, 42),
        "sleep": lambda: (_offloop.sleep(0.001), lambda value: value, None),
    }
    return kinds[request.param]


async def by_await(job: offloop.Job[Any]) -> Any:
    return await job


async def by_gather(job: offloop.Job[Any]) -> Any:
    (value,) = await asyncio.gather(job)
    return value


async def by_wait_for(job: offloop.Job[Any]) -> Any:
    return await asyncio.wait_for(job, 10)


async def by_timeout(job: offloop.Job[Any]) -> Any:
    async with asyncio.timeout(10):
        return await job


async def by_as_completed(job: offloop.Job[Any]) -> Any:
    for next_one in asyncio.as_completed([job]):
        return await next_one


async def by_shield(job: offloop.Job[Any]) -> Any:
    return await asyncio.shield(job)


async def by_ensure_future(job: offloop.Job[Any]) -> Any:
    return await asyncio.ensure_future(job)


async def by_ensure_future_alone(job: offloop.Job[Any]) -> Any:
    future = asyncio.ensure_future(job)
    while not future.done():
        await asyncio.sleep(0.001)
    return future.result()


async def by_create_task(job: offloop.Job[Any]) -> Any:
    return await asyncio.create_task(job)


async def by_task_group(job: offloop.Job[Any]) -> Any:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(job)
    return task.result()


async def by_start(job: offloop.Job[Any]) -> Any:
    return await job.start()


async def by_wait(job: offloop.Job[Any]) -> Any:
    done, pending = await asyncio.wait([job.start()], timeout=10)
    assert not pending
    return done.pop().result()


async def by_callback(job: offloop.Job[Any]) -> Any:
    over = asyncio.Event()
    job.add_done_callback(lambda it: over.set() if it is job else None)
    await over.wait()
    return job.result()


WAYS = [value for name, value in list(globals().items()) if name.startswith("by_")]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_way_of_waiting_gives_the_result(run: Run[Any], make: MakeJob, way: Any) -> None:
    async def main() -> None:
        job, read, expected = make()
        assert job.state == "new"
        assert read(await way(job)) == expected
        assert job.done()
        assert job.state == "done"

    run(main())


def test_run_until_complete_takes_a_job(make: MakeJob) -> None:
    job, read, expected = make()
    loop = asyncio.new_event_loop()
    try:
        assert read(loop.run_until_complete(job)) == expected
    finally:
        loop.close()


def test_asyncio_run_takes_a_job(make: MakeJob) -> None:
    job, read, expected = make()
    assert read(asyncio.run(job)) == expected


def test_a_job_can_be_awaited_by_many_and_again(run: Run[Any], make: MakeJob) -> None:
    async def main() -> None:
        job, read, expected = make()

        async def waiter() -> Any:
            return await job

        values = await asyncio.gather(*(waiter() for _ in range(5)))
        assert [read(value) for value in values] == [expected] * 5
        assert read(await job) == expected

    run(main())


def test_gather_makes_no_task_per_job(run: Run[Any]) -> None:
    async def main() -> None:
        before = len(asyncio.all_tasks())
        gathered = asyncio.gather(*(_offloop.sleep(0.01) for _ in range(100)))
        assert len(asyncio.all_tasks()) == before
        await gathered

    run(main())


def test_nothing_happens_before_a_job_is_started(run: Run[Any]) -> None:
    async def main() -> None:
        called: list[int] = []
        job = offloop.run(called.append, 1)
        await asyncio.sleep(0.05)
        assert (called, job.state) == ([], "new")
        job.close()

    run(main())


def test_a_failed_job_raises_in_each_awaiter_with_the_traceback_it_came_with(run: Run[Any]) -> None:
    def fail() -> None:
        raise LookupError("no")

    async def main() -> None:
        job = offloop.run(fail)
        depths = set()
        for _ in range(5):
            with pytest.raises(LookupError, match="no") as caught:
                await job
            depths.add(len(caught.traceback))
        assert len(depths) == 1, "the traceback must not grow with every await"
        assert isinstance(job.exception(), LookupError)

    run(main())


def test_results_are_not_there_before_their_time(run: Run[Any]) -> None:
    async def main() -> None:
        job = _offloop.sleep(10)
        for read in (job.result, job.exception):
            with pytest.raises(asyncio.InvalidStateError):
                read()
        job.cancel()

    run(main())


def test_repr_names_the_work_and_hides_secrets(run: Run[Any], server: Server) -> None:
    async def main() -> None:
        url = f"{server.url}/delay/0.2?token=hunter2".replace("//", "//user:hunter2@")
        job = offloop.fetch(url)
        assert repr(job) == f"<Job GET {server.url}/delay/0.2 new>"
        future = job.start()
        await asyncio.sleep(0.02)
        assert repr(job).startswith(f"<Job GET {server.url}/delay/0.2 running 0.")
        assert job.where == "tokio"
        await future
        assert repr(future) == f"<Job GET {server.url}/delay/0.2 done>"
        call = offloop.run(time.sleep, 0.05)
        future = call.start()
        await asyncio.sleep(0.02)
        assert call.where is not None
        assert call.where.startswith("thread:io-")
        assert "sleep running" in repr(call)
        await future

    run(main())


def test_callbacks_run_in_the_context_they_were_added_in(run: Run[Any]) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    async def main() -> None:
        got: list[str] = []
        job = _offloop.sleep(0.001)
        variable.set("first")
        job.add_done_callback(lambda _: got.append(variable.get()))
        variable.set("second")
        job.add_done_callback(lambda _: got.append(variable.get()))
        other = contextvars.copy_context()
        other.run(variable.set, "third")
        job.add_done_callback(lambda _: got.append(variable.get()), context=other)
        await job
        await asyncio.sleep(0)
        assert sorted(got) == ["first", "second", "third"]

    run(main())


def test_remove_done_callback_counts_what_it_removed(run: Run[Any]) -> None:
    async def main() -> None:
        called: list[Any] = []
        job = _offloop.sleep(0.001)
        job.add_done_callback(called.append)
        job.add_done_callback(called.append)
        assert job.remove_done_callback(called.append) == 2
        await job
        await asyncio.sleep(0)
        assert called == []

    run(main())


def test_a_job_belongs_to_the_loop_that_started_it() -> None:
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()

    async def start() -> offloop.Job[None]:
        job = _offloop.sleep(0.001)
        await job.start()
        pending = _offloop.sleep(10)
        pending.add_done_callback(lambda _: None)
        return pending

    async def use(job: offloop.Job[None]) -> None:
        await job

    pending = first.run_until_complete(start())
    with pytest.raises(RuntimeError, match="attached to a different loop"):
        second.run_until_complete(use(pending))
    pending.cancel()
    first.close()
    second.close()


def test_start_needs_a_running_loop() -> None:
    job = _offloop.sleep()
    with pytest.raises(RuntimeError, match="no running event loop"):
        job.start()
    job.close()


def test_job_is_generic() -> None:
    assert offloop.Job[int].__args__ == (int,)

"""What offloading looks like to a type checker. Checked by mypy and pyright, never run."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import AsyncIterator, Iterator
from typing import assert_type

import offloop


def parse(text: str, *, base: int = 10) -> int:
    return int(text, base)


@offloop.offloaded(kind="cpu", limit=2, timeout=30)
def declared(text: str, *, base: int = 10) -> int:
    return int(text, base)


async def texts() -> AsyncIterator[str]:
    yield "1"


def numbers() -> Iterator[int]:
    yield 1


async def ask() -> str:
    return "answer"


async def places() -> None:
    assert_type(offloop.run(parse, "1", base=2), offloop.Job[int])
    assert_type(await offloop.to_thread(parse, "1", base=2), int)
    assert_type(await offloop.to_process(parse, "1"), int)
    assert_type(await offloop.to_interpreter(parse, "1"), int)
    assert_type(offloop.submit(parse, "1"), concurrent.futures.Future[int])
    offloop.to_thread(parse, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    offloop.to_process(parse, "1", bass=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    offloop.submit(parse)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def streams() -> None:
    async for number in offloop.map(parse, ["1", "2"], limit=2, ordered=True):
        assert_type(number, int)
    async for number in offloop.map(parse, texts()):
        assert_type(number, int)
    async for number in offloop.iterate(numbers(), batch=10):
        assert_type(number, int)
    offloop.map(parse, [1])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def pools() -> None:
    async with offloop.Pool("db", on="process", limit=8, queue=100) as pool:
        assert_type(pool, offloop.Pool)
        assert_type(await pool.run(parse, "1", base=2), int)
        assert_type(pool.submit(parse, "1").result(), int)
        view = pool.view(priority=1, timeout=1.5, queue_timeout=1, on_cancel="abandon")
        assert_type(await view.run(parse, "1"), int)
        async for number in view.amap(parse, texts()):
            assert_type(number, int)
        async for number in pool.iterate(numbers()):
            assert_type(number, int)
        assert_type(await asyncio.get_running_loop().run_in_executor(pool, parse, "1"), int)
        assert_type(pool.resize(3), None)
        assert_type(await pool.aclose(grace=1), list[str])
        pool.run(parse, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        pool.view(on_cancel="forget")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    executor: concurrent.futures.Executor = offloop.Pool(on="inline")
    del executor
    offloop.Pool.dask("tcp://127.0.0.1:8786")


async def declarations() -> None:
    assert_type(declared("1", base=2), offloop.Job[int])
    assert_type(await declared("1"), int)
    assert_type(declared.sync("1"), int)
    assert_type(declared.fn("1"), int)
    assert_type(offloop.explain(declared), str)
    declared(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async with offloop.Scope() as scope:
        assert_type(scope.run(parse, "1"), asyncio.Task[int])
        scope.run(parse, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def in_a_worker() -> None:
    offloop.check_cancelled()
    if (job := offloop.current_job()) is not None:
        assert_type(job.where, str)
        assert_type(job.cancelled, bool)
    assert_type(offloop.from_worker.run(ask()), str)


def failures() -> None:
    try:
        declared.sync("1")
    except offloop.JobTimeout as error:
        assert_type(error.queued, float)
        assert_type(error.ran, float)
        assert_type(error.stack, list[str])
    except offloop.WorkerDied as error:
        assert_type(error.exit_code, int | None)

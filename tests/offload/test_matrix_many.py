"""The matrix: limits, queues and streams of calls."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
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


@rows.row()
async def a_full_queue_refuses_at_once(pool: offloop.Pool, _: Path) -> None:
    held = [pool.run(jobs.sleep, 0.6).start() for _ in range(2)]
    await until(lambda: pool.stats()["running"] == 2)
    waiting = [pool.run(jobs.same, n).start() for n in range(50)]
    with pytest.raises(offloop.PoolFull):
        await pool.run(jobs.same, 1)
    await asyncio.gather(*held, *waiting)
    assert await pool.run(jobs.same, 1) == 1


@rows.row()
async def an_endless_map_stays_bounded_and_closes_its_source(pool: offloop.Pool, _: Path) -> None:
    taken: list[int] = []

    def endless() -> Iterator[int]:
        try:
            while len(taken) < 10_000:  # an end for a map without a bound
                taken.append(len(taken))
                yield taken[-1]
        finally:
            taken.append(-1)

    got = []
    async with contextlib.aclosing(pool.amap(jobs.same, endless(), limit=4, ordered=True)) as them:
        async for value in them:
            got.append(value)
            if len(got) == 30:
                break
    assert got == list(range(30))
    assert len(taken) <= 30 + 6
    assert taken[-1] == -1


@rows.row()
async def a_map_takes_an_asynchronous_source(pool: offloop.Pool, _: Path) -> None:
    async def source() -> AsyncIterator[int]:
        for number in range(10):
            await asyncio.sleep(0)
            yield number

    got = [it async for it in pool.amap(jobs.same, source())]
    assert sorted(got) == list(range(10))


@rows.row()
async def a_map_raises_where_the_result_would_have_come(pool: offloop.Pool, _: Path) -> None:
    got = []
    with pytest.raises(TypeError):
        async for value in pool.amap(abs, [-1, -2, "x", -4], ordered=True):  # type: ignore[list-item]
            got.append(value)
    assert got == [1, 2]


@rows.row("thread")
async def a_generator_is_closed_in_its_thread_and_context(pool: offloop.Pool, _: Path) -> None:
    seen: list[tuple[int, str]] = []

    def numbers() -> Iterator[int]:
        jobs.variable.set("the generator's")
        try:
            for number in range(1000):
                seen.append((threading.get_ident(), jobs.variable.get()))
                yield number
        finally:
            seen.append((threading.get_ident(), jobs.variable.get()))

    async with contextlib.aclosing(pool.iterate(numbers(), batch=5)) as items:
        async for number in items:
            if number == 7:
                break
    assert len(set(seen)) == 1
    assert seen[0][0] != threading.get_ident()
    assert jobs.variable.get() != "the generator's"


@rows.row("process", "interpreter")
async def only_threads_iterate(pool: offloop.Pool, _: Path) -> None:
    with pytest.raises(offloop.PlaceUnavailable):
        pool.iterate(range(3))


@rows.row("thread")
async def nested_calls_work_while_there_is_room(pool: offloop.Pool, _: Path) -> None:
    def nest(depth: int) -> int:
        return 1 + pool.submit(nest, depth - 1).result(LIMIT) if depth > 1 else 1

    assert await pool.run(nest, 2) == 2
    with pytest.raises(offloop.WouldDeadlock):
        await pool.run(nest, 3)


@rows.row("thread")
async def a_call_may_use_another_pool(pool: offloop.Pool, _: Path) -> None:
    other = offloop.Pool(limit=1)
    assert await pool.run(lambda: other.submit(jobs.same, 5).result(LIMIT)) == 5
    other.close()


@rows.row("thread")
async def a_call_may_ask_the_loop(pool: offloop.Pool, _: Path) -> None:
    async def ask() -> int:
        return threading.get_ident()

    assert await pool.run(lambda: offloop.from_worker.run(ask())) == threading.get_ident()


@rows.row()
async def a_thousand_calls_all_come_back(pool: offloop.Pool, _: Path) -> None:
    got = [it async for it in pool.amap(jobs.same, range(300), ordered=True)]
    assert got == list(range(300))


@rows.row()
async def submit_gives_a_concurrent_future(pool: offloop.Pool, _: Path) -> None:
    assert await asyncio.wrap_future(pool.submit(jobs.same, 4)) == 4
    assert await asyncio.get_running_loop().run_in_executor(pool, jobs.same, 5) == 5


@rows.all()
def test_the_matrix(place: str, check: Row, pools: dict[str, offloop.Pool], tmp_path: Path) -> None:
    matrix.check_row(place, check, pools, tmp_path)

"""Functions made by `offloaded`: who is given one calls the function, and does not get a Job."""

from __future__ import annotations

import asyncio
import os
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from declared_jobs import Thing, here

import offloop

PLACES = {"thread": "offloop-own-", "process": "process ", "inline": f"process {os.getpid()}"}


@pytest.fixture(scope="module", params=PLACES)
def pool(request: pytest.FixtureRequest) -> Iterator[offloop.Pool]:
    with offloop.Pool("own", on=request.param, limit=2) as pool:
        yield pool


DECLARED = [here, Thing(1).times, Thing(1).far_times, Thing.inner_static, Thing.outer_static]
NAMES = ["function", "method", "far-method", "inner-static", "outer-static"]
declared = pytest.mark.parametrize("fn", DECLARED, ids=NAMES)


@declared
def test_a_pool_runs_it_in_its_own_workers(pool: offloop.Pool, fn: Any) -> None:
    async def main() -> list[tuple[str, int]]:
        loop = asyncio.get_running_loop()
        return [
            await pool.run(fn, 3),
            await asyncio.wrap_future(pool.submit(fn, 3)),
            await loop.run_in_executor(pool, fn, 3),
            *[it async for it in pool.amap(fn, [3])],
            *await asyncio.to_thread(lambda: list(pool.map(fn, [3]))),
        ]

    for where, number in asyncio.run(main()):
        assert number == 3
        assert where.startswith(PLACES[pool.on])


@declared
def test_whoever_is_free_runs_it_where_it_was_declared_to(fn: Any) -> None:
    async def main() -> list[tuple[str, int]]:
        async with offloop.Scope() as scope:
            task = scope.run(fn, 3)
        return [
            await fn(3),
            await offloop.run(fn, 3),
            await asyncio.wrap_future(offloop.submit(fn, 3)),
            *[it async for it in offloop.map(fn, [3])],
            await task,
        ]

    far = fn is DECLARED[2]
    for where, number in [*asyncio.run(main()), fn.sync(3)]:
        assert number == 3
        assert where.startswith("process " if far else "offloop-io-")


def test_a_method_is_explained_as_it_was_declared() -> None:
    assert offloop.explain(Thing(1).far_times) == "Thing.far_times: process (on='process')"


@declared
def test_it_pickles_as_what_its_name_stands_for(fn: Any) -> None:
    assert asyncio.run(_awaited(pickle.loads(pickle.dumps(fn))))[1] == 3


async def _awaited(fn: Any) -> Any:
    return await fn(3)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"limit": 0}, ValueError),
        ({"timeout": -1}, ValueError),
        ({"queue_timeout": "1"}, TypeError),
        ({"priority": 1000}, ValueError),
        ({"on_cancel": "stop"}, ValueError),
        ({"on": 5}, ValueError),
    ],
)
def test_an_option_is_refused_where_it_is_given(options: Any, kind: Any) -> None:
    with pytest.raises(kind):
        offloop.offloaded(**options)

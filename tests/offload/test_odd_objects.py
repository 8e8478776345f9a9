"""Objects of users that raise when they are asked about themselves harm no worker and no await."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import odd_jobs as jobs
import pytest

import offloop

PLACES = ["thread", "process", "inline"]
if sys.version_info >= (3, 14):
    PLACES.append("interpreter")

LIMIT = 60.0


@pytest.fixture(scope="module", params=PLACES)
def pool(request: pytest.FixtureRequest) -> Iterator[offloop.Pool]:
    with offloop.Pool("odd", on=request.param, limit=2) as pool:
        yield pool


def outcome(pool: offloop.Pool, way: str, fn: Any, *args: Any) -> Any:
    """What a call gives or raises; then the pool has to work as before."""
    got = []  # asyncio looks at what its tasks return

    async def run() -> None:
        try:
            async with asyncio.timeout(LIMIT):
                got.append(await pool.run(fn, *args))
        except BaseException as error:
            got.append(error)

    if way == "run":
        asyncio.run(run())
    else:
        future = pool.submit(fn, *args)
        error = future.exception(LIMIT)
        got.append(future.result() if error is None else error)
    assert pool.submit(abs, -1).result(LIMIT) == 1
    assert pool.stats()["running"] == 0
    return got[0]


ways = pytest.mark.parametrize("way", ["run", "submit"])


@ways
@pytest.mark.parametrize("notes", [[5], None, 7])
def test_an_exception_with_notes_that_are_none_comes_back(
    pool: offloop.Pool, way: str, notes: Any
) -> None:
    assert type(outcome(pool, way, jobs.fail_with_notes, notes)) is jobs.NotedError


@ways
@pytest.mark.parametrize("number", range(len(jobs.ERRORS)), ids=lambda it: jobs.ERRORS[it].__name__)
def test_an_exception_that_raises_when_it_is_asked_comes_back(
    pool: offloop.Pool, way: str, number: int
) -> None:
    kind, got = jobs.ERRORS[number], outcome(pool, way, jobs.fail, number)
    if pool.on in {"process", "interpreter"} and kind in {jobs.StuckError, jobs.DeafError}:
        assert type(got) is offloop.NotPicklable
        assert kind.__name__ in str(got)
    else:
        assert type(got) is kind


@ways
@pytest.mark.parametrize(
    "fn",
    [
        jobs.give_nameless_key,
        jobs.give_exiting,
        jobs.give_closed,
        jobs.give_of_nameless_class,
    ],
)
def test_a_result_that_raises_when_it_is_packed_is_not_picklable(
    pool: offloop.Pool, way: str, fn: Any
) -> None:
    got = outcome(pool, way, fn)
    if pool.on in {"process", "interpreter"}:
        assert type(got) is offloop.NotPicklable
        assert fn.__name__ in str(got)
    else:
        assert not isinstance(got, BaseException)


@ways
def test_an_argument_that_raises_when_it_is_asked_is_not_picklable(
    pool: offloop.Pool, way: str
) -> None:
    if pool.on not in {"process", "interpreter"}:
        pytest.skip("nothing is packed")
    got = outcome(pool, way, abs, jobs.give_nameless_key())
    assert type(got) is offloop.NotPicklable
    assert "argument 1" in str(got)


@ways
@pytest.mark.parametrize("fn", [jobs.Secretive(), jobs.Misnamed()], ids=["secretive", "misnamed"])
def test_an_object_that_tells_no_name_is_called(pool: offloop.Pool, way: str, fn: Any) -> None:
    if pool.on == "interpreter":
        pytest.skip("functions travel by name there")
    assert outcome(pool, way, fn) == "called"


@pytest.mark.parametrize("fn", [jobs.Secretive(), jobs.Misnamed()], ids=["secretive", "misnamed"])
def test_an_object_that_tells_no_name_is_explained(fn: Any) -> None:
    assert "thread" in offloop.explain(fn)


def test_a_future_that_others_have_settled_costs_no_worker(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with offloop.Pool("settled", limit=1) as pool:
        for _ in range(3):
            held = pool.submit(asyncio.run, asyncio.sleep(0.05))
            settled = pool.submit(abs, -1)
            settled.set_result(7)
            held.result(LIMIT)
        assert pool.submit(abs, -2).result(LIMIT) == 2
        assert pool.stats()["running"] == 0
    assert "the outcome of" in caplog.text

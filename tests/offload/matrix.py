"""What an offloaded call may count on, place by place: how the rows of that table are run.

Each row is a function of a pool, run for each kind of place that has to keep it. Long stories have
tests of their own; the modules ``test_matrix_*`` are the list.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

import offloop

LIMIT = 60.0
HAS_INTERPRETERS = sys.version_info >= (3, 14)
PLACES = ["thread", "process", "interpreter"]

Row = Callable[[offloop.Pool, Path], Awaitable[None]]


class Rows(list[tuple[str, Row]]):
    """The rows of one module."""

    def row(self, *places: str) -> Callable[[Row], Row]:
        """Enter a row into the matrix; without places it holds in all."""

        def enter(function: Row) -> Row:
            self.extend((place, function) for place in places or PLACES)
            return function

        return enter

    def all(self) -> pytest.MarkDecorator:
        """Run a test for each of them."""
        names = [f"{place}-{check.__name__}" for place, check in self]
        return pytest.mark.parametrize(("place", "check"), self, ids=names)


def pools() -> Iterator[dict[str, offloop.Pool]]:
    """One pool for each place: rows leave them as they were."""
    places = [place for place in PLACES if place != "interpreter" or HAS_INTERPRETERS]
    made = {place: offloop.Pool(f"m-{place}", on=place, limit=2, queue=50) for place in places}  # type: ignore[arg-type]
    yield made
    for pool in made.values():
        pool.close(grace=5)


def check_row(place: str, check: Row, pools: dict[str, offloop.Pool], path: Path) -> None:
    if place == "interpreter" and not HAS_INTERPRETERS:
        pytest.skip("needs Python 3.14")
    if place == "process" and os.name != "posix":
        pytest.skip("needs POSIX")
    asyncio.run(asyncio.wait_for(_checked(check, pools[place], path), 2 * LIMIT))


async def _checked(check: Row, pool: offloop.Pool, path: Path) -> None:
    """Run a row inside of a task of its own: SystemExit would end the loop."""
    await check(pool, path)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT):
        while not condition():
            await asyncio.sleep(0.005)

"""What cannot be called is refused where it is given, not where it would have been run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import offloop

three: Any = 3

WAYS: dict[str, Callable[[offloop.Pool], object]] = {
    "run": lambda pool: offloop.run(three),
    "submit": lambda pool: offloop.submit(three),
    "to_thread": lambda pool: offloop.to_thread(three),
    "to_process": lambda pool: offloop.to_process(three),
    "map": lambda pool: offloop.map(three, []),
    "iterate": lambda pool: offloop.iterate(three),
    "offloaded": lambda pool: offloop.offloaded(kind="io")(three),
    "explain": lambda pool: offloop.explain(three),
    "Pool.run": lambda pool: pool.run(three),
    "Pool.submit": lambda pool: pool.submit(three),
    "Pool.map": lambda pool: pool.map(three, []),
    "Pool.amap": lambda pool: pool.amap(three, []),
    "Pool.iterate": lambda pool: pool.iterate(three),
    "View.run": lambda pool: pool.view(limit=1).run(three),
    "View.submit": lambda pool: pool.view(limit=1).submit(three),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("on", ["thread", "process", "inline"])
def test_it_is_refused_at_the_call(way: str, on: Any) -> None:
    async def main() -> None:
        async with offloop.Pool(on=on, limit=1) as pool:
            with pytest.raises(TypeError, match="needed, not int"):
                WAYS[way](pool)
            assert pool.stats()["queued"] + pool.stats()["running"] == 0

    if "iterate" in way and on != "thread":
        pytest.skip("only threads can iterate")
    asyncio.run(main())


def test_a_scope_refuses_it_too() -> None:
    async def main() -> None:
        async with offloop.Scope() as scope:
            with pytest.raises(TypeError, match="a function to call is needed, not int"):
                scope.run(three)

    asyncio.run(main())


def test_no_function_at_all_is_refused() -> None:
    nothing: Any = offloop.run
    with pytest.raises(TypeError, match="a function to call is needed"):
        nothing()

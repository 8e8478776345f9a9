"""The inline place: what is offloaded runs where it is awaited, and may ask as it may elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import offloop


@pytest.fixture
def pool() -> Iterator[offloop.Pool]:
    with offloop.Pool("inline", on="inline") as pool:
        yield pool


def ask() -> Any:
    offloop.check_cancelled()
    return offloop.current_job()


def test_a_call_knows_what_it_is_part_of(pool: offloop.Pool) -> None:
    async def main() -> Any:
        return await pool.run(ask)

    current = asyncio.run(main())
    assert (current.name, current.pool, current.where) == ("ask", "inline", "inline")
    assert not current.cancelled
    assert offloop.current_job() is None


def test_a_call_within_a_call_is_told_apart(pool: offloop.Pool) -> None:
    def outer() -> list[str]:
        inner = pool.view().submit(ask)  # its turn comes when this one is over
        assert not inner.done()
        other = offloop.Pool("other", on="inline").submit(ask).result()
        return [other.pool, ask().pool]

    async def main() -> Any:
        return await pool.run(outer)

    with offloop.Pool("inline", on="inline", limit=1) as pool:
        assert asyncio.run(main()) == ["other", "inline"]


def test_a_call_that_asks_the_loop_which_waits_for_it_is_refused(pool: offloop.Pool) -> None:
    async def main() -> None:
        await pool.run(lambda: offloop.from_worker.run(asyncio.sleep(0)))

    with pytest.raises(offloop.OffloadError, match="a running loop around it"):
        asyncio.run(main())


def test_iterate_runs_in_the_loops_thread_and_closes_its_source(pool: offloop.Pool) -> None:
    seen: list[Any] = []

    def numbers() -> Iterator[int]:
        try:
            for number in range(100):
                seen.append(threading.get_ident())
                yield number
        finally:
            seen.append("closed")

    async def main() -> list[int]:
        got = [item async for item in pool.iterate(numbers(), batch=7)]
        async with contextlib.aclosing(pool.iterate(numbers())) as items:
            async for _ in items:
                break
        return got

    assert asyncio.run(main()) == list(range(100))
    assert set(seen) == {threading.get_ident(), "closed"}
    assert seen[-1] == "closed"


def test_a_program_that_iterates_can_be_forced_inline() -> None:
    code = """if True:
        import asyncio, offloop

        async def main():
            assert [n async for n in offloop.iterate(range(3))] == [0, 1, 2]
            assert (await offloop.to_process(offloop.current_job)).where == "inline"

        asyncio.run(main())
    """
    environment = {**os.environ, "OFFLOOP_FORCE": "inline"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)

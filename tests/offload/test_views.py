"""A view's own limit has a queue, which ends, and waits, which are seen."""

from __future__ import annotations

import asyncio
import threading

import pytest

import offloop

LIMIT = 60.0


def test_no_more_calls_wait_for_a_view_than_the_queue_takes() -> None:
    async def main() -> None:
        release = threading.Event()
        with offloop.Pool("wide", limit=4, queue=3) as pool:
            view = pool.view(limit=1)
            held = [view.run(release.wait, LIMIT).start() for _ in range(1 + 3)]
            try:
                with pytest.raises(offloop.PoolFull):
                    await view.run(abs, -1)
                assert await pool.run(abs, -1) == 1  # the pool itself has room
            finally:
                release.set()
            await asyncio.gather(*held)
            assert await view.run(abs, -1) == 1

    asyncio.run(main())


def test_a_call_that_waits_for_its_own_full_view_is_told() -> None:
    with offloop.Pool("wide", limit=4) as pool:
        view = pool.view(limit=1)

        def nested() -> int:
            return view.submit(abs, -1).result(5)

        with pytest.raises(offloop.WouldDeadlock):
            view.submit(nested).result(LIMIT)
        assert view.submit(abs, -1).result(LIMIT) == 1

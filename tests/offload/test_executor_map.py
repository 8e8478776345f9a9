"""`Pool.map`, as executors have it, on queues that are short or full."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import pytest

import offloop

LIMIT = 60.0


@pytest.mark.parametrize("on", ["thread", "inline"])
@pytest.mark.parametrize("queue", [0, 1, 3])
def test_a_short_queue_gives_every_result(on: Any, queue: int) -> None:
    with offloop.Pool(on=on, limit=2, queue=queue) as pool:
        assert list(pool.map(abs, range(-50, 0))) == list(range(50, 0, -1))


def test_a_short_queue_bounds_what_is_taken_ahead() -> None:
    taken = itertools.count()
    with offloop.Pool(limit=2, queue=3) as pool:
        results = pool.map(abs, taken)
        assert next(results) == 0
        assert next(taken) <= 2 + 3 + 3
        results.close()  # type: ignore[attr-defined]


def test_a_queue_full_of_others_calls_is_waited_for() -> None:
    with offloop.Pool(limit=1, queue=0) as pool:
        release = threading.Event()
        other = pool.submit(release.wait, LIMIT)
        results = pool.map(abs, [-1, -2, -3])
        threading.Timer(0.2, release.set).start()
        assert list(results) == [1, 2, 3]
        assert other.result(LIMIT)


def test_the_wait_for_others_ends_with_the_time_limit() -> None:
    with offloop.Pool(limit=1, queue=0) as pool:
        release = threading.Event()
        other = pool.submit(release.wait, LIMIT)
        try:
            with pytest.raises(TimeoutError):
                list(pool.map(abs, [-1], timeout=0.2))
        finally:
            release.set()
        assert other.result(LIMIT)

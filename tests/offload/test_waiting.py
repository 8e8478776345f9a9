"""Futures waited for inside of a call of their own pool, one by one or many at once."""

from __future__ import annotations

import concurrent.futures
import threading
from typing import Any

import pytest

import offloop

LIMIT = 20.0
HOW = [
    concurrent.futures.ALL_COMPLETED,
    concurrent.futures.FIRST_COMPLETED,
    concurrent.futures.FIRST_EXCEPTION,
]


@pytest.mark.parametrize("how", HOW)
def test_wait_in_a_call_on_its_own_full_pool_is_an_error_and_not_a_hang(how: str) -> None:
    pool = offloop.Pool(limit=1)

    def work() -> None:
        concurrent.futures.wait([pool.submit(int), pool.submit(int)], return_when=how)

    with pytest.raises(offloop.WouldDeadlock):
        pool.submit(work).result(LIMIT)
    assert pool.submit(int, "1").result(LIMIT) == 1


def test_as_completed_in_a_call_on_its_own_full_pool_is_an_error_and_not_a_hang() -> None:
    pool = offloop.Pool(limit=1)

    def work() -> list[Any]:
        return [it.result() for it in concurrent.futures.as_completed([pool.submit(int)])]

    with pytest.raises(offloop.WouldDeadlock):
        pool.submit(work).result(LIMIT)
    assert pool.submit(int, "1").result(LIMIT) == 1


def test_the_first_of_two_is_waited_for_where_the_other_pool_gets_on() -> None:
    full, free = offloop.Pool(limit=1), offloop.Pool(limit=1)

    def work(other: Any) -> int:
        first = concurrent.futures.FIRST_COMPLETED
        return len(concurrent.futures.wait([full.submit(int), other], return_when=first).done)

    gate = threading.Event()
    waiting = full.submit(work, free.submit(gate.wait, LIMIT))
    gate.set()
    assert waiting.result(LIMIT) == 1
    # So with a Future of somebody else's.
    foreign: concurrent.futures.Future[int] = concurrent.futures.Future()
    waiting = full.submit(work, foreign)
    foreign.set_result(1)
    assert waiting.result(LIMIT) == 1


def test_wait_and_as_completed_work_in_a_call_while_the_pool_has_room() -> None:
    pool = offloop.Pool(limit=3)

    def work() -> tuple[int, list[int]]:
        done = concurrent.futures.wait([pool.submit(int) for _ in range(5)]).done
        futures = [pool.submit(int, str(n)) for n in range(5)]
        return len(done), sorted(it.result() for it in concurrent.futures.as_completed(futures))

    assert pool.submit(work).result(LIMIT) == (5, [0, 1, 2, 3, 4])


def test_what_a_call_waited_for_is_forgotten_with_it() -> None:
    pool, other = offloop.Pool(limit=1), offloop.Pool(limit=1)
    gate = threading.Event()
    held = other.submit(gate.wait, LIMIT)

    def give_up() -> None:
        with pytest.raises(TimeoutError):
            other.submit(int).result(0.01)

    pool.submit(give_up).result(LIMIT)
    # Were the worker of `pool` still taken for one that waits for `other`, this would be an error.
    asked = other.submit(pool.submit(int, "7").result, LIMIT)
    gate.set()
    assert held.result(LIMIT)
    assert asked.result(LIMIT) == 7

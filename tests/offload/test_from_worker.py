"""`from_worker.run` where there is nothing to run, or nobody to run it."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

import offloop


@pytest.mark.parametrize("wrong", [5, None, asyncio.sleep])
def test_what_is_no_coroutine_is_refused_wherever_it_is_asked(wrong: Any) -> None:
    with pytest.raises(TypeError, match="coroutine"):
        offloop.from_worker.run(wrong)
    with pytest.raises(TypeError, match="coroutine"):
        offloop.submit(offloop.from_worker.run, wrong).result(10)


def test_a_coroutine_that_its_loop_never_begins_is_closed() -> None:
    """A RuntimeWarning of one never awaited would be an error."""
    begun, loop_is_closed = threading.Event(), threading.Event()
    error: list[BaseException] = []

    def ask() -> None:
        begun.set()
        loop_is_closed.wait(10)
        try:
            offloop.from_worker.run(asyncio.sleep(0))
        except BaseException as raised:
            error.append(raised)

    async def main() -> None:
        offloop.Pool("left", limit=1).view(on_cancel="abandon").run(ask).start()
        await asyncio.to_thread(begun.wait, 10)

    asyncio.run(main())
    loop_is_closed.set()
    for _ in range(500):
        if error:
            break
        time.sleep(0.01)
    assert isinstance(error[0], (offloop.Closed, offloop.OffloadError))

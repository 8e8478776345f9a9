"""`offloop.run`: a function in a worker thread, as if it had been called here."""

from __future__ import annotations

import asyncio
import contextvars
import json
import re
import subprocess
import sys
import threading
import time
import traceback
from typing import Any

import pytest

import offloop
from conftest import Run


def test_arguments_and_result_are_passed_on(run: Run[Any]) -> None:
    def describe(*args: int, fn: str, **kwargs: int) -> tuple[Any, ...]:
        return args, fn, kwargs

    async def main() -> None:
        assert await offloop.run(describe, 1, 2, fn="x", more=3) == ((1, 2), "x", {"more": 3})

    run(main())


def test_calls_run_in_real_threads_with_names(run: Run[Any]) -> None:
    async def main() -> None:
        thread = await offloop.run(threading.current_thread)
        assert re.fullmatch(r"offloop-io-\d+", thread.name)
        assert not isinstance(thread, threading._DummyThread)
        assert thread is not threading.current_thread()

    run(main())


def test_thread_locals_survive_from_call_to_call(run: Run[Any]) -> None:
    local = threading.local()

    def count() -> tuple[int, int]:
        local.calls = getattr(local, "calls", 0) + 1
        return threading.get_ident(), local.calls

    async def main() -> None:
        last: dict[int, int] = {}
        for _ in range(2000):
            ident, calls = await offloop.run(count)
            assert calls == last.get(ident, 0) + 1
            last[ident] = calls

    run(main())


def test_context_variables_are_copied_when_the_job_starts(run: Run[Any]) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")

    def read_and_change() -> str:
        value = variable.get()
        variable.set("changed in the thread")
        return value

    async def main() -> None:
        variable.set("mine")
        assert await offloop.run(read_and_change) == "mine"
        assert variable.get() == "mine"

    run(main())


def test_the_functions_own_exception_comes_back_with_its_traceback(run: Run[Any]) -> None:
    error = LookupError("mine")

    def inner() -> None:
        raise error

    def outer() -> None:
        inner()

    async def main() -> None:
        with pytest.raises(LookupError) as caught:
            await offloop.run(outer)
        assert caught.value is error
        names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        assert names[-2:] == ["outer", "inner"]
        assert "work" not in names

    run(main())


def test_an_error_in_the_call_itself_comes_back(run: Run[Any]) -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="positional argument"):
            await offloop.run(lambda: None, 1)  # type: ignore[call-arg]

    run(main())


def test_stop_iteration_becomes_a_runtime_error(run: Run[Any]) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="StopIteration") as caught:
            await asyncio.wait_for(offloop.run(next, iter([])), 5)
        assert isinstance(caught.value.__cause__, StopIteration)

    run(main())


@pytest.mark.parametrize("leaving", [SystemExit, KeyboardInterrupt])
def test_exit_requests_reach_the_awaiter_and_spare_the_worker(leaving: type[BaseException]) -> None:
    def leave() -> None:
        raise leaving(3)

    async def main() -> int:
        try:
            await offloop.run(leave)
        except leaving:
            return await offloop.run(int, "42")
        return 0

    assert asyncio.run(main()) == 42


def test_deep_recursion_is_a_recursion_error(run: Run[Any]) -> None:
    async def main() -> None:
        with pytest.raises(RecursionError):
            await offloop.run(json.loads, "[" * 200_000 + "]" * 200_000)

    run(main())


def test_blocking_calls_run_side_by_side(run: Run[Any]) -> None:
    async def main() -> None:
        began = time.perf_counter()
        await asyncio.gather(*(offloop.run(time.sleep, 0.2) for _ in range(30)))
        assert time.perf_counter() - began < 4

    run(main())


def test_the_loop_stays_alive_beside_a_blocking_call(run: Run[Any]) -> None:
    async def main() -> None:
        gate = threading.Event()
        job = offloop.run(gate.wait, 10).start()
        for _ in range(40):
            await asyncio.sleep(0.005)
        assert not job.done()
        gate.set()
        assert await job

    run(main())


def test_more_calls_than_threads_all_come_back(run: Run[Any]) -> None:
    async def main() -> None:
        values = await asyncio.gather(*(offloop.run(pow, n, 2) for n in range(5000)))
        assert values == [n * n for n in range(5000)]

    run(main())


def test_a_full_queue_says_so_and_recovers(run: Run[Any]) -> None:
    async def main() -> None:
        gate = threading.Event()
        began: list[None] = []

        def hold() -> None:
            began.append(None)
            gate.wait(60)

        blockers = [offloop.run(hold).start() for _ in range(40)]
        async with asyncio.timeout(30):
            while len(began) < len(blockers):
                await asyncio.sleep(0.01)
        waiting = [offloop.run(int).start() for _ in range(10_000)]
        with pytest.raises(offloop.PoolFull, match="10000"):
            await offloop.run(int)
        gate.set()
        # Without `gather`: a loop in debug mode writes down the stack for each call it is given.
        for job in (*blockers, *waiting):
            await job
        assert await offloop.run(int, "5") == 5

    run(main())


def test_objects_are_released_in_the_loops_thread(run: Run[Any]) -> None:
    released: list[int] = []

    class Witness:
        def __del__(self) -> None:
            released.append(threading.get_ident())

    def use(argument: Witness, *, keyword: Witness) -> Witness:
        return Witness()

    async def main() -> None:
        for _ in range(200):
            await offloop.run(use, Witness(), keyword=Witness())
        await asyncio.sleep(0.05)
        assert len(released) == 600
        assert set(released) == {threading.get_ident()}

    run(main())


def test_a_call_cancelled_in_the_queue_is_released_in_the_loops_thread(run: Run[Any]) -> None:
    released: list[int] = []

    class Witness:
        def __del__(self) -> None:
            released.append(threading.get_ident())

    async def main() -> None:
        gate = threading.Event()
        blockers = [offloop.run(gate.wait, 30).start() for _ in range(40)]
        await asyncio.sleep(0.1)
        waiting = [offloop.run(print, Witness()).start() for _ in range(100)]
        for job in waiting:
            job.cancel()
        del waiting, job
        gate.set()
        await asyncio.gather(*blockers)
        while len(released) < 100:
            await asyncio.sleep(0.01)
        assert set(released) == {threading.get_ident()}

    run(main())


def test_a_thread_that_cannot_be_started_is_an_error_and_not_a_hang() -> None:
    code = """if True:
        import asyncio, threading
        import offloop

        def refuse(*args, **kwargs):
            raise RuntimeError("can't start new thread")

        async def main():
            start = threading.Thread.start
            threading.Thread.start = refuse
            try:
                await asyncio.wait_for(offloop.run(int), 5)
            except offloop.ResourceExhausted as error:
                print(isinstance(error, OSError), error.errno > 0)
            threading.Thread.start = start
            print(await offloop.run(int, "42"))

        asyncio.run(main())
    """
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert (ended.stdout, ended.stderr) == ("True True\n42\n", "")

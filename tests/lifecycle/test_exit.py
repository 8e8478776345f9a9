"""The interpreter ends by itself, by signals and by exceptions, with work in flight."""

from __future__ import annotations

import signal

import pytest
from exit_shapes import ENDLESS, Shape, ends_well

from servers import Server


def test_a_loop_that_ends_leaves_its_started_jobs_behind(server: Server, kind: str) -> None:
    code = """
async def main():
    global futures
    futures = await in_flight(start_calls())

run_loop(main())
"""
    ends_well(Shape(code), server, kind)


def test_a_loop_that_ends_drops_jobs_nobody_holds(server: Server, kind: str) -> None:
    code = """
async def main():
    await in_flight(start_calls())

run_loop(main())
"""
    ends_well(Shape(code), server, kind)


def test_a_loop_that_ends_cancels_the_tasks_that_await_jobs(server: Server, kind: str) -> None:
    code = """
async def wait_for(job):
    return await job

async def main():
    calls = start_calls()
    global tasks
    tasks = [asyncio.create_task(wait_for(job)) for job in start_fetches() + calls]
    await until(lambda: not any(job.state in ("new", "queued") for job in calls))

run_loop(main())
"""
    ends_well(Shape(code), server, kind)


def test_sys_exit_in_a_task_ends_the_process_with_its_code(server: Server, kind: str) -> None:
    code = """
async def leave(futures):
    sys.exit(3)

async def main():
    futures = await in_flight(start_calls())
    task = asyncio.create_task(leave(futures))
    task.add_done_callback(lambda task: task.exception())  # asyncio would log it
    await asyncio.gather(*futures)

run_loop(main())
"""
    ends_well(Shape(code, exit_code=3), server, kind)


def test_sys_exit_in_a_jobs_callback_ends_the_process_with_its_code(
    server: Server, kind: str
) -> None:
    code = """
async def main():
    futures = await in_flight(start_calls())
    job = offloop.fetch(f"{url}/1k")
    job.add_done_callback(lambda _: sys.exit(4))
    await asyncio.gather(*futures)

run_loop(main())
"""
    ends_well(Shape(code, exit_code=4), server, kind)


def test_sys_exit_in_an_offloaded_call_reaches_the_awaiter(server: Server, kind: str) -> None:
    code = """
async def main():
    futures = await in_flight(start_calls())
    await offloop.run(sys.exit, 7)

run_loop(main())
"""
    ends_well(Shape(code, exit_code=7), server, kind)


@pytest.mark.parametrize("call", ["offloop.run(fail)", 'offloop.run(int, "x")'])
def test_an_exception_that_outlives_its_call_does_not_cost_the_grace(
    server: Server, call: str
) -> None:
    code = f"""
def fail():
    raise ValueError

async def main():
    global kept
    try:
        await {call}
    except ValueError as error:
        kept = error

run_loop(main())
"""
    ends_well(Shape(code, environment={"OFFLOOP_EXIT_GRACE": "10"}), server)


@pytest.mark.parametrize("calls", ["start_calls", "start_endless_calls"])
def test_an_interrupt_ends_a_loop_that_waits_for_fetches(
    server: Server, kind: str, calls: str
) -> None:
    code = f"""
async def main():
    futures = await in_flight({calls}())
    print("ready", flush=True)
    await asyncio.gather(*futures[:10])

try:
    run_loop(main())
except KeyboardInterrupt:
    sys.exit(130)
"""
    left = ENDLESS if calls == "start_endless_calls" else []
    ends_well(Shape(code, exit_code=130, left=left, send=signal.SIGINT), server, kind)


def test_an_interrupt_ends_a_loop_that_waits_for_short_calls(server: Server, kind: str) -> None:
    code = """
async def main():
    futures = await in_flight([offloop.run(spin, 0.5) for _ in range(5)])
    print("ready", flush=True)
    await asyncio.gather(*futures)

try:
    run_loop(main())
except KeyboardInterrupt:
    sys.exit(130)
"""
    ends_well(Shape(code, exit_code=130, send=signal.SIGINT), server, kind)


def test_an_uncaught_interrupt_shows_pythons_own_traceback(server: Server) -> None:
    code = """
async def main():
    futures = await in_flight(start_calls())
    print("ready", flush=True)
    await asyncio.gather(*futures[:10])

run_loop(main())
"""
    stderr = r"Traceback .*KeyboardInterrupt\n"
    shape = Shape(code, exit_code=-signal.SIGINT, stderr=stderr, send=signal.SIGINT)
    ends_well(shape, server)


def test_termination_kills_the_process_at_once(server: Server, kind: str) -> None:
    code = """
async def main():
    futures = await in_flight(start_endless_calls())
    print("ready", flush=True)
    await asyncio.gather(*futures)

run_loop(main())
"""
    ends_well(Shape(code, exit_code=-signal.SIGTERM, send=signal.SIGTERM), server, kind)


@pytest.mark.parametrize("calls", ["start_calls", "start_endless_calls"])
def test_an_uncaught_exception_shows_its_own_traceback_alone(
    server: Server, kind: str, calls: str
) -> None:
    code = f"""
async def main():
    futures = await in_flight({calls}())
    raise ValueError("mine")

run_loop(main())
"""
    stderr = r"Traceback(?:(?!Traceback).)*ValueError: mine\n"
    left = ENDLESS if calls == "start_endless_calls" else []
    ends_well(Shape(code, exit_code=1, stderr=stderr, left=left), server, kind)

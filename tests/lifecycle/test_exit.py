"""The interpreter ends while fetches and offloaded calls are in flight: promptly and quietly.

Each shape is a script that runs in a process of its own, `OFFLOOP_EXIT_REPEATS` times (1 unless
told). It must end with the expected code and in time, and print nothing to stderr but
the line that names a call left running, where there is one.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field

import pytest

from conftest import uvloop
from servers import Server

REPEATS = int(os.environ.get("OFFLOOP_EXIT_REPEATS", "1"))
"""How often each shape is run."""
LIMIT = 10.0
"""Seconds from the start of the process to its end: three on a machine with nothing else to do."""

LEFT_RUNNING = re.compile(r"left (\S+) running at exit: thread offloop-io-\d+, for \d+\.\d s")

PRELUDE = """
import asyncio, atexit, json, os, sys, threading, time
import offloop

url, kind = sys.argv[1:]
if kind == "uvloop":
    import uvloop
    new_loop = uvloop.new_event_loop
elif kind == "no-readers":
    class new_loop(asyncio.SelectorEventLoop):
        def add_reader(self, *args):
            raise NotImplementedError
else:
    new_loop = asyncio.new_event_loop

def run_loop(main):
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main)

def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.001)

def spin_forever():
    while True:
        time.sleep(0.001)

def start_fetches():
    fetches = [offloop.fetch(f"{url}/hang") for _ in range(10)]
    return fetches + [offloop.fetch(f"{url}/delay/{0.01 + n / 50}") for n in range(10)]

def start_calls():
    return [offloop.run(time.sleep, 0.1) for _ in range(3)] + [
        offloop.run(spin, 0.1) for _ in range(2)
    ]

def start_endless_calls():
    return [offloop.run(time.sleep, 3600) for _ in range(3)] + [
        offloop.run(spin_forever) for _ in range(2)
    ]

async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)

async def in_flight(calls):
    # The futures of 20 fetches that the server has seen and of 5 calls that are being run.
    jobs = start_fetches() + calls
    futures = [job.start() for job in jobs]
    while json.loads((await offloop.fetch(f"{url}/stats")).content)["open"] < 10:
        await asyncio.sleep(0.001)
    await until(lambda: not any(job.state == "queued" for job in calls))
    return futures
"""

ENDLESS = ["sleep"] * 3 + ["spin_forever"] * 2


@dataclass
class Shape:
    """A way to end, and what it has to look like from outside."""

    code: str
    exit_code: int = 0
    stdout: str | None = None
    """A pattern for all of stdout."""
    stderr: str = ""
    """A pattern for what stderr holds besides the names of calls left running."""
    left: list[str] = field(default_factory=list)
    """The functions that are left running, sorted."""
    send: signal.Signals | None = None
    """What the process is sent once it has printed "ready"."""
    environment: dict[str, str] = field(default_factory=dict)
    times: int = 1
    """How many times more often it is repeated: for what only chance brings about."""


@pytest.fixture(params=["asyncio", "uvloop"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which kind of event loop the script uses."""
    if request.param == "uvloop" and uvloop is None:
        pytest.skip("uvloop has no build for this Python")
    return request.param


def ends_well(shape: Shape, server: Server, kind: str = "asyncio") -> None:
    """Run a shape's repeats; each has to end as it should and in time."""
    slowest = 0.0
    repeats = REPEATS * shape.times
    for repeat in range(repeats):
        seconds = run_once(shape, server, kind, repeat)
        slowest = max(slowest, seconds)
    assert slowest <= LIMIT, f"the slowest of {repeats} took {slowest:.2f} s"


def run_once(shape: Shape, server: Server, kind: str, repeat: int) -> float:
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-c", PRELUDE + shape.code, server.url, kind],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **shape.environment},
    ) as process:
        try:
            if shape.send is not None:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
                process.send_signal(shape.send)
            stdout, stderr = process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            stdout, stderr = process.communicate(timeout=20)
            pytest.fail(f"run {repeat} still runs after 20 s\n{stdout}\n{stderr}")
    seconds = time.monotonic() - began
    what = f"run {repeat} ended with {process.returncode} after {seconds:.2f} s\n{stdout}\n{stderr}"
    assert process.returncode == shape.exit_code, what
    assert sorted(LEFT_RUNNING.findall(stderr)) == shape.left, what
    rest = "".join(
        line for line in stderr.splitlines(keepends=True) if not LEFT_RUNNING.search(line)
    )
    assert re.fullmatch(shape.stderr, rest, re.DOTALL), what
    for word in ("panicked", "Fatal Python error", "never awaited", "never retrieved"):
        assert word not in rest, what
    if shape.stdout is not None:
        assert re.fullmatch(shape.stdout, stdout, re.DOTALL), what
    return seconds


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


def test_a_daemon_thread_that_fetches_does_not_disturb_the_end(server: Server, kind: str) -> None:
    code = """
busy = threading.Event()

async def fetch_forever():
    futures = await in_flight(start_calls())
    while True:
        await asyncio.gather(*(offloop.fetch(f"{url}/1k") for _ in range(20)))
        busy.set()

threading.Thread(target=lambda: run_loop(fetch_forever()), daemon=True).start()
busy.wait()
"""
    ends_well(Shape(code), server, kind)


def test_a_daemon_thread_that_offloads_meets_a_closed_pool_at_worst(
    server: Server, kind: str
) -> None:
    code = """
busy = threading.Event()

async def offload_forever():
    while True:
        await asyncio.gather(*(offloop.run(spin, 0.001) for _ in range(20)))
        busy.set()

def thread():
    try:
        run_loop(offload_forever())
    except offloop.Closed:
        pass

for _ in range(3):
    threading.Thread(target=thread, daemon=True).start()
busy.wait()
"""
    ends_well(Shape(code), server, kind)


@pytest.mark.parametrize(
    "first", ['offloop.fetch(f"{url}/1k")', "offloop.run(int)"], ids=["fetch", "run"]
)
def test_a_daemon_thread_may_be_using_offloop_for_the_first_time_at_the_end(
    server: Server, kind: str, first: str
) -> None:
    # Up to Python 3.13 a daemon thread is ended by unwinding its stack, where it waits for the GIL.
    code = f"""
begin = threading.Event()

async def use():
    begin.set()
    await asyncio.gather(*({first} for _ in range(40)))

def thread():
    try:
        run_loop(use())
    except (offloop.Closed, offloop.ResourceExhausted):
        pass

threading.Thread(target=thread, daemon=True).start()
begin.wait()
"""
    ends_well(Shape(code, times=10), server, kind)


def test_a_loop_without_readers_does_not_disturb_the_end(server: Server) -> None:
    code = """
async def main():
    global futures
    futures = await in_flight([])
    futures += [offloop.fetch(f"{url}/delay/{n / 1000}").start() for n in range(50)]
    await asyncio.sleep(0.01)

loop = new_loop()
loop.run_until_complete(main())
"""
    ends_well(Shape(code, times=5), server, "no-readers")


def test_a_thread_with_its_own_loop_finishes_its_fetches_after_main_has_ended(
    server: Server, kind: str
) -> None:
    code = """
busy = threading.Event()

async def work():
    futures = await in_flight(start_calls())
    busy.set()
    statuses = [(await future).status_code for future in futures[10:20]]
    assert statuses == [200] * 10
    try:
        while True:  # the pool closes when the main thread ends
            await offloop.run(int)
    except offloop.Closed:
        print("closed")
    print((await offloop.fetch(f"{url}/1k")).status_code)

threading.Thread(target=lambda: run_loop(work())).start()
busy.wait()
"""
    ends_well(Shape(code, stdout="closed\n200\n"), server, kind)


def test_a_thread_may_be_the_first_to_use_offloop_after_main_has_ended(
    server: Server, kind: str
) -> None:
    code = """
async def work():
    await until(lambda: not threading.main_thread().is_alive())
    print((await offloop.fetch(f"{url}/1k")).status_code)
    try:
        print(await offloop.run(int))
    except offloop.OffloopError as error:
        print(type(error).__name__)

threading.Thread(target=lambda: run_loop(work())).start()
"""
    ends_well(Shape(code, stdout="200\n(0|Closed|ResourceExhausted)\n"), server, kind)


@pytest.mark.parametrize("use", ["before", "after", "never"])
def test_an_atexit_handler_may_fetch(server: Server, kind: str, use: str) -> None:
    registered_early = use in ("before", "never")
    code = f"""
async def fetch():
    print((await offloop.fetch(f"{{url}}/1k")).status_code)

async def main():
    global futures
    futures = await in_flight(start_calls())

if {registered_early}:
    atexit.register(lambda: run_loop(fetch()))
if {use != "never"}:
    run_loop(main())
if not {registered_early}:
    atexit.register(lambda: run_loop(fetch()))
"""
    ends_well(Shape(code, stdout="200\n"), server, kind)


@pytest.mark.parametrize("registered", ["before", "after"])
def test_an_atexit_handler_that_offloads_is_told_that_the_pool_is_closed(
    server: Server, kind: str, registered: str
) -> None:
    code = f"""
async def offload():
    try:
        await offloop.run(int)
    except offloop.Closed as error:
        print("Closed:", error)

async def main():
    global futures
    futures = await in_flight(start_calls())

if {registered == "before"}:
    atexit.register(lambda: run_loop(offload()))
run_loop(main())
if {registered == "after"}:
    atexit.register(lambda: run_loop(offload()))
"""
    ends_well(Shape(code, stdout="Closed: .*\n"), server, kind)


def test_an_atexit_handler_that_is_the_first_to_offload_works_or_fails_clearly(
    server: Server, kind: str
) -> None:
    code = """
async def offload():
    try:
        print(await offloop.run(int))
    except offloop.OffloopError as error:
        print(type(error).__name__)

atexit.register(lambda: run_loop(offload()))
"""
    ends_well(Shape(code, stdout="(0|Closed|ResourceExhausted)\n"), server, kind)


@pytest.mark.parametrize("calls", ["start_calls", "start_endless_calls"])
def test_a_loop_closed_by_hand_with_jobs_pending_ends_quietly(
    server: Server, kind: str, calls: str
) -> None:
    code = f"""
loop = new_loop()
futures = loop.run_until_complete(in_flight({calls}()))
loop.close()
"""
    left = ENDLESS if calls == "start_endless_calls" else []
    ends_well(Shape(code, left=left), server, kind)


@pytest.mark.parametrize("calls", ["start_calls", "start_endless_calls"])
def test_a_loop_that_is_never_closed_ends_quietly(server: Server, kind: str, calls: str) -> None:
    code = f"""
loop = new_loop()
futures = loop.run_until_complete(in_flight({calls}()))
"""
    left = ENDLESS if calls == "start_endless_calls" else []
    ends_well(Shape(code, left=left), server, kind)


def test_os_exit_ends_at_once_with_its_code(server: Server, kind: str) -> None:
    code = """
async def main():
    futures = await in_flight(start_endless_calls())
    os._exit(5)

run_loop(main())
"""
    ends_well(Shape(code, exit_code=5), server, kind)


@pytest.mark.parametrize(
    ("call", "name"),
    [("offloop.run(time.sleep, 3600)", "sleep"), ("offloop.run(spin_forever)", "spin_forever")],
)
def test_a_stuck_call_is_named_and_left_behind(
    server: Server, kind: str, call: str, name: str
) -> None:
    code = f"""
async def main():
    job = {call}
    job.start()
    await until(lambda: job.state == "running")

run_loop(main())
"""
    ends_well(Shape(code, left=[name]), server, kind)


def test_all_stuck_calls_are_named_while_fetches_are_in_flight(server: Server, kind: str) -> None:
    code = """
async def main():
    global futures
    futures = await in_flight(start_endless_calls())

run_loop(main())
"""
    ends_well(Shape(code, left=ENDLESS), server, kind)


def test_a_stuck_call_may_be_left_without_any_grace(server: Server, kind: str) -> None:
    code = """
async def main():
    global futures
    futures = await in_flight(start_endless_calls())

run_loop(main())
"""
    shape = Shape(code, left=ENDLESS, environment={"OFFLOOP_EXIT_GRACE": "0"})
    ends_well(shape, server, kind)


def test_calls_that_end_while_the_interpreter_finalises_do_not_disturb_it(server: Server) -> None:
    code = """
import logging
logging.getLogger("offloop").disabled = True

async def main():
    jobs = [offloop.run(spin, 0.05 + n / 1000) for n in range(40)]
    futures = [job.start() for job in jobs]
    await until(lambda: not any(job.state == "queued" for job in jobs))

run_loop(main())
"""
    ends_well(Shape(code, environment={"OFFLOOP_EXIT_GRACE": "0.03"}), server)


def test_the_process_ends_in_the_middle_of_a_thousand_fetches(server: Server, kind: str) -> None:
    code = """
async def main():
    global gathered
    jobs = [offloop.fetch(f"{url}/1k") for _ in range(1000)]
    gathered = asyncio.gather(*jobs)
    await until(lambda: any(job.done() for job in jobs))
    sys.exit(6)

run_loop(main())
"""
    ends_well(Shape(code, exit_code=6), server, kind)


def test_the_process_ends_while_a_thousand_trivial_calls_are_run(server: Server, kind: str) -> None:
    code = """
async def main():
    global gathered
    jobs = [offloop.run(int) for _ in range(1000)]
    gathered = asyncio.gather(*jobs)
    await until(lambda: jobs[0].done())

run_loop(main())
"""
    ends_well(Shape(code), server, kind)


def test_the_process_ends_while_calls_return_objects_that_need_the_interpreter(
    server: Server, kind: str
) -> None:
    code = """
class Result:
    def __del__(self):
        time.sleep(0)

async def main():
    global futures
    futures = [offloop.run(Result).start() for _ in range(1000)]
    await asyncio.sleep(0)

run_loop(main())
"""
    ends_well(Shape(code), server, kind)


def test_results_that_die_with_the_module_do_so_quietly(server: Server, kind: str) -> None:
    code = """
async def main():
    global client, response, done, failed, started
    client = offloop.Client()
    response = await client.get(f"{url}/1k")
    done = offloop.run(list)
    await done
    failed = offloop.run(int, "x")
    try:
        await failed
    except ValueError:
        pass
    started = client.get(f"{url}/hang").start()

run_loop(main())
"""
    ends_well(Shape(code), server, kind)

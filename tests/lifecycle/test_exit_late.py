"""Threads and handlers that use offloop while the interpreter is ending."""

from __future__ import annotations

import pytest
from exit_shapes import ENDLESS, Shape, ends_well

from servers import Server


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

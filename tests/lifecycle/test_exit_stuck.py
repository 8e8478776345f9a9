"""Calls that do not end, and crowds of those that do, while the interpreter ends."""

from __future__ import annotations

import pytest
from exit_shapes import ENDLESS, Shape, ends_well

from servers import Server


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

"""What a child of a process that has used offloop is told, and when."""

from __future__ import annotations

import pickle
from pathlib import Path

from fork_script import FORKED, IN_FLIGHT, run_script

import offloop
from servers import Server


def test_inherited_jobs_and_loops_do_not_make_a_child_wait(server: Server, tmp_path: Path) -> None:
    code = f"""
{IN_FLIGHT}
async def await_it(job):
    await job

unstarted = [offloop.fetch(f"{{url}}/1k"), offloop.run(int)]
runner = asyncio.Runner()
futures = runner.run(start())
for job in unstarted:
    print(fork(lambda: asyncio.run(await_it(job))))
for act in (fetch_1k, offload):
    print(fork(lambda: runner.run(act())))
runner.run(finish(futures))
runner.close()
for job in unstarted:
    job.close()
"""
    assert run_script(code, server, tmp_path).split() == [FORKED] * 4


def test_awaiting_an_inherited_job_in_flight_does_not_hang_the_child(
    server: Server, tmp_path: Path
) -> None:
    code = """
import offloop

async def await_it():
    await job

async def begin():
    job = offloop.fetch(f"{url}/hang")
    job.add_done_callback(lambda _: None)
    return job

runner = asyncio.Runner()
job = runner.run(begin())
print(fork(lambda: runner.run(await_it())))
runner.run(work_well())
"""
    assert run_script(code, server, tmp_path).split() == [FORKED]


def test_the_refusal_comes_at_once(server: Server, tmp_path: Path) -> None:
    code = """
async def refusals():
    import offloop
    for attempt in (lambda: offloop.fetch(f"{url}/1k"), lambda: offloop.run(int)):
        began = time.perf_counter()
        try:
            await attempt()
        except offloop.ForkedProcessError:
            yield time.perf_counter() - began

async def slowest():
    return max([seconds async for seconds in refusals()])

asyncio.run(work_well())
print(min(float(fork(lambda: asyncio.run(slowest()))) for _ in range(3)))
"""
    assert float(run_script(code, server, tmp_path)) < 0.1


def test_the_refusal_says_what_to_do_instead(server: Server, tmp_path: Path) -> None:
    code = """
import offloop

def message():
    try:
        fetch_in_child()
    except offloop.ForkedProcessError as error:
        return error

asyncio.run(work_well())
print(fork(message))
"""
    said = run_script(code, server, tmp_path)
    assert "forked" in said
    assert "'spawn'" in said
    assert "'forkserver'" in said


def test_the_refusal_can_be_pickled() -> None:
    error = offloop.ForkedProcessError("this process was forked")
    error.add_note("a note")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is offloop.ForkedProcessError
    assert copy.args == error.args
    assert copy.__notes__ == ["a note"]

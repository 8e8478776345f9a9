"""A process forks: before, after and in the midst of offloop's work.

The child gets results or `ForkedProcessError`, soon; the parent goes on unharmed. Each scenario is
a script in a process of its own, and a child that hangs is killed and fails the scenario.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import offloop
from servers import Server

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

FORKED = "forked"
"""What a child prints that was refused by ForkedProcessError."""

PRELUDE = """
import asyncio, faulthandler, gc, json, os, signal, sys, threading, time, warnings
warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)
faulthandler.enable()
url = sys.argv[1]

def ended(pid):
    # The child's exit code, or None where it had to be killed.
    give_up = time.monotonic() + 5
    while (waited := os.waitpid(pid, os.WNOHANG)) == (0, 0):
        if time.monotonic() > give_up:
            os.kill(pid, signal.SIGABRT)  # faulthandler tells where
            os.waitpid(pid, 0)
            return None
        time.sleep(0.001)
    return os.waitstatus_to_exitcode(waited[1])

def fork(act):
    # What `act` gives in a child, or "forked" where it was refused, or "hung".
    near, far = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = "failed"
        try:
            said = str(act())
        except BaseException as error:
            import offloop
            said = "forked" if isinstance(error, offloop.ForkedProcessError) else repr(error)
        finally:
            os.write(far, said.encode())
            os._exit(0)
    os.close(far)
    if ended(pid) is None:
        return "hung"
    with open(near) as pipe:
        return pipe.read()

async def fetch_1k():
    import offloop
    return (await offloop.fetch(f"{url}/1k")).status_code

async def offload():
    import offloop
    return await offloop.run(max, 200, 1)

def fetch_in_child():
    return asyncio.run(fetch_1k())

def offload_in_child():
    return asyncio.run(offload())

CHILDREN = (fetch_in_child, offload_in_child)

async def work_well():
    import offloop
    fetches = [offloop.fetch(f"{url}/1k") for _ in range(20)]
    calls = [offloop.run(time.sleep, 0.001) for _ in range(5)]
    results = await asyncio.wait_for(asyncio.gather(*fetches, *calls), 10)
    assert [result.status_code for result in results[:20]] == [200] * 20
    assert results[20:] == [None] * 5
"""


def run_script(code: str, server: Server, folder: Path) -> str:
    """What the script printed; it has to end well and to leave stderr empty."""
    script = folder / "script.py"  # a file, because spawned processes import it
    script.write_text(PRELUDE + code)
    with subprocess.Popen(
        [sys.executable, str(script), server.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=40)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            stdout, stderr = process.communicate(timeout=10)
            pytest.fail(f"the parent hangs\n{stdout}\n{stderr}")
    assert (process.returncode, stderr) == (0, ""), f"{stdout}\n{stderr}"
    return stdout


def test_a_child_forked_before_the_import_has_all_of_offloop(
    server: Server, tmp_path: Path
) -> None:
    code = """
assert "offloop" not in sys.modules
for act in CHILDREN:
    print(fork(act))
asyncio.run(work_well())
"""
    assert run_script(code, server, tmp_path).split() == ["200", "200"]


def test_a_child_forked_after_the_import_has_all_of_offloop(server: Server, tmp_path: Path) -> None:
    code = """
import offloop

def both():
    asyncio.run(work_well())
    return "well"

client = offloop.Client(base_url=url)
for act in (*CHILDREN, both):
    print(fork(act))
asyncio.run(work_well())
"""
    assert run_script(code, server, tmp_path).split() == ["200", "200", "well"]


def test_a_child_forked_in_a_loop_that_has_not_used_offloop_has_all_of_it(
    server: Server, tmp_path: Path
) -> None:
    code = """
import offloop

async def main():
    for act in CHILDREN:
        print(fork(act))
    await work_well()

asyncio.run(main())
"""
    assert run_script(code, server, tmp_path).split() == ["200", "200"]


def test_a_child_of_a_parent_that_only_fetched_is_refused(server: Server, tmp_path: Path) -> None:
    code = """
assert asyncio.run(fetch_1k()) == 200
for act in CHILDREN:
    print(fork(act))
asyncio.run(work_well())
"""
    assert run_script(code, server, tmp_path).split() == [FORKED, FORKED]


def test_a_child_of_a_parent_that_only_offloaded_is_refused(server: Server, tmp_path: Path) -> None:
    code = """
assert asyncio.run(offload()) == 200
for act in CHILDREN:
    print(fork(act))
asyncio.run(work_well())
"""
    assert run_script(code, server, tmp_path).split() == [FORKED, FORKED]


def test_a_grandchild_is_refused_as_well(server: Server, tmp_path: Path) -> None:
    code = """
asyncio.run(work_well())
print(fork(lambda: fork(fetch_in_child)), fork(lambda: fork(offload_in_child)))
asyncio.run(work_well())
"""
    assert run_script(code, server, tmp_path).split() == [FORKED, FORKED]


IN_FLIGHT = """
import offloop

async def start():
    fetches = [offloop.fetch(f"{url}/delay/0.3") for _ in range(20)]
    calls = [offloop.run(time.sleep, 0.3) for _ in range(5)]
    futures = [job.start() for job in fetches + calls]
    while any(job.state == "queued" for job in calls):
        await asyncio.sleep(0.001)
    return futures

async def finish(futures):
    results = await asyncio.wait_for(asyncio.gather(*futures), 10)
    assert [result.status_code for result in results[:20]] == [200] * 20
    assert results[20:] == [None] * 5
    await work_well()
"""


def test_a_fork_inside_a_loop_leaves_the_work_in_flight_alone(
    server: Server, tmp_path: Path
) -> None:
    code = f"""
{IN_FLIGHT}
async def main():
    futures = await start()
    for act in CHILDREN:
        print(fork(act))
    await finish(futures)

asyncio.run(main())
"""
    assert run_script(code, server, tmp_path).split() == [FORKED, FORKED]


def test_a_fork_beside_a_loop_leaves_the_work_in_flight_alone(
    server: Server, tmp_path: Path
) -> None:
    code = f"""
{IN_FLIGHT}
with asyncio.Runner() as runner:
    futures = runner.run(start())
    for act in CHILDREN:
        print(fork(act))
    runner.run(finish(futures))
"""
    assert run_script(code, server, tmp_path).split() == [FORKED, FORKED]


def test_a_fork_beside_a_loop_that_runs_in_another_thread_leaves_it_alone(
    server: Server, tmp_path: Path
) -> None:
    code = f"""
{IN_FLIGHT}
started, forked = threading.Event(), threading.Event()

async def main():
    futures = await start()
    started.set()
    while not forked.is_set():
        await work_well()
    await finish(futures)
    print("well")

thread = threading.Thread(target=lambda: asyncio.run(main()))
thread.start()
started.wait()
for _ in range(20):
    for act in CHILDREN:
        assert fork(act) == "forked"
forked.set()
thread.join()
"""
    assert run_script(code, server, tmp_path).split() == ["well"]


def test_a_fork_in_an_offloaded_call_gives_a_child_that_is_refused(
    server: Server, tmp_path: Path
) -> None:
    code = """
import offloop

async def main():
    for act in CHILDREN:
        print(await offloop.run(fork, act))
    await work_well()

asyncio.run(main())
"""
    assert run_script(code, server, tmp_path).split() == [FORKED, FORKED]


def test_a_child_may_let_go_of_inherited_objects_without_disturbing_the_parent(
    server: Server, tmp_path: Path
) -> None:
    code = f"""
{IN_FLIGHT}
client = offloop.Client(base_url=url)

def let_go():
    futures.clear()
    jobs.clear()
    responses.clear()
    client.close()
    globals().pop("client")
    gc.collect()
    return "gone"

def cancel_all():
    for job in futures + jobs:
        job.cancel()
    return "cancelled"

def look_at_all():
    for job in futures + jobs:
        repr(job), job.done()
    responses[0].content, repr(client)
    return "looked"

async def connect():
    await asyncio.gather(*(client.get("/1k") for _ in range(20)))
    connections = json.loads((await client.get("/stats")).content)["connections"]
    responses = [await client.get("/1k")]
    jobs = [client.get("/delay/0.3") for _ in range(5)] + [offloop.run(time.sleep, 0.3)]
    for job in jobs:
        job.add_done_callback(lambda _: None)
    return responses, jobs, connections

async def still_connected():
    answers = await asyncio.wait_for(asyncio.gather(*(client.get("/1k") for _ in range(10))), 10)
    assert [answer.status_code for answer in answers] == [200] * 10
    await asyncio.gather(*jobs)

with asyncio.Runner() as runner:
    futures = runner.run(start())
    responses, jobs, connections = runner.run(connect())
    for act in (let_go, cancel_all, look_at_all):
        print(fork(act))
    runner.run(still_connected())
    runner.run(finish(futures))
    print(fork(let_go))
    runner.run(work_well())
"""
    said = run_script(code, server, tmp_path).split()
    assert said == ["gone", "cancelled", "looked", "gone"]


def test_a_child_may_let_go_of_inherited_work_at_any_moment(server: Server, tmp_path: Path) -> None:
    code = """
import offloop

async def main():
    client = offloop.Client(base_url=url)

    def let_go():
        nonlocal client
        jobs.clear()
        client = None
        gc.collect()
        return "gone"

    for round in range(50):
        jobs = [client.get("/1k") for _ in range(30)] + [offloop.run(int) for _ in range(30)]
        gathered = asyncio.gather(*jobs)
        for _ in range(round % 5):
            await asyncio.sleep(0)
        said = fork(let_go)
        assert said == "gone", said
        await asyncio.wait_for(gathered, 10)

asyncio.run(main())
print("well")
"""
    assert run_script(code, server, tmp_path).split() == ["well"]


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


MULTIPROCESSING = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

def use(url):
    async def main():
        import offloop
        fetched = (await offloop.fetch(url + "/1k")).status_code
        return fetched + await offloop.run(max, 0, 1)
    return asyncio.run(main())

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[2])
"""

METHODS = [pytest.param(method, id=method) for method in multiprocessing.get_all_start_methods()]


def run_multiprocessing(code: str, method: str, server: Server, folder: Path) -> str:
    code = MULTIPROCESSING.replace("sys.argv[2]", repr(method)) + code
    return run_script(code, server, folder).strip()


@pytest.mark.parametrize("method", METHODS)
def test_processes_started_before_the_first_use_have_all_of_offloop(
    server: Server, tmp_path: Path, method: str
) -> None:
    code = """
    import offloop
    with context.Pool(2) as pool:
        print(pool.map(use, [url, url]))
    asyncio.run(work_well())
"""
    assert run_multiprocessing(code, method, server, tmp_path) == "[201, 201]"


@pytest.mark.parametrize("method", METHODS)
def test_processes_started_after_the_first_use_work_or_are_refused(
    server: Server, tmp_path: Path, method: str
) -> None:
    code = """
    import offloop
    asyncio.run(work_well())
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        try:
            print(pool.submit(use, url).result(10))
        except offloop.ForkedProcessError as error:
            print("forked")
    asyncio.run(work_well())
"""
    expected = FORKED if method == "fork" else "201"
    assert run_multiprocessing(code, method, server, tmp_path) == expected


@pytest.mark.parametrize("method", METHODS)
def test_processes_started_with_work_in_flight_leave_it_alone(
    server: Server, tmp_path: Path, method: str
) -> None:
    code = f"""
    {IN_FLIGHT.strip().replace(chr(10), chr(10) + "    ")}
    async def main():
        futures = await start()
        process = context.Process(target=time.sleep, args=(0.01,))
        process.start()
        process.join(10)
        print(process.exitcode)
        await finish(futures)

    asyncio.run(main())
"""
    assert run_multiprocessing(code, method, server, tmp_path) == "0"


def test_a_child_that_ends_as_python_does_ends_in_time(server: Server, tmp_path: Path) -> None:
    code = f"""
{IN_FLIGHT}
runner = asyncio.Runner()
futures = runner.run(start())
pid = os.fork()
if pid == 0:
    sys.exit(3)
print(ended(pid))
runner.run(finish(futures))
"""
    assert run_script(code, server, tmp_path).split() == ["3"]

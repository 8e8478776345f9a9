"""A process forks: before, after and in the midst of offloop's work.

The child gets results or `ForkedProcessError`, soon; the parent goes on unharmed. Each scenario is
a script in a process of its own, and a child that hangs is killed and fails the scenario.
"""

from __future__ import annotations

from pathlib import Path

from fork_script import FORKED, IN_FLIGHT, run_script

from servers import Server


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

"""`multiprocessing` in all its start methods, beside work in flight."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from fork_script import FORKED, IN_FLIGHT, run_script

from servers import Server

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

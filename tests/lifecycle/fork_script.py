"""How a script that forks is run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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

"""A loop whose thread waits for a processor is not blocked, however long it waits."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the system tells nothing of threads"
)

# The loop's thread takes what a rival leaves of one processor: a three-hundredth, in turns that are
# hundreds of milliseconds apart. The watch's own threads go where they like.
SCRIPT = """
import asyncio, json, os, subprocess, sys, time
import offloop

RIVAL = '''
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
end = time.monotonic() + 5
while time.monotonic() < end:
    pass
'''

async def main():
    loop_waited = 0.0
    with offloop.watch(threshold=0.1, on_stall=lambda stall: None) as health:
        await asyncio.sleep(0.05)
        processor = min(os.sched_getaffinity(0))
        rival = subprocess.Popen([sys.executable, "-c", RIVAL, str(processor)])
        os.sched_setaffinity(0, {processor})
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        while rival.poll() is None:
            began = time.monotonic()
            await asyncio.sleep(0)
            loop_waited = max(loop_waited, time.monotonic() - began)
        await asyncio.sleep(0.05)
    print(json.dumps([loop_waited, [[stall.cause, stall.duration] for stall in health.stalls]]))

asyncio.run(main())
"""


def test_a_loop_that_waits_for_a_processor_is_not_blamed() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    waited, stalls = json.loads(ended.stdout)
    if waited < 0.3:
        pytest.skip("this system did not let it wait")
    assert stalls == []

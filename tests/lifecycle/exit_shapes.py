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

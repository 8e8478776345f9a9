"""`offloop bench`: it compares with what is there, in bounded time, and Ctrl-C leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.once
COMMAND = [sys.executable, "-m", "offloop", "bench"]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=100, check=False
    )


def test_figures_are_those_of_offloop_and_of_what_is_installed():
    done = bench("fetch", "lines", "--seconds", "5", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    assert list(result["cases"]) == ["fetch", "lines"]
    for figures in result["cases"].values():
        assert figures[0]["contender"] == "offloop"
        assert figures[0]["cpu_to_offloop"] == 1
        for figure in figures:
            assert figure["per_second"] > 0
            assert figure["cpu_us"] > 0
            assert figure["rounds"] >= 1
    told = {figure["contender"] for figure in result["cases"]["fetch"]}
    for package in ("aiohttp", "httpx", "httpx2"):
        assert (package in told) != (package in result["missing"])
    assert "urllib in threads" in told
    assert any("written in Python" in text for text in result["remarks"])


def test_the_table_is_for_people_and_names_what_is_missing():
    done = bench("steps", "--seconds", "5")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "calls of a trivial function, one after another" in done.stdout
    assert "asyncio.to_thread" in done.stdout
    assert "note: " in done.stdout


@pytest.mark.parametrize(
    "arguments", [["nothing"], ["--seconds", "0"], ["--seconds", "many"], ["--seconds", "1e9"]]
)
def test_a_wrong_command_line_is_told_in_a_line_or_two(arguments: list[str]):
    done = bench(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert arguments[-1] in done.stderr


def marked(mark: str) -> list[str]:
    """Return the command lines of living processes that have inherited `mark`."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and mark.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_interrupted_it_ends_at_once_and_leaves_no_process():
    mark = f"OFFLOOP_TEST_MARK={uuid.uuid4()}"
    name, _, value = mark.partition("=")
    with subprocess.Popen(
        [*COMMAND, "--seconds", "600"],
        env={**os.environ, name: value},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        limit = time.monotonic() + 60
        while len(marked(mark)) < 3:  # the command, its server, a worker
            assert time.monotonic() < limit, marked(mark)
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - began < 20
    assert "Traceback" not in told
    limit = time.monotonic() + 20
    while left := marked(mark):
        assert time.monotonic() < limit, left
        time.sleep(0.05)

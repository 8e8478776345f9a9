"""Forty blocking programs and forty clean ones: right lines, right causes, and no false blame."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import snippets

try:
    import uvloop
except ImportError:  # Windows, or a Python newer than uvloop
    uvloop = None

RUNNER = Path(__file__).with_name("snippet_runner.py")
LOOPS = [
    "asyncio",
    pytest.param("uvloop", marks=pytest.mark.skipif(uvloop is None, reason="no uvloop here")),
]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux' view of threads")


def run(loop, kind):
    command = [sys.executable, RUNNER, loop, kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def line_of(name):
    lines = Path(snippets.__file__).read_text().splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith(f"async def {name}("))
    return next(at for at in range(start, len(lines)) if lines[at].endswith("# blocks")) + 1


@pytest.mark.parametrize("loop", LOOPS)
def test_blocking_programs_are_named_while_they_block_with_their_cause(loop):
    rows = run(loop, "blocking")
    assert len(rows) == 40
    wrong_line, wrong_cause = [], []
    for row in rows:
        worst = max(row["stalls"], key=lambda stall: stall["duration"], default=None)
        live = worst and worst["named_after"] and worst["named_after"] < worst["elapsed"]
        if not live or worst["line"] != line_of(row["name"]):
            wrong_line.append(row)
        elif worst["cause"] not in snippets.BLOCKING[row["name"]][1]:
            wrong_cause.append(row)
    assert len(wrong_line) <= 1, wrong_line
    assert len(wrong_line) + len(wrong_cause) <= 4, wrong_cause


@pytest.mark.parametrize("loop", LOOPS)
def test_clean_programs_are_not_blamed(loop):
    rows = run(loop, "clean")
    assert len(rows) == 40
    assert [row for row in rows if row["stalls"]] == []

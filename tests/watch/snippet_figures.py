"""Runs the snippets under any Python, and says how many were named right: by line, by cause.

``python tests/watch/snippet_figures.py [PYTHON …]`` prints one row for each Python and kind of
loop. `test_snippets.py` uses the same judgement.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import snippets

HERE = Path(__file__).parent
RUNNER = HERE / "snippet_runner.py"


@dataclass
class Figures:
    """What was not right, and how soon blocks were found."""

    blocking: int = 0
    clean: int = 0
    wrong_line: list = field(default_factory=list)
    wrong_cause: list = field(default_factory=list)
    blamed: list = field(default_factory=list)
    late: list = field(default_factory=list)
    """Seconds beyond the threshold, counted from the last sign of life, when a block was found."""


def run(loop, kind, *, python=sys.executable, timeout=110):
    """What the runner found, one dict for each snippet."""
    path = os.pathsep.join([str(HERE.parent.parent / "python"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [python, RUNNER, loop, kind],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "PYTHONPATH": path} if python != sys.executable else None,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def line_of(name):
    """The line of a snippet that blocks."""
    lines = Path(snippets.__file__).read_text().splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith(f"async def {name}("))
    return next(at for at in range(start, len(lines)) if lines[at].endswith("# blocks")) + 1


def judge_blocking(rows, figures):
    """Count lines and causes: of the longest stall, which has to be named while it lasts."""
    for row in rows:
        figures.blocking += 1
        worst = max(row["stalls"], key=lambda stall: stall["duration"], default=None)
        live = worst and worst["named_after"] and worst["named_after"] < worst["elapsed"]
        if worst:
            figures.late.append(worst["detected_after"] - snippets.THRESHOLD)
        if not live or worst["line"] != line_of(row["name"]):
            figures.wrong_line.append(row)
        elif worst["cause"] not in snippets.BLOCKING[row["name"]][1]:
            figures.wrong_cause.append(row)


def judge_clean(rows, figures):
    """Count those that were blamed."""
    figures.clean += len(rows)
    figures.blamed += [row for row in rows if row["stalls"]]


def main(*pythons):
    """Print the table, and what was wrong."""
    for python in pythons or [sys.executable]:
        command = [python, "-c", "import sys; print(*sys.version_info[:3], sep='.')"]
        version = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        for loop in ("asyncio", "uvloop"):
            figures = Figures()
            judge_blocking(run(loop, "blocking", python=python), figures)
            judge_clean(run(loop, "clean", python=python), figures)
            line = figures.blocking - len(figures.wrong_line)
            cause = line - len(figures.wrong_cause)
            late = sorted(figures.late)
            print(
                f"{version.strip():8} {loop:8} line {line}/{figures.blocking}, "
                f"cause {cause}/{figures.blocking}, false {len(figures.blamed)}/{figures.clean}, "
                f"found after the threshold: median {late[len(late) // 2] * 1e3:.1f} ms, "
                f"longest {late[-1] * 1e3:.1f} ms",
                flush=True,
            )
            for what in ("wrong_line", "wrong_cause", "blamed"):
                for row in getattr(figures, what):
                    print(f"    {what}: {json.dumps(row)}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

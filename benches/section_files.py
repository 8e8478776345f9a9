"""The section `files`: five tasks on files in the page cache, by offloop, aiofiles and io."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

import files_worker
from plan import Plan, Section
from processes import (
    Figures,
    Notes,
    Samples,
    alternate_groups,
    is_installed,
    medians,
    run_worker,
    spread,
)
from tables import Table, count, decimal, percent, times

COLUMNS = ["task", "by", "a second", "offloop's times", "CPU µs each", "lag ms", "spread"]
TITLES = {
    "small": "2,000 files of 4 KiB, gathered",
    "lines": "100,000 lines, async for",
    "large": "512 MiB at once (MiB)",
    "writes": "10,000 writes of 66 bytes",
    "walk": "walk of 50,000 names",
}
NAMES = {
    "offloop": "offloop",
    "offloop.open": "offloop.open",
    "aiofiles": "aiofiles",
    "blocking": "io or os, blocking the loop",
    "to_thread": "os.walk in asyncio.to_thread",
}
OURS = {"lines": "offloop.open", "writes": "offloop.open"}
"""Whose times the ratios are; else offloop's whole operation."""


def files(plan: Plan) -> Section:
    """Measure every task by every contender."""
    notes = Notes()
    seconds = "0.3" if plan.quick else "2"
    with tempfile.TemporaryDirectory() as temporary:
        files_worker.prepare(Path(temporary))
        groups: dict[str, dict[str, Callable[[], Figures]]] = {}
        for task, contenders in files_worker.TASKS.items():
            groups[task] = {
                name: functools.partial(
                    run_worker,
                    "files_worker.py",
                    *(task, name, temporary, seconds),
                    name=NAMES[name],
                    notes=notes,
                )
                for name in contenders
                if name != "aiofiles" or is_installed("aiofiles")
            }
        samples = alternate_groups(groups, plan.rounds, notes)
    if not is_installed("aiofiles"):
        notes.add("aiofiles is not installed and was skipped.")
    title = "files: in the page cache, warm"
    return Section(Table(title, COLUMNS, 2, _rows(samples)), samples, notes)


def _rows(samples: dict[str, Samples]) -> list[list[str]]:
    rows = []
    for task, taken in samples.items():
        ours = medians(taken[OURS.get(task, "offloop")])["rate"]
        scale = files_worker.LARGE_BYTES >> 20 if task == "large" else 1
        for name, rounds in taken.items():
            middle = medians(rounds)
            rows.append(
                [
                    TITLES[task],
                    NAMES[name],
                    count(middle["rate"] * scale),
                    times(ours, middle["rate"]),
                    decimal(middle["cpu_us"] / scale, 2),
                    decimal(middle["lag_ms"], 1),
                    percent(spread(rounds, "rate")),
                ]
            )
    return rows

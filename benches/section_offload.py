"""The section `offload`: a trivial function called in a thread, by offloop and the others."""

from __future__ import annotations

import functools
from collections.abc import Callable

import offload_worker
from plan import Plan, Section, core_argument
from processes import (
    Figures,
    Notes,
    Samples,
    alternate,
    is_installed,
    medians,
    run_worker,
    spread,
)
from tables import Table, count, decimal, percent, times

COLUMNS = ["cores", "calls", "API", "calls/s", "vs offloop", "CPU µs/call", "spread"]
NAMES = {
    "offloop": "offloop",
    "to_thread": "asyncio.to_thread",
    "executor": "run_in_executor",
    "anyio": "anyio.to_thread",
    "future": "bare future, no thread",
    "hop": "bare queue and thread",
}
CASES = {"gathered": "gather of 1,000", "sequential": "one after another"}


def offload(plan: Plan) -> Section:
    """Measure every API with the whole process on one core, and left to the system."""
    notes = Notes()
    apis = list(offload_worker.APIS)
    if not is_installed("anyio"):
        apis.remove("anyio")
        notes.add("anyio is not installed and was skipped.")
    samples: dict[str, Samples] = {}
    placements = {"one": plan.cores.client, "all": None}
    if plan.cores.client is None:
        del placements["one"]
        notes.add("This system has no pinning: the process was left to the system.")
    for placement, core in placements.items():
        arguments = (core_argument(core), "3" if plan.quick else "7")
        contenders: dict[str, Callable[[], Figures]] = {
            api: functools.partial(
                run_worker, "offload_worker.py", api, *arguments, name=NAMES[api], notes=notes
            )
            for api in apis
        }
        samples[placement] = alternate(contenders, plan.rounds, notes, f"offload {placement}")
    title = "offload: a trivial function in a worker thread"
    return Section(Table(title, COLUMNS, 3, _rows(samples)), samples, notes)


def _rows(samples: dict[str, Samples]) -> list[list[str]]:
    rows = []
    for placement, taken in samples.items():
        for case, text in CASES.items():
            rate = f"{case}.rate"
            ours = medians(taken["offloop"])[rate] if "offloop" in taken else None
            for api, rounds in taken.items():
                middle = medians(rounds)
                rows.append(
                    [
                        placement,
                        text,
                        NAMES[api],
                        count(middle[rate]),
                        times(middle[rate], ours),
                        decimal(middle[f"{case}.cpu_us"], 1),
                        percent(spread(rounds, rate)),
                    ]
                )
    return rows

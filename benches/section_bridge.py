"""The section `bridge`: what a Job costs that does nothing, against what asyncio has itself."""

from __future__ import annotations

import functools
from collections.abc import Callable

from plan import Plan, Section, core_argument
from processes import Figures, Notes, Samples, alternate, is_installed, medians, run_worker
from tables import DASH, Table, count, decimal, times

COLUMNS = [
    "loop",
    "case",
    "unit",
    "offloop",
    "asyncio",
    "offloop/asyncio",
    "CPU µs offloop",
    "CPU µs asyncio",
]
CASES = {
    "sequential": ("one after another, ready at once", "per s", "rate"),
    "gather": ("gather of 1,000, ready at once", "per s", "rate"),
    "sleep": ("gather of 1,000 sleeps of 1 ms", "ms", "wall_ms"),
}
SIDES = {
    "offloop": "Jobs",
    "future": "against bare futures",
    "task": "against asyncio.sleep, a Task each",
}


def bridge(plan: Plan) -> Section:
    """Measure speed, each side in turns within a process, and memory, a process for each side."""
    notes = Notes()
    loops = ["asyncio"]
    if is_installed("uvloop"):
        loops.append("uvloop")
    else:
        notes.add("uvloop is not installed and was skipped.")
    core = core_argument(plan.cores.client)
    contenders: dict[str, Callable[[], Figures]] = {}
    for loop in loops:
        speed = ("speed", loop, core, "3" if plan.quick else "7")
        contenders[f"{loop} speed"] = _worker(speed, notes)
        for side in SIDES:
            contenders[f"{loop} {side}"] = _worker(("memory", side, loop, core), notes)
    samples = alternate(contenders, plan.rounds, notes, "bridge")
    title = "bridge: Jobs that do nothing against asyncio's own futures and sleeps"
    rows = [row for loop in loops for row in _rows(loop, samples)]
    return Section(Table(title, COLUMNS, 3, rows), {"all": samples}, notes)


def _worker(arguments: tuple[str, ...], notes: Notes) -> Callable[[], Figures]:
    name = "bridge " + " ".join(arguments[:2])
    return functools.partial(run_worker, "bridge_worker.py", *arguments, name=name, notes=notes)


def _rows(loop: str, samples: Samples) -> list[list[str]]:
    rows = []
    if f"{loop} speed" in samples:
        middle = medians(samples[f"{loop} speed"])
        for case, (text, unit, figure) in CASES.items():
            ours, theirs = middle[f"{case}.offloop.{figure}"], middle[f"{case}.asyncio.{figure}"]
            digits: Callable[[float | None], str] = count if figure == "rate" else decimal
            cpu = [decimal(middle[f"{case}.{side}.cpu_us"]) for side in ("offloop", "asyncio")]
            both = [digits(ours), digits(theirs)]
            rows.append([loop, text, unit, *both, times(ours, theirs), *cpu])
    grown = {
        side: medians(samples[f"{loop} {side}"])["bytes"]
        for side in SIDES
        if f"{loop} {side}" in samples
    }
    for side, text in SIDES.items():
        if side != "offloop" and side in grown and "offloop" in grown:
            ours, theirs = grown["offloop"], grown[side]
            case = f"memory of 10,000 in flight, {text}"
            both = [count(ours), count(theirs)]
            rows.append([loop, case, "bytes each", *both, times(ours, theirs), DASH, DASH])
    return rows

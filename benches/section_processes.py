"""The section `processes`: small and large calls in a worker process, or in an interpreter."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable

from plan import Plan, Section
from processes import Figures, Notes, alternate, is_installed, medians, run_worker, spread
from tables import Table, decimal, percent

COLUMNS = [
    "API",
    "first call ms",
    "64 B µs",
    "ratio",
    "CPU µs",
    "gathered µs",
    "64 MiB there ms",
    "ratio",
    "CPU ms",
    "64 MiB back ms",
    "spread",
]
NAMES = {
    "offloop": "offloop, process",
    "executor": "ProcessPoolExecutor",
    "pebble": "pebble.ProcessPool",
    "interpreter": "offloop, interpreter",
    "bare-interpreter": "InterpreterPoolExecutor",
}
YARDSTICK = {"offloop": "executor", "interpreter": "bare-interpreter"}
"""Whom a row's ratio compares with: time of the row by time of the other."""


def processes(plan: Plan) -> Section:
    """Measure every API, left to the system: parent and worker want a core each."""
    notes = Notes()
    apis = ["offloop", "executor", "pebble"]
    if not is_installed("pebble"):
        apis.remove("pebble")
        notes.add("pebble is not installed and was skipped.")
    if importlib.util.find_spec("concurrent.interpreters"):
        apis += ["interpreter", "bare-interpreter"]
    else:
        notes.add("This Python has no interpreters (3.14 and newer have).")
    contenders: dict[str, Callable[[], Figures]] = {
        api: functools.partial(
            run_worker,
            "process_worker.py",
            api,
            "3" if plan.quick else "7",
            name=NAMES[api],
            notes=notes,
        )
        for api in apis
    }
    samples = alternate(contenders, plan.rounds, notes, "processes")
    rows = []
    middles = {api: medians(rounds) for api, rounds in samples.items()}
    for api, middle in middles.items():
        other = middles.get(YARDSTICK.get(api, ""))
        rows.append(
            [
                NAMES[api],
                decimal(middle["first.ms"], 1),
                decimal(middle["small.us"], 1),
                _ratio(middle, other, "small.us"),
                decimal(middle["small.cpu_us"], 1),
                decimal(middle["gathered.us"], 1),
                decimal(middle["large.ms"], 1),
                _ratio(middle, other, "large.ms"),
                decimal(middle["large.cpu_ms"], 1),
                decimal(middle["result.ms"], 1),
                percent(spread(samples[api], "small.us")),
            ]
        )
    title = "processes: one call in one worker"
    return Section(Table(title, COLUMNS, 1, rows), {"processes": samples}, notes)


def _ratio(middle: Figures, other: Figures | None, figure: str) -> str:
    return "" if other is None else f"{middle[figure] / other[figure]:.2f}"

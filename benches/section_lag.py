"""The section `lag`: how late the loop is while threads compute in Python."""

from __future__ import annotations

import functools

from plan import Plan, Section
from processes import Notes, Samples, alternate, medians, run_worker, spread
from tables import Table, decimal, percent

COLUMNS = ["threads", "API", "p50 ms", "p90 ms", "p99 ms", "longest ms", "counted M/s", "spread"]
NAMES = {
    "offloop": "offloop",
    "keep": "offloop, OFFLOOP_SWITCH_INTERVAL=keep",
    "to_thread": "asyncio.to_thread",
}
THREADS = (1, 8)


def lag(plan: Plan) -> Section:
    """Measure every API beside one computing thread and beside eight."""
    notes = Notes()
    seconds = "1" if plan.quick else "6"
    samples: dict[str, Samples] = {}
    rows = []
    for threads in THREADS:
        contenders = {
            api: functools.partial(
                run_worker, "lag_worker.py", api, str(threads), seconds, name=name, notes=notes
            )
            for api, name in NAMES.items()
        }
        taken = alternate(contenders, plan.rounds, notes, f"lag beside {threads}")
        samples[str(threads)] = taken
        for api, rounds in taken.items():
            middle = medians(rounds)
            figures = (middle[key] for key in ("p50_ms", "p90_ms", "p99_ms", "longest_ms"))
            rows.append(
                [
                    str(threads),
                    NAMES[api],
                    *(decimal(figure, 1) for figure in figures),
                    decimal(middle["counted"], 1),
                    percent(spread(rounds, "p99_ms")),
                ]
            )
    title = "lag: how late the loop is beside threads that compute in Python"
    return Section(Table(title, COLUMNS, 2, rows), samples, notes)

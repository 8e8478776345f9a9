"""The section `batch`: many URLs through `fetch_all`, beside `gather` and reqwest, and its memory.

What is asked for is a number of URLs, not seconds: `fetch_all` is begun anew in each process, so
start and end are in the figures of all contenders alike.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import nginx
from plan import Plan, Section, core_argument
from processes import (
    Figures,
    Notes,
    Samples,
    alternate_groups,
    medians,
    run_reqwest_loop,
    run_worker,
    spread,
)
from section_fetch import RUST
from tables import Table, count, decimal, percent, times

IN_FLIGHT = 256
COLUMNS = [
    "URLs",
    "by",
    "URLs/s",
    "CPU µs/URL",
    "vs gather",
    "vs reqwest",
    "lag p50 ms",
    "lag p99 ms",
    "peak RSS MiB",
    "spread of CPU",
]
WAYS = ("fetch_all", "gather")


def batch(plan: Plan) -> Section:
    """Measure the cost of a URL in alternated rounds, and the memory by their number."""
    notes = Notes()
    few, most = (2_000, 20_000) if plan.quick else (10_000, 1_000_000)
    middle = 5_000 if plan.quick else 100_000
    with nginx.serve(plan.cores.server) as server:
        url = f"{server.http}/1k"
        contenders: dict[str, Callable[[], Figures]] = {
            way: functools.partial(_run, plan, way, url, middle, notes) for way in WAYS
        }
        if plan.reqwest_loop.exists():
            contenders[RUST] = functools.partial(
                run_reqwest_loop, plan.reqwest_loop, url, IN_FLIGHT, middle, plan.cores.client
            )
        else:
            notes.add(f"{RUST} is not built and was skipped: `make bench` builds it.")
        samples = alternate_groups({f"{middle:,}": contenders}, plan.rounds, notes)
        for number in (few, most):
            alone = {"fetch_all": functools.partial(_run, plan, "fetch_all", url, number, notes)}
            samples |= alternate_groups({f"{number:,}": alone}, 1, notes)
    title = f"batch: GETs of 1 KiB from nginx on loopback, {IN_FLIGHT} in flight"
    return Section(Table(title, COLUMNS, 2, _rows(samples)), samples, notes)


def _run(plan: Plan, way: str, url: str, number: int, notes: Notes) -> Figures:
    core = core_argument(plan.cores.client)
    arguments = (way, url, str(number), str(IN_FLIGHT), core)
    return run_worker("batch_worker.py", *arguments, name=way, notes=notes, timeout=240)


def _rows(samples: dict[str, Samples]) -> list[list[str]]:
    rows = []
    for label, contenders in samples.items():
        middle = {name: medians(taken) for name, taken in contenders.items()}
        base = {name: middle[name]["cpu_us"] for name in ("gather", RUST) if name in middle}
        for name, figures in middle.items():
            rows.append(
                [
                    label,
                    name,
                    count(figures["rate"]),
                    decimal(figures["cpu_us"], 1),
                    times(figures["cpu_us"], base.get("gather")),
                    times(figures["cpu_us"], base.get(RUST)),
                    decimal(figures.get("lag_p50_ms")),
                    decimal(figures.get("lag_p99_ms")),
                    decimal(figures["rss_mib"], 1),
                    percent(spread(contenders[name], "cpu_us")),
                ]
            )
    return rows

"""The sections `fetch` and `spin`: GETs of 1 KiB from nginx on loopback by each client."""

from __future__ import annotations

import functools
from collections.abc import Callable

import fetch_worker
import nginx
from plan import Plan, Section, core_argument
from processes import (
    Figures,
    Notes,
    Samples,
    alternate,
    is_installed,
    medians,
    run_reqwest_loop,
    run_worker,
    spread,
)
from tables import Table, count, decimal, percent, times

RUST = "reqwest (Rust)"
FILE = "/1k"
COLUMNS = [
    "in flight",
    "client",
    "requests/s",
    "vs offloop",
    "CPU µs/request",
    "lag p50 ms",
    "lag p99 ms",
    "peak RSS MiB",
    "spread",
]


def fetch(plan: Plan) -> Section:
    """Measure the clients alone in their process, and the Rust loop beside them."""
    seconds = 0.5 if plan.quick else 1.5
    return _measure(plan, "fetch", (1, 64, 512), seconds, spin=False)


def spin(plan: Plan) -> Section:
    """Measure the clients while a second thread of their process computes in Python."""
    seconds = 1.0 if plan.quick else 2.5
    return _measure(plan, "spin", (64, 512), seconds, spin=True)


def _measure(
    plan: Plan, label: str, loads: tuple[int, ...], seconds: float, *, spin: bool
) -> Section:
    notes = Notes()
    clients = [name for name in fetch_worker.CLIENTS if _present(name, notes)]
    samples: dict[str, Samples] = {}
    with nginx.serve(plan.cores.server) as base:
        for in_flight in loads:
            contenders: dict[str, Callable[[], Figures]] = {
                client: functools.partial(
                    _run_client, plan, client, base + FILE, in_flight, seconds, spin, notes
                )
                for client in clients
            }
            if not spin and plan.reqwest_loop.exists():
                contenders[RUST] = _RustLoop(plan, base + FILE, in_flight, seconds)
            name = f"{label} {in_flight}"
            samples[str(in_flight)] = alternate(contenders, plan.rounds, notes, name)
    if not spin and not plan.reqwest_loop.exists():
        notes.add(f"{RUST} is not built and was skipped: `make bench` builds it.")
    what = "beside a spinning Python thread" if spin else "alone"
    title = f"{label}: GET of 1 KiB from nginx on loopback, {what}"
    return Section(Table(title, COLUMNS, 2, _rows(samples)), samples, notes)


def _present(client: str, notes: Notes) -> bool:
    present = is_installed(client)
    if not present:
        notes.add(f"{client} is not installed and was skipped.")
    return present


def _run_client(
    plan: Plan, client: str, url: str, in_flight: int, seconds: float, spin: bool, notes: Notes
) -> Figures:
    return run_worker(
        "fetch_worker.py",
        client,
        url,
        str(in_flight),
        str(seconds),
        core_argument(plan.cores.client),
        core_argument(plan.cores.spinner if spin else None),
        name=client,
        notes=notes,
    )


class _RustLoop:
    """The Rust loop, which takes a number of requests: as many as it did last time in a while."""

    def __init__(self, plan: Plan, url: str, in_flight: int, seconds: float) -> None:
        self.plan, self.url, self.in_flight, self.seconds = plan, url, in_flight, seconds
        self.rate = 0.0

    def __call__(self) -> Figures:
        if not self.rate:
            self.rate = self._run(2_000 + 8 * self.in_flight)["rate"]
        figures = self._run(int(self.rate * self.seconds))
        self.rate = figures["rate"]
        return figures

    def _run(self, requests: int) -> Figures:
        return run_reqwest_loop(
            self.plan.reqwest_loop, self.url, self.in_flight, requests, self.plan.cores.client
        )


def _rows(samples: dict[str, Samples]) -> list[list[str]]:
    rows = []
    for in_flight, taken in samples.items():
        ours = medians(taken["offloop"])["rate"] if "offloop" in taken else None
        for client, rounds in taken.items():
            middle = medians(rounds)
            rows.append(
                [
                    in_flight,
                    client,
                    count(middle["rate"]),
                    times(middle["rate"], ours),
                    decimal(middle["cpu_us"], 1),
                    decimal(middle.get("lag_p50_ms")),
                    decimal(middle.get("lag_p99_ms")),
                    decimal(middle["rss_mib"], 1),
                    percent(spread(rounds, "rate")),
                ]
            )
    return rows

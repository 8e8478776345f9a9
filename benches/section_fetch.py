"""The sections `fetch` and `spin`: GETs from nginx on loopback by each client.

A case is one kind of load: a body, a protocol and a number in flight. All cases take part in one
alternated run, and within a case the clients follow one another.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import clients
import nginx
from plan import Plan, Section, core_argument
from processes import (
    Figures,
    Notes,
    Samples,
    alternate_groups,
    is_installed,
    medians,
    run_reqwest_loop,
    run_worker,
    spread,
)
from tables import Table, count, decimal, percent, times

RUST = "reqwest (Rust)"
COLUMNS = [
    "GET of",
    "client",
    "requests/s",
    "vs offloop",
    "CPU µs/request",
    "lag p50 ms",
    "lag p99 ms",
    "peak RSS MiB",
    "open",
    "spread",
]


@dataclass(frozen=True)
class Case:
    """One load: which file, how it travels, how many requests at once, and for how long."""

    body: str
    file: str
    in_flight: int
    protocol: str = "http"
    policy: bool = False
    stretch: float = 1.0
    """How much longer the window is, for loads that make few requests in a second."""

    @property
    def label(self) -> str:
        """Say it as the table does."""
        by = {"http": "", "https": " by https", "http2": " by HTTP/2"}[self.protocol]
        return f"{self.body}{by}, {self.in_flight} in flight"

    def base(self, server: nginx.Server) -> str:
        """Give the part of the server that speaks its protocol."""
        bases = {"http": server.http, "https": server.https, "http2": server.http2}
        return bases[self.protocol]


FETCHES = (
    Case("1 KiB", "1k", 1),
    Case("1 KiB", "1k", 64, policy=True),
    Case("1 KiB", "1k", 512),
    Case("100 KiB", "100k", 64),
    Case("10 MiB", "10m", 8, stretch=2),
    Case("1 KiB", "1k", 64, "https"),
    Case("1 KiB", "1k", 64, "http2"),
)
SPINS = (Case("1 KiB", "1k", 64), Case("1 KiB", "1k", 512))


def fetch(plan: Plan) -> Section:
    """Measure the clients alone in their process, and the Rust loop beside them."""
    title = "fetch: GETs from nginx on loopback, alone"
    return _measure(plan, FETCHES, title, 0.5 if plan.quick else 1.5, spin=False)


def spin(plan: Plan) -> Section:
    """Measure the clients while a second thread of their process computes in Python."""
    title = "spin: GETs from nginx on loopback, beside a spinning Python thread"
    return _measure(plan, SPINS, title, 1.0 if plan.quick else 2.5, spin=True)


def _measure(
    plan: Plan, cases: Sequence[Case], title: str, seconds: float, *, spin: bool
) -> Section:
    notes = Notes()
    wanted = [name for name in clients.CLIENTS if not plan.clients or name in plan.clients]
    installed = [name for name in wanted if _present(name, notes)]
    cases = [case for case in cases if plan.wants(case.label)]
    with nginx.serve(plan.cores.server) as server:
        if server.authority is None and any(case.protocol != "http" for case in cases):
            notes.add("trustme is not installed: what needs TLS was skipped.")
        groups: dict[str, dict[str, Callable[[], Figures]]] = {}
        for case in cases:
            contenders: dict[str, Callable[[], Figures]] = {
                name: functools.partial(_run_client, plan, case, server, name, seconds, spin, notes)
                for name in _able(case, server, installed, notes)
            }
            if not spin and case.protocol == "http" and plan.reqwest_loop.exists():
                contenders[RUST] = _RustLoop(plan, case, server, seconds)
            groups[case.label] = contenders
        samples = alternate_groups(groups, plan.rounds, notes)
    if not spin and not plan.reqwest_loop.exists():
        notes.add(f"{RUST} is not built and was skipped: `make bench` builds it.")
    return Section(Table(title, COLUMNS, 2, _rows(samples)), samples, notes)


def _present(client: str, notes: Notes) -> bool:
    present = is_installed(client)
    if not present:
        notes.add(f"{client} is not installed and was skipped.")
    return present


def _able(case: Case, server: nginx.Server, installed: Sequence[str], notes: Notes) -> list[str]:
    """Name the clients that can take part in a case."""
    if case.protocol != "http" and server.authority is None:
        return []
    able = list(installed)
    if case.protocol == "http2":
        able = [name for name in able if name in clients.HTTP2]
        if "httpx" in able and not is_installed("h2"):
            able.remove("httpx")
            notes.add("h2 is not installed: httpx was skipped where HTTP/2 is spoken.")
    if case.policy and "offloop" in able:
        able.insert(able.index("offloop") + 1, clients.POLICY)
    return able


def _run_client(
    plan: Plan,
    case: Case,
    server: nginx.Server,
    client: str,
    seconds: float,
    spin: bool,
    notes: Notes,
) -> Figures:
    return run_worker(
        "fetch_worker.py",
        client,
        f"{case.base(server)}/{case.file}",
        "HTTP/2" if case.protocol == "http2" else "HTTP/1.1",
        "-" if case.protocol == "http" else str(server.authority),
        str(case.in_flight),
        str(seconds * case.stretch),
        core_argument(plan.cores.client),
        core_argument(plan.cores.spinner if spin else None),
        name=client,
        notes=notes,
    )


class _RustLoop:
    """The Rust loop, which takes a number of requests: as many as it did last time in a while."""

    def __init__(self, plan: Plan, case: Case, server: nginx.Server, seconds: float) -> None:
        self.plan, self.case, self.url = plan, case, f"{case.base(server)}/{case.file}"
        self.seconds = seconds * case.stretch
        self.rate = 0.0

    def __call__(self) -> Figures:
        if not self.rate:
            # Some 2,000 requests, but not more than a few hundred MiB.
            few = min(2_000, 400 * 1024 * 1024 // nginx.SIZES[self.case.file])
            self.rate = self._run(few + 8 * self.case.in_flight)["rate"]
        figures = self._run(int(self.rate * self.seconds))
        self.rate = figures["rate"]
        return figures

    def _run(self, requests: int) -> Figures:
        core = self.plan.cores.client
        return run_reqwest_loop(
            self.plan.reqwest_loop, self.url, self.case.in_flight, requests, core
        )


def _rows(samples: dict[str, Samples]) -> list[list[str]]:
    rows = []
    for label, taken in samples.items():
        ours = medians(taken["offloop"])["rate"] if "offloop" in taken else None
        for client, rounds in taken.items():
            middle = medians(rounds)
            rows.append(
                [
                    label,
                    client,
                    count(middle["rate"]),
                    times(middle["rate"], ours),
                    decimal(middle["cpu_us"], 1),
                    decimal(middle.get("lag_p50_ms")),
                    decimal(middle.get("lag_p99_ms")),
                    decimal(middle["rss_mib"], 1),
                    decimal(middle.get("connections"), 0),
                    percent(spread(rounds, "rate")),
                ]
            )
    return rows

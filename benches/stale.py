"""The section `stale`: how many GETs fail visibly when the server closes kept-alive connections.

usage: stale.py [CLIENT ...]

As a program it makes one round and prints the table; `run.py --section stale` makes several and
writes them down.
"""

from __future__ import annotations

import contextlib
import functools
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import clients
import machine
from plan import Plan, Section, core_argument
from processes import Figures, Notes, alternate, is_installed, medians, run_worker
from tables import Table, count, decimal

SERVER = Path(__file__).resolve().parent / "stale_server.py"
IN_FLIGHT = 64
REQUESTS = 20_000
LONGEST = 300.0
"""Seconds a client gets for its requests; the slowest need a minute."""
COLUMNS = [
    "client",
    "failed with",
    "requests",
    "failed",
    "in 10,000",
    "requests/s",
    "CPU µs/request",
    "opened",
    "closed",
    "late",
]


def stale(plan: Plan) -> Section:
    """Measure every client that is installed."""
    return measured(plan, list(clients.CLIENTS))


def measured(plan: Plan, names: Sequence[str]) -> Section:
    """Measure these clients, each against a fresh server."""
    notes = Notes()
    requests = REQUESTS // 10 if plan.quick else REQUESTS
    contenders: dict[str, Callable[[], Figures]] = {}
    for name in names:
        if is_installed(name):
            contenders[name] = functools.partial(_run, plan, name, requests, notes)
        else:
            notes.add(f"{name} is not installed and was skipped.")
    taken = alternate(contenders, plan.rounds, notes, "stale")
    title = f"stale: {requests:,} GETs, {IN_FLIGHT} in flight, from a server that closes at random"
    rows = [_row(name, rounds) for name, rounds in taken.items()]
    return Section(Table(title, COLUMNS, 2, rows), {"all": taken}, notes)


def _run(plan: Plan, name: str, requests: int, notes: Notes) -> Figures:
    with _server(core_argument(plan.cores.server)) as (url, counted):
        figures = run_worker(
            "stale_worker.py",
            name,
            url,
            str(IN_FLIGHT),
            str(requests),
            core_argument(plan.cores.client),
            name=name,
            notes=notes,
            timeout=LONGEST,
        )
    return {**figures, **counted}


@contextlib.contextmanager
def _server(core: str) -> Iterator[tuple[str, Figures]]:
    """Run the server; gives its URL, and what it counted, which is filled in at its end."""
    counted: Figures = {}
    command = [sys.executable, str(SERVER), core]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            yield f"http://127.0.0.1:{int(server.stdout.readline())}/", counted
            output, _ = server.communicate("", timeout=10)
            counted.update(json.loads(output))
        finally:
            server.kill()


def _row(name: str, rounds: list[Figures]) -> list[str]:
    """Write one client's row; what is counted is added up over the rounds."""
    total: Counter[str] = Counter()
    for figures in rounds:
        total.update({figure: int(value) for figure, value in figures.items()})
    middle = medians(rounds)
    kinds = {
        figure.removeprefix("error."): number
        for figure, number in total.most_common()
        if figure.startswith("error.")
    }
    return [
        name,
        ", ".join(f"{number:,} {kind}" for kind, number in kinds.items()),
        f"{total['requests']:,}",
        f"{total['failed']:,}",
        decimal(total["failed"] / total["requests"] * 10_000, 1),
        count(middle["rate"]),
        decimal(middle["cpu_us"], 1),
        f"{total['connections']:,}",
        f"{total['closes']:,}",
        f"{total['late']:,}",
    ]


if __name__ == "__main__":
    alone = Plan(rounds=1, quick=False, cores=machine.Cores.of_this_machine())
    section = measured(alone, sys.argv[1:] or list(clients.CLIENTS))
    section.table.show()

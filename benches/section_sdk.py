"""The section `sdk`: what a streamed answer costs an SDK built on httpx2, with and without us."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

from plan import Plan, Section, core_argument
from processes import Notes, Samples, alternate, is_installed, medians, run_worker
from tables import Table, count, decimal

COLUMNS = ["reader", "answer", "memory µs", "httpx2 µs", "offloop µs", "of httpx2", "net of reader"]
CASES = {"one": "1 event", "hundred": "100 events", "paced": "100 events, 2 ms apart"}
TRANSPORTS = ("memory", "httpx2", "offloop")


def sdk(plan: Plan) -> Section:
    """Measure the CPU of a request by reader and transport, the client on one core."""
    notes = Notes()
    readers = ["openai", "anthropic", "plain"]
    for name in readers[:2]:
        if not is_installed(name):
            readers.remove(name)
            notes.add(f"{name} is not installed and was skipped.")
    samples: dict[str, Samples] = {}
    command = [sys.executable, str(Path(__file__).parent / "sse_server.py")]
    command.append(core_argument(plan.cores.server))
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            port = server.stdout.readline().strip() if server.stdout else ""
            requests = "16" if plan.quick else "80"
            arguments = (port, core_argument(plan.cores.client), requests)
            for reader in readers:
                contenders = {
                    transport: functools.partial(
                        run_worker,
                        "sdk_worker.py",
                        reader,
                        transport,
                        *arguments,
                        name=f"{reader} on {transport}",
                        notes=notes,
                    )
                    for transport in TRANSPORTS
                }
                samples[reader] = alternate(contenders, plan.rounds, notes, f"sdk {reader}")
        finally:
            server.communicate()
    title = "sdk: CPU of one streamed answer, 8 at once; memory is the reader without a network"
    return Section(Table(title, COLUMNS, 2, _rows(samples)), samples, notes)


def _rows(samples: dict[str, Samples]) -> list[list[str]]:
    rows = []
    for reader, taken in samples.items():
        middle = {transport: medians(rounds) for transport, rounds in taken.items()}
        if set(middle) != set(TRANSPORTS):
            continue
        for case, text in CASES.items():
            floor, theirs, ours = (middle[name][f"{case}.cpu_us"] for name in TRANSPORTS)
            net = (ours - floor) / (theirs - floor) if theirs > floor else float("nan")
            figures = [count(figure) for figure in (floor, theirs, ours)]
            rows.append([reader, text, *figures, decimal(ours / theirs, 2), decimal(net, 2)])
    return rows

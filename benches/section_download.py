"""The section `download`: a file from nginx to disk, beside curl and aria2.

Whole programs are measured, and each writes to the same folder; what offloop needs without the
start of Python stands beside it. On an unlimited server the question is what a byte costs; on one
that limits each connection, what four connections bring.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nginx
from plan import Plan, Section, core_argument
from processes import Figures, Notes, Samples, alternate_groups, medians
from tables import Table, decimal, times

WORKER = Path(__file__).with_name("download_worker.py")
COLUMNS = [
    "file",
    "program",
    "seconds",
    "vs first",
    "without start",
    "vs first",
    "CPU s",
    "vs first",
    "peak RSS MiB",
]


def download(plan: Plan) -> Section:
    """Measure single and several connections, beside curl and aria2 where they are installed."""
    notes = Notes()
    large, slow = (64, 16) if plan.quick else (512, 64)
    with nginx.serve(plan.cores.server) as server, tempfile.TemporaryDirectory() as place:
        _fill(server.files / "large", large)
        _fill(server.files / "limited", slow)
        run = functools.partial(_run, Path(place))
        single: dict[str, Callable[[], Figures]] = {}
        if shutil.which("curl"):
            single["curl"] = functools.partial(run, _curl, f"{server.http}/large")
        else:
            notes.add("curl is not installed and was skipped.")
        single["offloop"] = functools.partial(run, _offloop(plan, 1), f"{server.http}/large")
        limited: dict[str, Callable[[], Figures]] = {
            "offloop, 1 connection": functools.partial(
                run, _offloop(plan, 1), f"{server.http}/slow/limited"
            ),
            "offloop, 4 connections": functools.partial(
                run, _offloop(plan, 4), f"{server.http}/slow/limited"
            ),
        }
        if shutil.which("aria2c"):
            limited["aria2c -x4"] = functools.partial(run, _aria2, f"{server.http}/slow/limited")
        else:
            notes.add("aria2 is not installed and was skipped.")
        groups = {f"{large} MiB": single, f"{slow} MiB, 8 MiB/s per connection": limited}
        run(_offloop(plan, 1), f"{server.http}/1k")  # the first start compiles
        samples = alternate_groups(groups, plan.rounds, notes)
    title = "download: from nginx on loopback to disk"
    return Section(Table(title, COLUMNS, 2, _rows(samples)), samples, notes)


Command = Callable[[str, Path], list[str]]


def _curl(url: str, target: Path) -> list[str]:
    return ["curl", "--silent", "--fail", "--output", str(target), url]


def _aria2(url: str, target: Path) -> list[str]:
    shape = ["-q", "-x4", "-s4", "-k1M", "--file-allocation=none"]
    return ["aria2c", *shape, "-d", str(target.parent), "-o", target.name, url]


def _offloop(plan: Plan, connections: int) -> Command:
    def command(url: str, target: Path) -> list[str]:
        core = core_argument(plan.cores.client)
        return [sys.executable, str(WORKER), core, url, str(target), str(connections)]

    return command


def _run(place: Path, command: Command, url: str) -> Figures:
    """Run one program to its end; gives what it took, and checks that the file is there."""
    target = place / "file"
    target.unlink(missing_ok=True)
    began = time.perf_counter()
    process = subprocess.Popen(
        command(url, target), stdout=subprocess.PIPE, env=_environment(place)
    )
    told = process.stdout.read() if process.stdout else b""
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0 or not target.exists():
        raise RuntimeError(f"{process.args!r} failed")
    own: Figures = json.loads(told) if told else {}
    return _figures(seconds, used, own)


def _environment(place: Path) -> dict[str, str]:
    """Have Python keep its bytecode, as it does for what is installed."""
    names = {name: it for name, it in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return names | {"PYTHONPYCACHEPREFIX": str(place / "bytecode")}


def _figures(seconds: float, used: resource.struct_rusage, own: Figures) -> Figures:
    """Take the size from the program where it tells it: wait4 counts that of the fork before."""
    cpu = used.ru_utime + used.ru_stime
    figures = {"seconds": seconds, "inside": own.get("seconds", seconds), "cpu": cpu}
    return figures | {"rss": own["rss"]} if own else figures


def _fill(path: Path, mebibytes: int) -> None:
    block = os.urandom(1024 * 1024)
    with path.open("wb") as file:
        for _ in range(mebibytes):
            file.write(block)


def _rows(samples: dict[str, Samples]) -> list[list[str]]:
    rows = []
    for label, contenders in samples.items():
        middle = {name: medians(taken) for name, taken in contenders.items()}
        first = next(iter(middle.values()))
        for name, figures in middle.items():
            rows.append(
                [
                    label,
                    name,
                    decimal(figures["seconds"], 2),
                    times(figures["seconds"], first["seconds"]),
                    decimal(figures["inside"], 2),
                    times(figures["inside"], first["inside"]),
                    decimal(figures["cpu"], 2),
                    times(figures["cpu"], first["cpu"]),
                    decimal(figures.get("rss"), 0),
                ]
            )
    return rows

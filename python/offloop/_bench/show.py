"""Takes turns between the contenders, within a time that was given, and tells how it went."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field

from offloop._bench.contest import CASES, NEEDS
from offloop._bench.server import serving
from offloop.demo.table import draw

ROUNDS = 3
START = 0.5
"""Seconds that a process takes to start and to end; a guess, for sharing out the time."""
SHORTEST = 0.15
"""Seconds of a window at the least."""
PATIENCE = 30.0
"""Seconds after which a worker is given up, beyond those of its window."""
LOADED = 0.5
"""Load for each processor from which the figures are said to be doubtful."""


@dataclass
class Figure:
    """What one contender did in one case: medians over the rounds."""

    contender: str
    version: str
    per_second: float
    cpu_us: float
    cpu_to_offloop: float
    spread: float
    rounds: int


@dataclass
class Result:
    """All figures, by case, and what has to be known to read them."""

    machine: dict[str, str | float]
    window_seconds: float
    cases: dict[str, list[Figure]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def run(chosen: list[str], seconds: float, *, as_json: bool) -> bool:
    """Measure the cases `chosen` in about so many seconds; says whether all contenders ran."""
    result = measured(chosen, seconds)
    if as_json:
        print(json.dumps(asdict(result), indent=1, ensure_ascii=False))
    else:
        show(result)
    return not result.failed


def measured(chosen: list[str], seconds: float) -> Result:
    """Measure in rounds, in each of which every contender has one window."""
    packages = sorted({*NEEDS.values()})
    versions = {name: version for name in packages if (version := _version(name))}
    turns = [
        (case, contender)
        for case in chosen
        for contender in CASES[case].contenders
        if contender not in NEEDS or NEEDS[contender] in versions
    ]
    window = max(SHORTEST, seconds / (len(turns) * ROUNDS) - START)
    result = Result(_machine(), round(window, 3))
    result.missing = [name for name in packages if name not in versions]
    samples: dict[tuple[str, str], list[dict[str, float]]] = {turn: [] for turn in turns}
    end = time.monotonic() + seconds
    with serving() as url:
        for number in range(ROUNDS):
            for turn in turns:
                if (number and time.monotonic() > end) or " ".join(turn) in result.failed:
                    continue
                _progress(f"{number + 1}/{ROUNDS} {turn[0]}: {turn[1]}")
                try:
                    samples[turn].append(_sample(*turn, window, url))
                except ChildProcessError as error:
                    result.failed[" ".join(turn)] = str(error)
    _progress("")
    for case in chosen:
        own = {turn[1]: taken for turn, taken in samples.items() if turn[0] == case and taken}
        result.cases[case] = _figures(own, versions)
    _remark(result)
    return result


def _sample(case: str, contender: str, window: float, url: str) -> dict[str, float]:
    command = [sys.executable, "-m", "offloop._bench.worker", case, contender, str(window), url]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=window + PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        message = f"gave no figure within {window + PATIENCE:.0f} s"
        raise ChildProcessError(message) from None
    if done.returncode:
        # The last line of a traceback says what it was.
        last = done.stderr.strip().rpartition("\n")[2]
        raise ChildProcessError(last or f"exit {done.returncode}")
    sample: dict[str, float] = json.loads(done.stdout)
    return sample


def _figures(samples: dict[str, list[dict[str, float]]], versions: dict[str, str]) -> list[Figure]:
    figures = []
    own = None
    for contender, taken in samples.items():
        rates = [it["operations"] / it["wall"] for it in taken]
        cpu = statistics.median(it["cpu"] / it["operations"] * 1e6 for it in taken)
        own = cpu if own is None and contender == "offloop" else own
        rate = statistics.median(rates)
        figure = Figure(
            contender=contender,
            version=versions.get(NEEDS.get(contender, ""), ""),
            per_second=round(rate, 1),
            cpu_us=round(cpu, 2),
            cpu_to_offloop=round(cpu / own, 2) if own else 0.0,
            spread=round((max(rates) - min(rates)) / rate, 3),
            rounds=len(taken),
        )
        figures.append(figure)
    return figures


def show(result: Result) -> None:
    """Print it for a person."""
    for case, figures in result.cases.items():
        rows = [
            (
                f"{figure.contender} {figure.version}".rstrip(),
                f"{figure.per_second:,.0f}",
                f"{figure.cpu_us:,.1f}",
                f"{figure.cpu_to_offloop:.2f}x",
                f"{figure.spread:.0%}" if figure.rounds > 1 else "-",
            )
            for figure in figures
        ]
        columns = ("", "per second", "CPU µs each", "of offloop's", "spread")
        draw(f"\n{CASES[case].title}", columns, rows)
    print()
    for contender, text in result.failed.items():
        print(f"failed: {contender}: {text}")
    if result.missing:
        print(f"not installed, so not compared: {', '.join(result.missing)}")
    for text in result.remarks:
        print(f"note: {text}")


def _machine() -> dict[str, str | float]:
    facts: dict[str, str | float] = {
        "platform": platform.platform(),
        "processors": os.cpu_count() or 1,
        "python": platform.python_version(),
        "offloop": importlib.metadata.version("offloop"),
    }
    if hasattr(os, "getloadavg"):
        facts["load"] = round(os.getloadavg()[0], 2)
    return facts


def _remark(result: Result) -> None:
    rounds = min((it.rounds for figures in result.cases.values() for it in figures), default=0)
    result.remarks.append(
        f"{rounds} of {ROUNDS} rounds of {result.window_seconds:.2f} s fitted into the time; "
        "median, and spread of the rates."
    )
    if "fetch" in result.cases:
        result.remarks.append(
            "The server is written in Python and shares the machine, so it bounds the requests "
            "per second: compare the CPU time, which is that of the client alone."
        )
    load, processors = float(result.machine.get("load", 0)), int(result.machine["processors"])
    if load > LOADED * processors:
        text = f"The machine was busy before it began (load {load}): do not trust this."
        result.remarks.append(text)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

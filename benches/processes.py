"""Runs the measured processes, one at a time, and reads the figures each of them prints."""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import measure

HERE = Path(__file__).resolve().parent
TIMEOUT = 60.0
"""Seconds a process gets to give its figures."""
EXIT_WAIT = 5.0
"""Seconds a process gets to end after its figures."""

Figures = dict[str, float]
Samples = dict[str, list[Figures]]


class NoFiguresError(Exception):
    """A measured process ended, or was ended, without figures."""


@dataclass
class Notes:
    """What a reader of the figures has to know; each sentence once."""

    lines: list[str] = field(default_factory=list)

    def add(self, line: str) -> None:
        """Keep the sentence, and show it while the benchmark runs."""
        if line not in self.lines:
            self.lines.append(line)
            print(f"  note: {line}", file=sys.stderr)


def is_installed(package: str) -> bool:
    """Whether the interpreter that runs the benchmarks can import a package."""
    return importlib.util.find_spec(package) is not None


def run_worker(
    script: str, *arguments: str, name: str, notes: Notes, timeout: float = TIMEOUT
) -> Figures:
    """Run one of the workers beside this file and give the figures it printed.

    What happens after the figures does not take them away, but is noted: a client that crashes
    or hangs at exit.
    """
    command = [sys.executable, str(HERE / script), *arguments]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, env=_environment(), text=True
        )
        try:
            line = _first_line(process, timeout)
            try:
                ending = _ending(process.wait(EXIT_WAIT))
            except subprocess.TimeoutExpired:
                ending = "did not end by itself"
        finally:
            process.kill()
            process.communicate()
        if not line:
            raise NoFiguresError(f"{ending or 'ended'} without figures: {_last_line(errors)}")
        if ending:
            notes.add(f"{name} {ending} after its figures.")
    figures: Figures = json.loads(line)
    return figures


def run_reqwest_loop(
    binary: Path, url: str, in_flight: int, requests: int, core: int | None
) -> Figures:
    """Run the Rust loop; its CPU time is that of the whole process, start and warm-up included."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [str(binary), url, str(in_flight), str(requests)],
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environment(),
            text=True,
            preexec_fn=lambda: measure.pin(core),  # noqa: PLW1509 - there are no threads here
        )
        try:
            usage, rss_mib = _watch(process, TIMEOUT)
        finally:
            process.kill()
            output, _ = process.communicate()
        if process.returncode != 0:
            ending = _ending(process.returncode)
            raise NoFiguresError(f"{ending}: {_last_line(errors)}")
    made = requests + 4 * in_flight  # the loop warms up with four requests for each in flight
    cpu = usage.ru_utime + usage.ru_stime
    return {
        "rate": requests / float(output.split()[1]),
        "cpu_us": cpu / made * 1e6,
        "rss_mib": rss_mib,
    }


def _watch(process: subprocess.Popen[str], timeout: float) -> tuple[resource.struct_rusage, float]:
    """Wait for the end of a process; gives what it used and its largest resident size in MiB."""
    until, largest = time.monotonic() + timeout, 0.0
    while True:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            process.returncode = os.waitstatus_to_exitcode(status)
            return usage, largest
        if time.monotonic() > until:
            raise NoFiguresError(f"no figures in {timeout:.0f} s")
        largest = max(largest, measure.peak_rss_mib(process.pid))
        time.sleep(0.05)


def alternate(
    contenders: Mapping[str, Callable[[], Figures]],
    rounds: int,
    notes: Notes,
    label: str,
) -> Samples:
    """Run the contenders A B C A B C …; one that fails is noted and not asked again."""
    return alternate_groups({label: contenders}, rounds, notes)[label]


def alternate_groups(
    groups: Mapping[str, Mapping[str, Callable[[], Figures]]], rounds: int, notes: Notes
) -> dict[str, Samples]:
    """Run the contenders of all groups in each round, those of a group one after another."""
    samples: dict[str, Samples] = {
        label: {name: [] for name in contenders} for label, contenders in groups.items()
    }
    turns = [
        (label, name, contender)
        for label, contenders in groups.items()
        for name, contender in contenders.items()
    ]
    failed: set[tuple[str, str]] = set()
    for number in range(1, rounds + 1):
        for label, name, contender in turns:
            if (label, name) in failed:
                continue
            try:
                figures = contender()
            except NoFiguresError as error:
                failed.add((label, name))
                notes.add(f"{label}, {name}: {error}")
                continue
            samples[label][name].append(figures)
            rate = f": {figures['rate']:,.0f}/s" if "rate" in figures else ""
            print(f"  {label}, round {number}/{rounds}: {name}{rate}", file=sys.stderr)
    return {
        label: {name: rounds_of for name, rounds_of in taken.items() if rounds_of}
        for label, taken in samples.items()
    }


def medians(taken: list[Figures]) -> Figures:
    """Give the median of each figure over the rounds; one that a round does not have is 0 there."""
    names = dict.fromkeys(name for each in taken for name in each)
    return {name: statistics.median(each.get(name, 0) for each in taken) for name in names}


def spread(taken: list[Figures], figure: str) -> float | None:
    """Give the distance from the least to the largest, as a part of the median.

    None for a single round, which knows nothing of it.
    """
    if len(taken) < 2:
        return None
    values = [each[figure] for each in taken]
    middle = statistics.median(values)
    return (max(values) - min(values)) / middle if middle else 0.0


def _environment() -> dict[str, str]:
    """Give the environment without proxies: all clients talk to the server itself."""
    return {name: it for name, it in os.environ.items() if not name.lower().endswith("_proxy")}


def _first_line(process: subprocess.Popen[str], timeout: float) -> str:
    """Wait for the figures; empty when the process has ended without."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], timeout)
    if not ready:
        raise NoFiguresError(f"no figures in {timeout:.0f} s")
    return process.stdout.readline()


def _ending(code: int) -> str:
    """Say how a process ended, if not well."""
    if code < 0:
        return f"crashed ({signal.Signals(-code).name})"
    return f"exited with {code}" if code else ""


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "nothing on stderr"

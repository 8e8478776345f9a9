"""Runs the benchmarks, prints a table for each section and writes the figures down.

usage: run.py [--section SECTION ...] [--rounds N] [--quick] [--only CASE ...] [--client NAME ...]

The sections: bridge, fetch, spin, batch, download, stale, offload, lag, processes, sdk, files,
watch.

See README.md beside this file for what is measured, and how to read it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import clients
import machine
import picture
import section_batch
import section_bridge
import section_download
import section_fetch
import section_files
import section_lag
import section_offload
import section_processes
import section_sdk
import section_watch
import stale
from plan import Plan, Section
from tables import Table

RESULTS = Path(__file__).resolve().parent / "results"
SECTIONS: dict[str, Callable[[Plan], Section]] = {
    "bridge": section_bridge.bridge,
    "fetch": section_fetch.fetch,
    "spin": section_fetch.spin,
    "batch": section_batch.batch,
    "download": section_download.download,
    "stale": stale.stale,
    "offload": section_offload.offload,
    "lag": section_lag.lag,
    "processes": section_processes.processes,
    "sdk": section_sdk.sdk,
    "files": section_files.files,
    "watch": section_watch.watch,
}


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Runs the benchmarks of offloop.")
    parser.add_argument(
        "--section",
        action="append",
        choices=SECTIONS,
        help="a section to run; may be given several times; default all",
    )
    parser.add_argument(
        "--rounds", type=int, help="rounds that medians are taken of; default 3, quick 1"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="short windows: shows that it works, not how fast; written to results/quick",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="CASE",
        help="of fetch and spin the cases whose label contains this; written to results/quick",
    )
    parser.add_argument(
        "--client",
        action="append",
        default=[],
        choices=clients.CLIENTS,
        help="of fetch and spin these clients; written to results/quick",
    )
    chosen = parser.parse_args()
    if chosen.rounds is None:
        chosen.rounds = 1 if chosen.quick else 3
    if chosen.rounds < 1:
        parser.error("--rounds must be 1 or more")
    return chosen


def run_section(name: str, plan: Plan, folder: Path) -> None:
    """Run one section, show its table and write its figures."""
    known = machine.facts()
    print(f"{name}:", file=sys.stderr)
    began = time.perf_counter()
    section = SECTIONS[name](plan)
    if machine.build() != known["build"]:
        section.notes.add("offloop was built anew in the meantime: these figures mix two builds.")
    result: dict[str, Any] = {
        "section": name,
        "command": " ".join(["python benches/run.py", *sys.argv[1:]]),
        "rounds": plan.rounds,
        "quick": plan.quick,
        "seconds": round(time.perf_counter() - began, 1),
        "machine": known,
        **section.as_json(),
    }
    text = json.dumps(result, indent=1, ensure_ascii=False)
    (folder / f"{name}.json").write_text(text + "\n")
    section.table.show()
    for line in section.notes.lines:
        print(f"  {line}")


def write_markdown(folder: Path) -> None:
    """Write the tables of all sections that have figures, this time's or earlier ones."""
    parts = ["# Benchmark results\n"]
    for name in SECTIONS:
        path = folder / f"{name}.json"
        if not path.exists():
            continue
        result = json.loads(path.read_text())
        parts.append(Table(**result["table"]).markdown())
        parts.extend(f"- {line}\n" for line in result["notes"])
        rounds = f"`{result['command']}`, medians of {result['rounds']} rounds"
        parts.append(f"{rounds}. {machine.summary(result['machine'])}\n")
    (folder / "table.md").write_text("\n".join(parts))
    if folder == RESULTS and picture.RESULTS.exists():
        picture.main()


def main() -> None:
    """Run what was asked for."""
    chosen = arguments()
    cores = machine.Cores.of_this_machine()
    plan = Plan(chosen.rounds, chosen.quick, cores, tuple(chosen.only), tuple(chosen.client))
    folder = RESULTS / "quick" if chosen.quick or plan.is_part else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    for name in chosen.section or SECTIONS:
        run_section(name, plan, folder)
        write_markdown(folder)


if __name__ == "__main__":
    main()

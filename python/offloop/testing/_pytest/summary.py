"""Gathers what reports carry, and prints it when the run is over; writes the baseline.

In the process that reports: without pytest-xdist the only one, with it the controller.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from offloop.testing._pytest import baseline

if TYPE_CHECKING:
    from collections.abc import Generator

    from offloop.testing._pytest.baseline import Baseline
    from offloop.testing._pytest.forgotten import Forgotten_
    from offloop.testing._pytest.settings import Settings
    from offloop.testing._pytest.verdict import Finding

SHOWN = 50
"""Rows of a list that are printed without ``-v``."""
TESTS = 3
"""Tests that are named of those with the same finding."""
HEADINGS = {
    "block": "",
    "baseline": "in the baseline",
    "allowed": "allowed by blocking_ok",
    "excluded": "excluded",
}
OUTPUT = "offloop_late"


@dataclass(slots=True)
class Group:
    """The same finding in several tests."""

    example: Finding
    times: int = 0
    longest: float = 0.0
    tests: dict[str, None] = field(default_factory=dict)

    def add(self, found: Finding) -> None:
        """Count one more."""
        self.times += 1
        self.tests[found["test"]] = None
        if found["seconds"] > self.longest:
            self.longest, self.example = found["seconds"], found


class Summary:
    """The plugin that reports."""

    def __init__(self, config: pytest.Config, settings: Settings, known: Baseline | None) -> None:
        self.config = config
        self.settings = settings
        self.known = known
        self.groups: dict[tuple[str, str, int, str], Group] = {}
        self.forgotten: list[Forgotten_] = []
        self.written: int | None = None
        self.is_worker = hasattr(config, "workerinput")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what a report carries."""
        found: Finding
        for found in getattr(report, "offloop_findings", ()):
            kind = found["verdict"]
            if kind == "baseline" and self.known is not None:
                self.known.seen.add(found["key"])
            place = (kind, found["key"], found["line"], found["why"])
            self.groups.setdefault(place, Group(found)).add(found)
        self.forgotten += getattr(report, "offloop_forgotten", ())

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Take what came after the last report; write the baseline. Before all is printed."""
        result = yield
        plugin = self.config.pluginmanager.get_plugin("offloop-forgotten")
        late = plugin.late if plugin is not None else []
        if self.is_worker:
            self.config.workeroutput[OUTPUT] = json.dumps(late)  # type: ignore[attr-defined]
            return result
        self.forgotten += late
        if self.forgotten and self.settings.forgotten == "fail" and session.exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if self.settings.writes_baseline and self.settings.baseline is not None:
            blocks = [group.example for (kind, *_), group in self.groups.items() if kind == "block"]
            self.written = baseline.write(self.settings.baseline, blocks)
        return result

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker found after its last report."""
        self.forgotten += json.loads(getattr(node, "workeroutput", {}).get(OUTPUT, "[]"))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print what blocked, and what was forgotten."""
        if self.settings.limit is not None:
            self._print_blocks(terminalreporter, self.settings.limit)
        if self.forgotten:
            self._print_forgotten(terminalreporter)

    def _print_blocks(self, terminal: pytest.TerminalReporter, limit: float) -> None:
        verbose = self.config.get_verbosity() > 0
        reports_all = verbose or not self.settings.fails
        if not self.groups and not reports_all and self.written is None:
            return
        terminal.section("offloop: what blocked the event loop")
        by_length = sorted(self.groups.items(), key=lambda item: -item[1].longest)
        for kind, heading in HEADINGS.items():
            groups = [group for (each, *_), group in by_length if each == kind]
            if kind != "block" and not reports_all:
                continue
            if groups and heading:
                terminal.line(f"{heading}:")
            for group in groups if verbose else groups[:SHOWN]:
                self._print_group(terminal, group)
            if not verbose and len(groups) > SHOWN:
                terminal.line(f"… and {len(groups) - SHOWN} more (-v shows all)")
        terminal.line(self._count(limit))
        if self.written is not None:
            terminal.line(f"wrote {self.settings.baseline}: {self.written} blocks")
        if self.known is not None and self.known.gone and verbose:
            terminal.line("in the baseline, and not seen in this run:")
            for key in self.known.gone:
                terminal.line(f"  {key}")

    def _print_group(self, terminal: pytest.TerminalReporter, group: Group) -> None:
        found = group.example
        place = f"{found['file']}:{found['line']}"
        terminal.line(f"{place} in {found['function']}: {group.longest:.3f} s", bold=True)
        if found["code"]:
            terminal.line(f"    {found['code']}")
        why = f"; {found['why']}" if found["why"] else ""
        terminal.line(f"    cause: {found['cause']}{why}")
        if found["mend"] and found["verdict"] in {"block", "baseline"}:
            terminal.line(f"    mend:  {found['mend']}", green=True)
        tests = list(group.tests)
        more = f" and {len(tests) - TESTS} more" if len(tests) > TESTS else ""
        times = f" ({group.times} times)" if group.times > 1 else ""
        terminal.line(f"    test:  {', '.join(tests[:TESTS])}{more}{times}")

    def _count(self, limit: float) -> str:
        numbers = dict.fromkeys(HEADINGS, 0)
        for (kind, *_), group in self.groups.items():
            numbers[kind] += group.times
        blocks = numbers.pop("block")
        noun = "block" if blocks == 1 else "blocks"
        parts = [f"{blocks} {noun} of more than {limit:g} s"]
        parts += [f"{number} {HEADINGS[kind]}" for kind, number in numbers.items() if number]
        return ", ".join(parts)

    def _print_forgotten(self, terminal: pytest.TerminalReporter) -> None:
        from offloop.testing._pytest.forgotten import text_of

        terminal.section("offloop: never awaited")
        verbose = self.config.get_verbosity() > 0
        for found in self.forgotten if verbose else self.forgotten[:SHOWN]:
            for line in text_of(found).splitlines():
                terminal.line(line)
            terminal.line(f"    test:  {found['test']}")
        if not verbose and len(self.forgotten) > SHOWN:
            terminal.line(f"… and {len(self.forgotten) - SHOWN} more (-v shows all)")

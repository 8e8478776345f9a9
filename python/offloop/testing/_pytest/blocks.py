"""Watches the loops while tests run, and gives each stall to the test whose call it falls in.

One watch serves the whole run, so that a loop which a fixture started is watched during the call,
too. What the native thread finds is told in a thread of the watch's and collected in pytest's main
thread when a call has ended; by then the loops that the call ran are done with.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from offloop import _offloop
from offloop.testing._pytest import verdict
from offloop.testing._pytest.settings import Allowed, allowed
from offloop.watch import Health

if TYPE_CHECKING:
    from collections.abc import Generator

    from offloop._watch.stall import Stall
    from offloop.testing._pytest.baseline import Baseline
    from offloop.testing._pytest.settings import Settings
    from offloop.testing._pytest.verdict import Finding

PATIENCE = 2.0
"""Seconds to wait until the watch has told what it found; a busy machine needs milliseconds."""
A_LOOK = 0.05
"""Seconds within which the watch has looked at a loop in another thread again."""
ATTRIBUTE = "offloop_findings"
"""Where a report carries its findings."""


@dataclass(slots=True)
class Span:
    """The times, on the watch's clock, between which a test's own function runs."""

    pieces: list[tuple[int, int]] = field(default_factory=list)

    def holds(self, stall: Stall) -> bool:
        """Whether most of a stall falls in it."""
        record = stall._record
        ended = record.ended or _offloop.watch_clock()
        inside = sum(max(0, min(ended, to) - max(record.began, since)) for since, to in self.pieces)
        return inside * 2 > ended - record.began


class Blocks:
    """The plugin that watches; in every process that runs tests."""

    def __init__(self, config: pytest.Config, settings: Settings, known: Baseline) -> None:
        self.config = config
        self.settings = settings
        self.known = known
        self.health: Health | None = None
        self.found: deque[Stall] = deque(maxlen=1000)
        self.told = 0
        self.lost = 0
        self.pid = os.getpid()
        self.least = settings.limit or 0.0
        self.allowed: dict[str, Allowed] = {}
        self.findings = pytest.StashKey[list["Finding"]]()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Read the markers at once: a wrong one ends the run before it begins."""
        for item in items:
            found = allowed(item)
            if found is not None:
                self.allowed[item.nodeid] = found
                self.least = min(self.least, found.most or self.least)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        """Begin the watch with the first test, before its fixtures start loops."""
        if self.health is None:
            self._start()
        return (yield)

    def _start(self) -> None:
        # A baseline holds what is near the limit as well, which the next run may see or not.
        least = self.least / 2 if self.settings.writes_baseline else self.least
        try:
            self.health = health = Health(least, self._hear, None)
        except ValueError as error:
            raise pytest.UsageError(f"the loops cannot be watched: {error}") from None
        logging.getLogger("offloop.watch").addFilter(self._is_of_another)
        health._attach_or_install()

    def _hear(self, stall: Stall) -> None:
        """In the watch's thread."""
        self.found.append(stall)
        self.told += 1

    def _is_of_another(self, record: logging.LogRecord) -> bool:
        """Keep this watch's warnings out of the tests' logs: a test may count those."""
        helper = self.health._helper.thread if self.health is not None else None
        return helper is None or record.thread != helper.ident or record.exc_info is not None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Collect what blocked while the test's own function ran."""
        if self.health is None or os.getpid() != self.pid:
            return (yield)
        span = Span()
        began = _offloop.watch_clock()
        case = getattr(item, "instance", None)
        unittest = sys.modules.get("unittest")
        by_method = unittest is not None and isinstance(case, unittest.TestCase)
        if by_method:
            _span_of_method(case, span)
        try:
            return (yield)
        finally:
            if not by_method:
                span.pieces.append((began, _offloop.watch_clock()))
            if os.getpid() == self.pid:
                item.stash[self.findings] = self._collect(item, span)

    def _collect(self, item: pytest.Item, span: Span) -> list[Finding]:
        self._settle()
        found, self.found = self.found, deque(maxlen=self.found.maxlen)
        root = self.config.rootpath
        findings = []
        for stall in found:
            if span.holds(stall):
                each = verdict.finding(stall, item.nodeid, root)
                if self._judge(each, stall):
                    findings.append(each)
        return findings

    def _settle(self) -> None:
        """Wait until all that happened so far is told: a look at two numbers, mostly."""
        health = self.health
        if health is None:
            return
        number = health._watcher.settle(PATIENCE)
        if self.told + self.lost >= number and not self.found:
            return
        begun = time.monotonic()
        while (waited := time.monotonic() - begun) < PATIENCE:
            # A loop that runs on is found idle at the next look at it, and may be blocked still.
            running = health._loops.attached if waited > A_LOOK else ()
            if self.told + self.lost >= number and all(
                stall.ended or stall._record.key in running for stall in [*self.found]
            ):
                return
            time.sleep(0.001)
        self.lost = max(0, number - self.told)

    def _judge(self, found: Finding, stall: Stall) -> bool:
        """Give a verdict; False when it is below what this test may take."""
        permit = self.allowed.get(found["test"])
        limit = self.limit(found["test"])
        if found["seconds"] < (limit / 2 if self.settings.writes_baseline else limit):
            if permit is None or found["seconds"] < (self.settings.limit or 0.0):
                return False
            found["verdict"], found["why"] = "allowed", permit.reason
        elif permit is not None and permit.most is None:
            found["verdict"], found["why"] = "allowed", permit.reason
        elif why := verdict.exclusion(stall, self.settings.warm_up):
            found["verdict"], found["why"] = "excluded", why
        elif self.known.knows(found["key"]):
            found["verdict"] = "baseline"
        return True

    def limit(self, test: str) -> float:
        """Seconds that a test may block."""
        permit = self.allowed.get(test)
        return (permit and permit.most) or self.settings.limit or 0.0

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Let a test fail that passed but blocked; the findings travel with the report."""
        report = yield
        if call.when != "call":
            return report
        findings = item.stash.get(self.findings, [])
        item.stash[self.findings] = []
        if findings:
            setattr(report, ATTRIBUTE, findings)
        blocks = [each for each in findings if each["verdict"] == "block"]
        if blocks and self.settings.fails:
            limit = self.limit(item.nodeid)
            text = "\n\n".join(verdict.text_of(each, limit) for each in blocks)
            if report.outcome == "passed":
                report.outcome = "failed"
                report.longrepr = text
            else:
                report.sections.append(("offloop: the event loop was blocked", text))
        return report

    def pytest_sessionfinish(self) -> None:
        """End the watch."""
        if self.health is not None and os.getpid() == self.pid:
            self.health.stop()
            logging.getLogger("offloop.watch").removeFilter(self._is_of_another)


def _span_of_method(case: Any, span: Span) -> None:
    """Take the time of the test's method alone: `setUp` and `asyncSetUp` are fixtures."""
    call = case._callTestMethod

    @functools.wraps(call)
    def timed(method: Any) -> Any:
        since = _offloop.watch_clock()
        try:
            return call(method)
        finally:
            span.pieces.append((since, _offloop.watch_clock()))

    case._callTestMethod = timed

"""Collects what was never awaited, test by test: coroutines and Jobs, with the line that made them.

Python tells of a coroutine by `warnings._warn_unawaited_coroutine`, offloop of a Job by
`offloop._bridge.tell_forgotten`; both are heard before any filter has its say. A warning that a
filter ignores, or that the test itself catches (`pytest.warns`), is meant, and not collected.
"""

from __future__ import annotations

import gc
import linecache
import os
import sys
import traceback
import warnings
from typing import TYPE_CHECKING, Any, TypedDict

import pytest

from offloop import _bridge
from offloop._watch import places
from offloop.testing._pytest import verdict

if TYPE_CHECKING:
    from collections.abc import Generator

    from offloop.testing._pytest.settings import Settings

ORIGIN_DEPTH = 8
"""Frames kept of where a coroutine was made: a mock makes its own, below the user's line."""
ATTRIBUTE = "offloop_forgotten"
"""Where a report carries what was forgotten."""


class Forgotten_(TypedDict):  # noqa: N801 - `Forgotten` is the plugin
    """One thing that was never awaited, as reports carry it."""

    test: str
    what: str
    """``coroutine 'main'``, ``Job 'GET http://…'``."""
    file: str
    line: int
    code: str
    mend: str
    made: bool
    """Whether the line made it; else it is where the coroutine's function is defined."""


class Forgotten:
    """The plugin that collects; in every process that runs tests."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self.root = config.rootpath
        self.fails = settings.forgotten == "fail"
        self.current = ""
        self.found: list[Forgotten_] = []
        self.late: list[Forgotten_] = []
        self.pid = os.getpid()
        self.depth = 0
        self.warn: Any = None
        self.shown_by: Any = None

    def pytest_collection_finish(self) -> None:
        """Begin; what is there by now stays, so the collections after each test pass it by."""
        gc.collect()
        gc.freeze()
        self.warn = warnings._warn_unawaited_coroutine  # type: ignore[attr-defined]
        warnings._warn_unawaited_coroutine = self._hear_coroutine  # type: ignore[attr-defined]
        _bridge.forgotten.append(self._hear_job)
        self.depth = sys.get_coroutine_origin_tracking_depth()
        sys.set_coroutine_origin_tracking_depth(max(self.depth, ORIGIN_DEPTH))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Put back what was changed."""
        if self.warn is None or os.getpid() != self.pid:
            return
        warnings._warn_unawaited_coroutine = self.warn  # type: ignore[attr-defined]
        _bridge.forgotten.remove(self._hear_job)
        sys.set_coroutine_origin_tracking_depth(self.depth)
        gc.unfreeze()
        self.warn = None

    def _hear_coroutine(self, coroutine: Any) -> None:
        """In the thread in which the coroutine goes."""
        if os.getpid() == self.pid:
            self._note_coroutine(coroutine)
        # As `warnings._warn_unawaited_coroutine`, which would name this line as the place.
        text = f"coroutine '{coroutine.__qualname__}' was never awaited\n"
        if coroutine.cr_origin is not None:
            rows = traceback.format_list([(*row, None) for row in reversed(coroutine.cr_origin)])
            text += "Coroutine created at (most recent call last)\n" + "".join(rows)
        warnings.warn(text.rstrip("\n"), RuntimeWarning, stacklevel=2, source=coroutine)

    def _note_coroutine(self, coroutine: Any) -> None:
        name = coroutine.__qualname__
        if not self._counts(f"coroutine '{name}' was never awaited"):
            return
        origin = coroutine.cr_origin or ()
        made = next((row for row in origin if not places.is_library(row[0])), None)
        if made is None and origin:
            made = origin[0]
        code = coroutine.cr_code
        file, line = made[:2] if made else (code.co_filename, code.co_firstlineno)
        self._add(f"coroutine '{name}'", file, line, made=made is not None)

    def _hear_job(self, label: str, made_at: str | None, text: str) -> None:
        if os.getpid() == self.pid and self._counts(text):
            file, _, line = (made_at or "?:0").rpartition(":")
            self._add(f"Job {label!r}", file, int(line), made=made_at is not None)

    def _add(self, what: str, file: str, line: int, *, made: bool) -> None:
        code = linecache.getline(file, line).strip()
        self.found.append(
            Forgotten_(
                test=self.current,
                what=what,
                file=verdict.place(file, self.root),
                line=line,
                code=code,
                mend=verdict.awaited(code) if made else "",
                made=made,
            )
        )

    def _counts(self, text: str) -> bool:
        """Whether a warning of this text is not meant: neither ignored nor caught by the test."""
        for action, message, category, module, _ in warnings.filters:
            fits = message is None or message.match(text)
            if fits and issubclass(RuntimeWarning, category) and module is None:
                if action == "ignore":
                    return False
                break
        shown_by = getattr(warnings, "_showwarnmsg_impl", None)
        return self.shown_by is None or shown_by == self.shown_by

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Note whose the next ones are; those that only go with the fixtures' values are late."""
        self.current = item.nodeid
        try:
            return (yield)
        finally:
            self.shown_by = None  # pytest catches no warnings any more
            if os.getpid() == self.pid:
                gc.collect()  # else it would go in the next test, and be taken for that one's
            self.late += self.found
            self.found = []

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_setup(self) -> Generator[None, None, None]:
        """Remember who catches warnings here: whoever does it in a test does it on purpose."""
        self.shown_by = getattr(warnings, "_showwarnmsg_impl", None)
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self) -> Generator[None, object, object]:
        """Have what is left in cycles go while it is known whose it is."""
        try:
            return (yield)
        finally:
            if os.getpid() == self.pid:
                gc.collect()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Let a phase fail that passed but forgot something."""
        report = yield
        own = [each for each in self.found if each["test"] == item.nodeid]
        self.found = []
        if own or self.late:
            setattr(report, ATTRIBUTE, own + self.late)
            self.late = []
        if own and self.fails:
            text = "\n".join(text_of(each) for each in own)
            if report.outcome == "passed":
                report.outcome = "failed"
                report.longrepr = text
            else:
                report.sections.append(("offloop: never awaited", text))
        return report


def text_of(found: Forgotten_) -> str:
    """Tell one of them."""
    verb = "made" if found["made"] else "defined"
    text = f"{found['what']} was never awaited: {verb} at {found['file']}:{found['line']}"
    if found["code"]:
        text += f"\n    {found['code']}"
    return f"{text}\n  → {found['mend']}" if found["mend"] else text

"""CPython's own tests of executors, run against `Pool` on threads.

Python 3.13 and newer: older ones are installed without these tests, or have them in one file with
their own executors. What is left out, and why, stands in `DIFFERENT`.
"""

from __future__ import annotations

import threading
import unittest
from typing import Any

import pytest

import offloop

util = pytest.importorskip("test.test_concurrent_futures.util")

from test.test_concurrent_futures.executor import ExecutorTest  # noqa: E402
from test.test_concurrent_futures.test_as_completed import AsCompletedTests  # noqa: E402
from test.test_concurrent_futures.test_wait import WaitTests  # noqa: E402

DIFFERENT = {
    # The message names our parameter, which is `limit`; the class is ValueError, as there.
    "test_max_workers_negative",
}


class ThreadPool(offloop.Pool):
    """With the parameters the tests use."""

    def __init__(self, max_workers: int | None = None, **options: Any) -> None:
        super().__init__(limit=max_workers, **options)


class OnThreads(util.ExecutorMixin):  # type: ignore[misc,name-defined]
    executor_type = ThreadPool

    def create_event(self) -> threading.Event:
        return threading.Event()


class Executors(OnThreads, ExecutorTest, util.BaseTestCase): ...  # type: ignore[misc,name-defined]


class Waiting(OnThreads, WaitTests, util.BaseTestCase): ...  # type: ignore[misc,name-defined]


class AsCompleted(OnThreads, AsCompletedTests, util.BaseTestCase): ...  # type: ignore[misc,name-defined]


CASES = [
    (case, name)
    for case in (Executors, Waiting, AsCompleted)
    for name in unittest.TestLoader().getTestCaseNames(case)
]

# pytest is to run them through CASES alone.
del ExecutorTest, AsCompletedTests, WaitTests
for _case in (Executors, Waiting, AsCompleted):
    _case.__test__ = False  # type: ignore[attr-defined]


@pytest.mark.parametrize(("case", "name"), CASES, ids=[name for _, name in CASES])
def test_as_cpython_has_it(case: type[unittest.TestCase], name: str) -> None:
    if name in DIFFERENT:
        pytest.skip("a difference that is meant")
    result = case(name).run()
    assert result is not None
    problems = [text for _, text in result.errors + result.failures]
    assert not problems, problems[0]

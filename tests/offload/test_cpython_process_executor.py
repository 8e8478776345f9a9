"""CPython's own tests of executors, run on a pool of worker processes.

`ExecutorTest`, `WaitTests` and `AsCompletedTests`, whole. One test differs and is written anew: the
parameter that bounds the workers is `limit` here, `max_workers` there. From Python 3.14 on six of
the `WaitTests` wait for an event of a `multiprocessing.Manager`.
"""

from __future__ import annotations

import unittest
from typing import Any

import pytest

executor_tests = pytest.importorskip(
    "test.test_concurrent_futures.executor", reason="this Python comes without its test-suite"
)
wait_tests = pytest.importorskip("test.test_concurrent_futures.test_wait")
completed_tests = pytest.importorskip("test.test_concurrent_futures.test_as_completed")
util = pytest.importorskip("test.test_concurrent_futures.util")

import offloop  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class PoolMixin(util.BaseTestCase):  # type: ignore[misc, name-defined]
    """Five workers and a pool for each test, as the standard library's mixin makes them."""

    worker_count = 5

    def setUp(self) -> None:
        super().setUp()
        self.executor = offloop.Pool("test", on="process", limit=self.worker_count)

    def tearDown(self) -> None:
        self.executor.shutdown(wait=True)
        super().tearDown()

    def get_context(self) -> Any:
        import multiprocessing

        return multiprocessing.get_context("spawn")

    def create_event(self) -> Any:
        """Make an event that workers can wait for, as the standard library's mixin does."""
        manager = self.get_context().Manager()
        self.addCleanup(manager.shutdown)
        return manager.Event()


class TestExecutor(PoolMixin, executor_tests.ExecutorTest, unittest.TestCase):  # type: ignore[misc, name-defined]
    def test_max_workers_negative(self) -> None:
        """Differs by name: the parameter is `limit`."""
        for number in (0, -1):
            with pytest.raises(ValueError, match="limit must be at least 1"):
                offloop.Pool(on="process", limit=number)


class TestWait(PoolMixin, wait_tests.WaitTests, unittest.TestCase):  # type: ignore[misc, name-defined]
    pass


class TestAsCompleted(PoolMixin, completed_tests.AsCompletedTests, unittest.TestCase):  # type: ignore[misc, name-defined]
    pass

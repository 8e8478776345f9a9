"""CPython's own tests of asyncio.Future, run on what `Job.start` returns."""

from __future__ import annotations

import pytest

futures_tests = pytest.importorskip(
    "test.test_asyncio.test_futures", reason="this Python comes without its test-suite"
)
utils = pytest.importorskip("test.test_asyncio.utils")

from offloop._bridge import JobFuture  # noqa: E402


class TestJobFuture(futures_tests.BaseFutureTests, utils.TestCase):  # type: ignore[misc, name-defined]
    """The tests make futures without a Job: those behave as asyncio's own."""

    cls = JobFuture


class TestJobFutureCallbacks(futures_tests.BaseFutureDoneCallbackTests, utils.TestCase):  # type: ignore[misc, name-defined]
    """Callback order, removal and re-entrance."""

    def run_briefly(self) -> None:
        utils.run_briefly(self.loop)

    def _new_future(self) -> JobFuture[object]:
        return JobFuture(loop=self.loop)

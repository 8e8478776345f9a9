"""The place that is none: calls run where they are started, in the loop's own thread.

For tests and debugging: no thread, one call at a time, breakpoints and profilers see one stack.
"""

from __future__ import annotations

import time
from typing import ClassVar

from offloop.pools import _current
from offloop.pools._base import Call, Place, Plan, Reason, below


class _InlineWorker:
    """The thread while it runs a call, as far as its function may ask."""

    name = where = "inline"

    def __init__(self, pool: str, call: Call) -> None:
        self.pool = pool
        self._call = call
        self._since = time.monotonic()

    def cancelled(self) -> bool:
        return self._call.cancelled()

    def event_loop(self) -> None:
        """Give none: the loop waits for this call, and can run nothing for it."""

    def describe(self) -> tuple[str, float]:
        fn = self._call.fn
        name = getattr(fn, "__qualname__", None) or type(fn).__qualname__
        return name, time.monotonic() - self._since


class InlinePlace(Place):
    """Runs each call when its turn has come, in the thread that starts it."""

    kind: ClassVar[str] = "inline"

    def __init__(self, plan: Plan) -> None:
        if plan.options:
            raise TypeError(f"an inline pool has no option {next(iter(plan.options))!r}")
        super().__init__(plan)
        self._pool = plan.pool
        self._setup = (plan.initializer, plan.initargs)

    def start(self, call: Call) -> None:
        """Run the call."""
        initializer, arguments = self._setup
        if initializer is not None:
            initializer(*arguments)
            self._setup = (None, ())
        if not call.begin("inline"):
            return
        outer, _current.local.worker = _current.local.worker, _InlineWorker(self._pool, call)
        try:
            value = call.fn(*call.args, **call.kwargs)
        except BaseException as error:  # noqa: BLE001 - the awaiter gets it
            _current.local.worker = outer
            call.set_exception(error, below(error))
        else:
            _current.local.worker = outer
            call.set_result(value)

    def cancel(self, call: Call, reason: Reason) -> None:
        """Nothing runs that could be told."""

    def resize(self, limit: int) -> None:
        """Run one at a time all the same."""

    def close(self) -> None:
        """Have no workers to end."""

    def kill(self) -> None:
        """Have no workers to end."""

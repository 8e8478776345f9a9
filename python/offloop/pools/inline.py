"""The place that is none: calls run where they are started, in the loop's own thread.

For tests and debugging: no thread, one call at a time, breakpoints and profilers see one stack.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from offloop.pools._base import Call, Place, Plan, Reason

if TYPE_CHECKING:
    import types


class InlinePlace(Place):
    """Runs each call when its turn has come, in the thread that starts it."""

    kind: ClassVar[str] = "inline"

    def __init__(self, plan: Plan) -> None:
        if plan.options:
            raise TypeError(f"an inline pool has no option {next(iter(plan.options))!r}")
        super().__init__(plan)
        self._setup = (plan.initializer, plan.initargs)

    def start(self, call: Call) -> None:
        """Run the call."""
        initializer, arguments = self._setup
        if initializer is not None:
            initializer(*arguments)
            self._setup = (None, ())
        if not call.begin("inline"):
            return
        try:
            value = call.fn(*call.args, **call.kwargs)
        except BaseException as error:  # noqa: BLE001 - the awaiter gets it
            traceback: types.TracebackType | None = error.__traceback__
            if traceback is not None and traceback.tb_next is not None:
                traceback = traceback.tb_next
            call.set_exception(error, traceback)
        else:
            call.set_result(value)

    def cancel(self, call: Call, reason: Reason) -> None:
        """Nothing runs that could be told."""

    def resize(self, limit: int) -> None:
        """Run one at a time all the same."""

    def close(self) -> None:
        """Have no workers to end."""

    def kill(self) -> None:
        """Have no workers to end."""

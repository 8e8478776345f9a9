"""Brings the calls of a pool to its place: what stands between `Pool` and `Place`."""

from __future__ import annotations

import functools
import threading
import weakref
from typing import TYPE_CHECKING

from offloop.pools._base import Call, PromisedCall, SubmittedCall

if TYPE_CHECKING:
    from offloop._offloop import Promise, Turn, Turns
    from offloop.pools._base import How, Place, Reason


class Dispatcher:
    """Starts calls whose turn it is, in whichever thread an earlier one has ended."""

    def __init__(self, place: Place) -> None:
        self.place = place
        # Weak: a call that its place loses has to fail and not to wait for ever.
        self._under_way: weakref.WeakSet[Call] = weakref.WeakSet()
        self._starting: set[int] = set()

    def start(self, turns: Turns) -> None:
        """Start all calls whose turn it is."""
        thread = threading.get_ident()
        if thread in self._starting:
            return  # a call ended while it was started: the loop below goes on with the next
        self._starting.add(thread)
        try:
            for context, call, keywords, outcome, turn in turns:
                ended = functools.partial(self._ended, turns, turn)
                fn, *args = call
                made: Call
                if isinstance(outcome, tuple):
                    made = SubmittedCall(outcome[0], fn, args, keywords or {}, ended)
                else:
                    made = PromisedCall(outcome, fn, args, keywords or {}, ended)
                del outcome, call, keywords, fn, args
                self._under_way.add(made)
                try:
                    context.run(self.place.start, made)
                except BaseException as error:  # noqa: BLE001 - the awaiter gets it
                    made.set_exception(error)
                del made, context, turn, ended
        finally:
            self._starting.discard(thread)

    def _ended(self, turns: Turns, turn: Turn, call: Call, how: How) -> None:
        self._under_way.discard(call)
        turn.end(how)
        self.start(turns)

    def cancel(self, promise: Promise, reason: Reason) -> None:
        """Tell the place that nobody waits for the call of `promise` any longer."""
        owner = promise.owner
        call = owner() if owner is not None else None
        if call is not None and call in self._under_way:
            self.place.cancel(call, reason)

    def cancel_all(self) -> list[Call]:
        """Tell the place to give up what is under way; gives these calls."""
        calls = self.under_way()
        for call in calls:
            self.place.cancel(call, "close")
        return calls

    def under_way(self) -> list[Call]:
        """Give the calls that have been handed to the place and are not over."""
        return list(self._under_way)

    def __del__(self) -> None:
        self.place.close()

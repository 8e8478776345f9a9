"""The thread that waits for what the native watchdog has found, and tells it to Python.

It is a `threading.Thread`, waits without the GIL, and asks for it only when a loop is blocked.
How long it then has to wait is evidence, too. User code, `on_stall`, runs in it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from offloop._watch import look, mend
from offloop._watch.stall import Stall

if TYPE_CHECKING:
    from collections.abc import Callable

    from offloop import _offloop
    from offloop._watch.look import Other, Seen
    from offloop._watch.loops import Loops

KEPT = 500
"""Stalls that are kept; the oldest give way."""
BYTES = 4 * 2**20
"""Memory that they may take."""
QUIET = 10.0
"""Seconds in which one line is warned of once."""
LOOKS = 64
"""Looks whose stall has not been told yet: it may never be, when it was a short one."""
LOOK_BYTES = 2**20
"""Memory that they may take: a look among a hundred threads has half of it."""

logger = logging.getLogger("offloop.watch")

T = TypeVar("T")


class Shelf(Generic[T]):
    """What is kept by the number of its stall; the oldest give way, the newest stays."""

    __slots__ = ("_kept", "_weight")

    def __init__(self) -> None:
        self._kept: dict[int, tuple[T, int]] = {}
        self._weight = 0

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, number: int) -> bool:
        return number in self._kept

    def put(self, number: int, thing: T, weight: int) -> None:
        """Keep `thing`, which takes about `weight` bytes."""
        self.pop(number)
        self._kept[number] = thing, weight
        self._weight += weight
        while len(self._kept) > LOOKS or (self._weight > LOOK_BYTES and len(self._kept) > 1):
            self.pop(next(iter(self._kept)))

    def get(self, number: int) -> T | None:
        """Give what is kept, if it still is."""
        thing, _ = self._kept.get(number, (None, 0))
        return thing

    def pop(self, number: int) -> T | None:
        """Give it, and keep it no longer."""
        thing, weight = self._kept.pop(number, (None, 0))
        self._weight -= weight
        return thing


@dataclass(slots=True)
class Helper:
    """What one watch knows in Python."""

    watcher: _offloop.Watcher
    loops: Loops
    clock: float
    on_stall: Callable[[Stall], object] | None
    logs: bool = True
    """Whether stalls are logged."""
    blocked: float = 0.0
    """Seconds of all stalls that are over."""
    weight: int = 0
    """What the stalls that are over weigh together."""
    stalls: deque[Stall] = field(default_factory=deque)
    looks: Shelf[Seen] = field(default_factory=Shelf)
    late: Shelf[dict[int, Other]] = field(default_factory=Shelf)
    """Threads as they were when their stall was just over: what held the GIL all the while."""
    open: dict[int, Stall] = field(default_factory=dict)
    warned: dict[tuple[str | None, int | None], tuple[float, int]] = field(default_factory=dict)
    told: set[int] = field(default_factory=set)
    thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        name = "offloop-watch-tell"
        self.thread = threading.Thread(target=self.run, name=name, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Wait until everything is told, for two seconds at most."""
        if self.thread is not None and self.thread is not threading.current_thread():
            self.thread.join(timeout=2.0)

    def run(self) -> None:
        """Handle events until the watch is over."""
        while True:
            event = self.watcher.next(3600.0)
            if event is None:
                if self.watcher.is_over:
                    return
                continue
            try:
                if event[0] == "look":
                    self._look(event[1], event[2])
                elif event[0] == "detected":
                    self._detected(event[1])
                else:
                    self._ended(event[1])
            except Exception:
                logger.exception("the watchdog failed at one event, and goes on")

    def _look(self, key: int, number: int) -> None:
        attached = self.loops.attached.get(key)
        seen = look.look(attached) if attached is not None else None
        if seen is None:
            return
        still = self.watcher.add_look(key, number, seen.identity, seen.ready, seen.stack)
        if still and number not in self.looks:
            self.looks.put(number, seen, seen.weigh())
        if not still:
            self.late.put(number, seen.threads, seen.weigh())

    def _detected(self, record: _offloop.StallRecord) -> None:
        attached = self.loops.attached.get(record.key)
        stall = Stall(
            record,
            self.looks.get(record.number),
            loop=self.loops.names.get(record.key, "loop"),
            thread=attached.thread if attached is not None else "",
            clock=self.clock,
        )
        stall.mend = mend.of(stall)
        self.add(stall)
        self.open[record.number] = stall
        if self.watcher.is_open(record.number):
            self._tell(stall)

    def _ended(self, record: _offloop.StallRecord) -> None:
        stall = self.open.pop(record.number, None)
        if stall is None:
            return
        told = stall.ended or record.number in self.told
        before = stall._weigh()
        late = self.late.pop(record.number) or {}
        stall._update(record, self.looks.pop(record.number))
        if record.culprit is not None:
            stall._blame(late.get(record.culprit) or look.named(record.culprit))
        stall.mend = mend.of(stall)
        if stall in self.stalls:
            self.weight += stall._weigh() - before
        self.blocked += stall.duration
        if not told:
            self._tell(stall)
        self.told.discard(record.number)

    def add(self, stall: Stall) -> None:
        """Keep a stall, and as many of the others as there is room for."""
        self.stalls.append(stall)
        self.weight += stall._weigh()
        while len(self.stalls) > KEPT or (self.weight > BYTES and len(self.stalls) > 1):
            self.weight -= self.stalls.popleft()._weigh()

    def _tell(self, stall: Stall) -> None:
        """Warn, and call the user's function; once for each stall."""
        self.told.add(stall.number)
        self.watcher.heard(stall.number)
        if self.logs:
            self._warn(stall)
        if self.on_stall is not None:
            try:
                self.on_stall(stall)
            except Exception:
                logger.exception("on_stall failed")

    def _warn(self, stall: Stall) -> None:
        place = (stall.file, stall.line)
        now = time.monotonic()
        last, left_out = self.warned.get(place, (float("-inf"), 0))
        if now - last < QUIET:
            self.warned[place] = (last, left_out + 1)
            return
        if len(self.warned) >= KEPT:
            self.warned.clear()
        self.warned[place] = (now, 0)
        more = f" ({left_out} more since the last warning)" if left_out else ""
        level = logging.INFO if stall.cause == "paused" else logging.WARNING
        fields = {f"stall_{name}": value for name, value in stall.as_dict().items()}
        logger.log(level, "%s%s", stall, more, extra=fields)

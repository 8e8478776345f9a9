"""CPU hogs: calls in worker threads that compute in Python, and so have the loop wait for the GIL.

Every 25 ms while calls are under way, or less often, the loop looks at those that have run for
long (`look`, in the loop's thread). A thread whose clock goes on while the loop holds the GIL
computes without it, in C; one that sleeps at that moment, but has burnt CPU since the last one,
computes under it. Two things follow:

* whoever burnt more than 50 ms so is named in a warning, once, when its call ends (`ended`, in the
  worker's thread), unless it is a function of offloop itself, as `Health.report`;
* while such calls run, threads take turns more often (`sys.setswitchinterval`): see `_hurry`, and
  decision 39. A look keeps the loop busy for a millisecond or two, and so it is rare while the same
  calls go on computing.

Clocks of threads are read on Linux alone; elsewhere nothing of this happens. A lock is held only
where the interval is set; what else two threads do at once costs one look.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import operator
import os
import sys
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any, Literal

from offloop import _offloop

if TYPE_CHECKING:
    import types
    from collections.abc import Callable

    from offloop._offloop import Looks, Worker

PERIOD = 0.025
"""Seconds between looks."""
LAZY_PERIOD = 0.1
"""The same where nothing has burnt any CPU for `LAZY_AFTER` looks: calls that only wait."""
STEADY_PERIOD = 1.0
"""The same where the same calls have computed for `STEADY_AFTER` looks, until another one comes."""
STEADY_AFTER = 4
LAZY_AFTER = 40
LEAST = 0.02
"""Seconds after which a call is looked at."""
HOG = 0.05
"""Seconds of CPU under the GIL that deserve a warning."""
SHARE = 0.8
"""Part of what a call has burnt that has to have been seen under the GIL: a look may err."""
BURNS = 0.001
"""Seconds of CPU between two looks from which a call counts as computing."""
FIRST_INTERVAL = 0.001
"""The switch interval beside one computing thread; beside several it is that much shorter."""
LEAST_INTERVAL = 0.0001
"""Measured: shorter ones cost more than they bring. `OFFLOOP_SWITCH_INTERVAL` says otherwise."""
PAUSE = range(6000)
"""Counted through in some 0.1 ms: so long a thread is watched that could run."""
State = Literal["asleep", "runs", "waits"]
"""What a thread does while the loop has the GIL; one that waits could run, and has no core."""
REMEMBERED = 1000
"""Functions that have been warned of, at most."""


@dataclasses.dataclass
class _Watched:
    """One call, as far as it has been seen."""

    clock: float
    """CPU time of its thread at the last look."""
    sleeps: int
    """How often its thread had gone to sleep by then."""
    under_gil: float = 0.0
    """Seconds it burnt before looks at which it slept: it waited for the GIL."""
    without: float = 0.0
    """Seconds it burnt before looks at which it ran, although the loop had the GIL."""
    unclear: float = 0.0
    """Other seconds: it had no core at the time, or no look came."""
    state: State = "asleep"
    """At the last look; a call begins with the GIL."""

    def add(self, burnt: float, state: State) -> None:
        if state == "runs":
            self.without += burnt
        elif state == "asleep" and self.state != "runs":
            self.under_gil += burnt
        else:
            self.unclear += burnt
        self.state = state

    def is_hog(self) -> bool:
        total = self.under_gil + self.without + self.unclear
        return total > HOG and self.under_gil > SHARE * (self.under_gil + self.without)


_watched: dict[tuple[int, int], _Watched] = {}
_clocks: dict[int, float] = {}
"""What the clock of a thread last said; for the first look at its next call."""
_hogs: set[tuple[int, int]] = set()
"""Calls that burnt CPU under the GIL before the last look."""
_told: dict[Any, None] = {}
_declared: set[types.CodeType] = set()
_quiet = 0
"""Looks in a row at which nothing had burnt anything."""
_steady: tuple[int, frozenset[tuple[int, int]]] = (0, frozenset())
"""How many looks in a row found these calls, some of them computing."""
_ended = 0
"""Long calls that have ended: one that does while a look is under way is seen by the look."""


def look(looks: Looks) -> None:
    """Look at calls that have run for long; called by the loop, in its thread."""
    if looks.outdated:
        return
    ended_before = _ended
    calls = _offloop.long_calls(LEAST)
    burning: set[tuple[int, int]] = set()
    seen: set[tuple[int, int]] = set()
    is_quiet = True
    for thread, mark, _, seconds, could_run, sleeps in calls:
        key = (thread, mark)
        seen.add(key)
        clock = _clock(thread)
        if clock is None:
            continue
        watched = _watched.get(key)
        if watched is None:
            # Since when it has run is known, what its thread had burnt before is not: so at most
            # as much as it has run, and as its thread has burnt since it was seen last.
            burnt = min(seconds, clock - _clocks.get(thread, 0.0))
            watched = _watched[key] = _Watched(clock, sleeps)
        else:
            burnt = clock - watched.clock
        state = _state(thread) if could_run else "asleep"
        if state == "waits" and sleeps > watched.sleeps:
            # Too busy a machine to let it go to sleep now, but it did since the last look: when the
            # loop took the GIL. Code that computes without it does not sleep.
            state = "asleep"
        watched.add(burnt, state)
        watched.sleeps = sleeps
        watched.clock = _clocks[thread] = clock
        if burnt >= BURNS:
            is_quiet = False
            if watched.under_gil > SHARE * (watched.under_gil + watched.without):
                burning.add(key)
    for key in _watched.keys() - seen:
        _watched.pop(key, None)
    _hogs.clear()
    _hogs.update(burning)
    _hogs.intersection_update(_watched)  # without those that have ended meanwhile
    _hurry()
    if calls:
        looks.again(_pause(seen, bool(burning) and _ended == ended_before, is_quiet))
    else:
        _pause(seen, False, False)
        _clocks.clear()
        looks.over()


def _pause(seen: set[tuple[int, int]], computing: bool, is_quiet: bool) -> float:
    """Give the seconds to the next look, after one that has seen these calls."""
    global _quiet, _steady  # noqa: PLW0603 - one for the process
    _quiet = _quiet + 1 if is_quiet else 0
    times, before = _steady
    _steady = (times + 1 if computing and seen == before else 0, frozenset(seen))
    if _steady[0] > STEADY_AFTER:
        return STEADY_PERIOD
    return LAZY_PERIOD if _quiet > LAZY_AFTER else PERIOD


def ended(worker: Worker, call: tuple[Any, ...]) -> None:
    """Take notice that a call is over that took long; in its thread, before its outcome leaves."""
    global _ended  # noqa: PLW0603 - one for the process
    _ended += 1
    thread = threading.get_native_id()
    for key in [key for key in _watched if key[0] == thread]:
        watched = _watched.pop(key)
        clock = _clock(thread)
        if clock is not None:
            watched.add(clock - watched.clock, watched.state)
            _clocks[thread] = clock
        if watched.is_hog():
            _warn(call[0], watched, worker)
        _hogs.discard(key)
    _hurry()


def declare(fn: Callable[..., Any]) -> None:
    """Take notice that somebody has said where `fn` runs: nobody is told of it."""
    code = getattr(fn, "__code__", None)
    if code is not None:
        _declared.add(code)


def _warn(fn: Any, watched: _Watched, worker: Worker) -> None:
    while isinstance(fn, functools.partial):
        fn = fn.func
    code = getattr(fn, "__code__", None)  # a method hands out its function's
    key = code if code is not None else getattr(fn, "__qualname__", type(fn))
    ours = str(getattr(fn, "__module__", "")).startswith("offloop.")
    if ours or code in _declared or key in _told or len(_told) >= REMEMBERED:
        return
    _told[key] = None
    name = getattr(fn, "__qualname__", None) or repr(fn)
    place = "to_interpreter" if sys.version_info >= (3, 14) else "to_process"
    burnt = watched.under_gil + watched.unclear
    text = (
        f"{name} computed for {burnt * 1000:.0f} ms under the GIL in thread {worker.name}, while "
        f"the event loop waited for it. Run it elsewhere: offloop.{place}({name}, ...), or declare "
        'it with @offloop.offloaded(kind="cpu"); kind="io" says that it is meant so'
    )
    where = (code.co_filename, code.co_firstlineno) if code is not None else ("<offloop>", 1)
    try:
        warnings.warn_explicit(text, RuntimeWarning, *where)
    except RuntimeWarning:  # warnings are errors here, but the call has gone well
        logging.getLogger("offloop").warning("%s:%d: %s", *where, text)


@dataclasses.dataclass
class _Interval:
    """What has been done to the interpreter's switch interval."""

    usual: float | None = None
    """As it was, while it is not."""
    ours: float = 0.0
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)
    """Held while it is set: the loop and several calls that end may do so at once."""


_interval = _Interval()


def _hurry() -> None:
    """Have threads take turns as often as the present hogs ask for; as usual without any.

    Who waits for the GIL waits for one interval for each thread that is before it. Somebody else's
    change of the interval is left alone.
    """
    least = _least_interval()
    if least is None:
        return
    with _interval.lock:
        present = sys.getswitchinterval()
        if _interval.usual is not None and present != _interval.ours:
            _interval.usual = None  # somebody else has changed it
        usual = _interval.usual if _interval.usual is not None else present
        number = len(_hogs)  # changes meanwhile; whoever changes it comes here after us
        wanted = min(usual, max(least, FIRST_INTERVAL / number)) if number else usual
        if wanted != present:
            sys.setswitchinterval(wanted)
        _interval.usual = usual if number else None
        _interval.ours = sys.getswitchinterval()  # as the interpreter has rounded it


@functools.cache
def _least_interval() -> float | None:
    """Give the shortest switch interval that is set, in seconds; None where none is to be."""
    asked = os.environ.get("OFFLOOP_SWITCH_INTERVAL", "")
    if asked == "keep":
        return None
    try:
        return max(1e-5, float(asked))
    except ValueError:
        return LEAST_INTERVAL


def _clock(thread: int) -> float | None:
    """Give the CPU seconds of a thread by its native id; None where that cannot be told."""
    if sys.platform != "linux":
        return None
    try:
        return time.clock_gettime(_clock_id(thread))
    except OSError:
        return None


def _clock_id(thread: int) -> int:
    """Name the CPU clock of a thread as Linux does.

    This is what pthread_getcpuclockid(3) makes. That may not be asked about a thread that has
    ended; the clock of one fails with an error.
    """
    return (~thread << 3) | 6


_call: Callable[[Callable[[], float]], float] = operator.call


def _state(thread: int) -> State:
    """Watch a thread that could run, with the GIL in hand.

    No byte code runs between the two looks at its clock: the GIL could be lost there.
    """
    read = functools.partial(time.clock_gettime, _clock_id(thread))
    pause = functools.partial(sum, PAUSE)
    steps: list[Callable[[], float]] = [read, time.perf_counter, pause, time.perf_counter, read]
    try:
        before, began, _, end, after = tuple(map(_call, steps))
    except OSError:  # it has ended
        return "waits"
    half = (end - began) / 2
    return "runs" if after - before > half else "waits"

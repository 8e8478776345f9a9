"""How far work has come: one stream of events, and what can be done with it.

A source is read ten times a second, in the loop's thread and in the context of the Job; each
reading becomes a `Progress`, and that is what a function of the user's gets, what moves a bar,
and what is written as a line. Nothing waits for whoever watches, and what a watching function
raises harms nobody but itself: it goes to the loop's exception handler.
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import sys
import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TextIO, TypeAlias

if TYPE_CHECKING:
    from offloop._offloop import Job

Phase: TypeAlias = Literal["connecting", "downloading", "finishing", "done", "failed", "cancelled"]

INTERVAL = 0.1
"""Seconds between two events."""
_LINE_EVERY = 5.0
"""Seconds between two lines, where there is no terminal."""
_WINDOW = 5.0
"""Seconds over which the speed is taken."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far something has come.

    `name` is what it is; `bytes` have come of `total`, or None where nobody knows; `speed` is in
    bytes per second over the last seconds, `eta` the seconds that are left at that speed, or None;
    `phase` is ``"connecting"``, ``"downloading"``, ``"finishing"`` (checksum, disk, rename), and
    last ``"done"``, ``"failed"`` or ``"cancelled"``; `elapsed` seconds have passed; `resumed_from`
    bytes were there before; `items` are finished of `items_total`, where there are several.
    `unit` says what it is measured by: ``"bytes"``, or ``"items"``, which `fraction` and `eta` are
    then of, and by which a bar moves.
    """

    name: str
    bytes: int = 0
    total: int | None = None
    speed: float = 0.0
    eta: float | None = None
    phase: Phase = "connecting"
    elapsed: float = 0.0
    resumed_from: int = 0
    items: int = 0
    items_total: int | None = None
    unit: Literal["bytes", "items"] = "bytes"

    @property
    def fraction(self) -> float | None:
        """How much of it has come, from 0 to 1; None where nobody knows."""
        count, total = self.measure
        return None if not total else min(1.0, count / total)

    @property
    def measure(self) -> tuple[int, int | None]:
        """How much has come, and of how much, in `unit`."""
        if self.unit == "items":
            return self.items, self.items_total
        return self.bytes, self.total

    @property
    def is_over(self) -> bool:
        """Whether this is the last event."""
        return self.phase in ("done", "failed", "cancelled")


class Bar(Protocol):
    """What tqdm's bars look like: `update` takes the bytes since the last time."""

    def update(self, n: int, /) -> object:
        """Move it by `n`."""
        ...

    def close(self) -> object:
        """Leave it as it is."""
        ...


Watcher: TypeAlias = Callable[[Progress], object]
Wanted: TypeAlias = bool | Watcher | Bar | None
"""What ``progress=`` takes: True, a function of a `Progress`, a bar like tqdm's, or nothing."""


class Reading(NamedTuple):
    """What is read of a source: as the fields of `Progress`."""

    bytes: int
    total: int | None
    resumed_from: int
    phase: Phase
    items: int = 0
    items_total: int | None = None
    unit: Literal["bytes", "items"] = "bytes"


class Source(Protocol):
    """What is watched: bytes, their total, those of before, and the phase."""

    def read(self) -> tuple[int, int | None, int, Phase]:
        """Give them as they are now."""
        ...


def watcher(wanted: Wanted) -> Watcher | None:
    """Make a function of events of what the user gave; None if he wants none.

    Raises TypeError for what is neither a bool, a function, nor a bar.
    """
    if wanted is None or wanted is False:
        return None
    if wanted is True:
        return shown()
    update, close = getattr(wanted, "update", None), getattr(wanted, "close", None)
    if callable(update) and callable(close):
        return _Moved(wanted)
    if callable(wanted):
        return wanted
    kind = type(wanted).__name__
    raise TypeError(f"progress must be a bool, a function, or a bar like tqdm's, not {kind}")


def shown(stream: TextIO | None = None) -> Watcher:
    """Make what draws bars on a terminal if rich is there, and writes plain lines elsewhere."""
    stream = stream or sys.stderr
    if stream is None:  # pythonw has none
        return lambda _event: None
    if stream.isatty():
        try:
            console = importlib.import_module("rich.console").Console(file=stream)
        except ImportError:
            pass
        else:
            return _Bars.of(console)
    return _Lines(stream)


class Meter:
    """Makes events of readings: adds time, speed and what is left."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._began = time.monotonic()
        self._readings: deque[tuple[float, int, int]] = deque()

    def event(self, reading: Reading) -> Progress:
        """Make the event of one reading."""
        count, items = reading.bytes, reading.items
        now = time.monotonic()
        readings = self._readings
        if readings and count < readings[-1][1]:
            readings.clear()  # it started over
        readings.append((now, count, items))
        while now - readings[0][0] > _WINDOW and len(readings) > 2:  # noqa: PLR2004 - a slope
            readings.popleft()
        since, before, items_before = readings[0]
        # What was there before did not come at any speed.
        before = max(before, min(reading.resumed_from, count))
        speed = (count - before) / (now - since) if now > since else 0.0
        left, pace = reading.total, speed
        if reading.unit == "items":
            left, count = reading.items_total, items
            pace = (items - items_before) / (now - since) if now > since else 0.0
        eta = (left - count) / pace if left is not None and pace > 0 else None
        return Progress(
            name=self._name,
            speed=speed,
            eta=eta,
            elapsed=now - self._began,
            **reading._asdict(),
        )


class Pulse:
    """Reads something ten times a second, and tells a watcher, until it is told the end.

    `read` gives None when there is nothing to watch any more. The watcher is called in the
    context in which this was made.
    """

    def __init__(self, read: Callable[[], Reading | None], watch: Watcher, name: str) -> None:
        self._read = read
        self._watch = watch
        self._name = name
        self._meter = Meter(name)
        self._context = contextvars.copy_context()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin; in the loop's thread."""
        self._meter = Meter(self._name)
        self._tick()

    def finish(self, reading: Reading) -> None:
        """Tell the last event."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._tell(reading)

    def _tick(self) -> None:
        reading = self._read()
        if reading is not None:
            self._tell(reading)
            self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._tick)

    def _tell(self, reading: Reading) -> None:
        event = self._meter.event(reading)
        try:
            self._context.copy().run(self._watch, event)
        except Exception as error:  # noqa: BLE001 - whatever it is, the work goes on
            message = f"Exception in progress function {self._watch!r}"
            context = {"message": message, "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)


class Ticker:
    """Watches a source while a Job runs.

    The Job is held weakly: dropping it cancels it, watched or not.
    """

    def __init__(self, job: Job[Any], source: Source, watch: Watcher, name: str) -> None:
        self._job = weakref.ref(job)
        self._source = source
        self._pulse = Pulse(self._read, watch, name)

    def start(self) -> None:
        """Begin: called by the loop when the Job has started."""
        self._pulse.start()

    def finish(self, job: Job[Any]) -> None:
        """Tell the last event: called before everybody else who waits for the Job."""
        count, total, resumed, _ = self._source.read()
        if job.cancelled():
            phase: Phase = "cancelled"
        elif job.exception() is not None:
            phase = "failed"
        else:
            phase, total = "done", count
        self._pulse.finish(Reading(count, total, resumed, phase))

    def _read(self) -> Reading | None:
        job = self._job()
        return None if job is None or job.done() else Reading(*self._source.read())


class _Moved:
    """Moves a bar like tqdm's, and closes it at the end."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._seen = 0

    def __call__(self, event: Progress) -> None:
        count, total = event.measure
        if total is not None and hasattr(self._bar, "total"):
            self._bar.total = total
        if count != self._seen:
            step, self._seen = count - self._seen, count
            self._bar.update(step)
        if event.is_over:
            self._bar.close()


class _Bars:
    """Bars of rich's, those of all downloads of a terminal together."""

    _present: _Bars | None = None

    def __init__(self, console: Any) -> None:
        rich = importlib.import_module("rich.progress")
        self._live = rich.Progress(
            rich.TextColumn("{task.description}"),
            rich.BarColumn(),
            rich.TextColumn("{task.fields[amount]}"),
            rich.TimeRemainingColumn(),
            console=console,
        )
        self._watched = 0

    @classmethod
    def of(cls, console: Any) -> Watcher:
        """Give a function that moves a bar of its own."""
        task: list[Any] = []

        def move(event: Progress) -> None:
            bars = cls._present
            if bars is None:
                bars = cls._present = cls(console)
                bars._live.start()
            if not task:
                bars._watched += 1
                task.append(bars._live.add_task(_plain(event.name), total=None, amount=""))
            count, total = event.measure
            amount = _amount(event)
            bars._live.update(task[0], completed=count, total=total, amount=amount)
            if event.is_over:
                bars._watched -= 1
                if bars._watched == 0:
                    bars._live.stop()
                    cls._present = None

        return move


class _Lines:
    """Writes a line every few seconds, and one at the end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = time.monotonic()

    def __call__(self, event: Progress) -> None:
        now = time.monotonic()
        if not event.is_over and now - self._last < _LINE_EVERY:
            return
        self._last = now
        print(line(event), file=self._stream, flush=True)


def line(event: Progress) -> str:
    """Give an event as one line of text."""
    parts = [f"{_plain(event.name)}: {_amount(event)}"]
    if event.is_over:
        parts.append(f"{event.phase} after {event.elapsed:.1f} s")
    elif event.speed <= 0:
        parts.append(event.phase)
    elif event.eta is not None:
        parts.append(f"{event.eta:.0f} s left")
    return " ".join(parts)


def _amount(event: Progress) -> str:
    """Say how much there is of how much, and how fast it comes."""
    of_items = event.unit == "items"
    parts = [str(event.items) if of_items else size(event.bytes)]
    _, total = event.measure
    if total is not None and event.phase != "done":
        parts.append(f"of {total if of_items else size(total)}")
    if event.fraction is not None and not event.is_over:
        parts.append(f"({event.fraction:.0%})")
    if of_items:
        parts[-1] += ","
        parts.append(size(event.bytes))
    if event.speed > 0 and not event.is_over:
        parts.append(f"at {size(event.speed)}/s")
    return " ".join(parts)


def size(count: float) -> str:
    """Give a number of bytes as people read it."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:  # noqa: PLR2004 - the unit
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def _plain(name: str) -> str:
    """Leave out what a terminal would take for an order; names come from servers."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)

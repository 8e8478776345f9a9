"""`Stall`: one time that an event loop was blocked, as users are given it."""

from __future__ import annotations

import linecache
import threading
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from offloop import _offloop
    from offloop._watch.look import Other, Seen
    from offloop._watch.mend import Call, Mend

CAUSES = {
    "system_call": "blocking system call",
    "python": "Python code computes",
    "native": "native code computes",
    "gil": "another thread holds the GIL",
    "gc": "garbage collection",
    "import": "import",
    "callbacks": "many small callbacks",
    "page_faults": "memory read back from disk",
    "paused": "the process was stopped",
}
"""What `Stall.cause` can be, and what it means."""


class StackFrame(NamedTuple):
    """A frame of a stack."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"


class Stall:
    """One time that an event loop did not come round for longer than the threshold.

    It is handed out while the loop is still blocked, and completed when it is not: `ended` tells.
    Times are seconds; `began` is Unix time. What cannot be told is None, or empty.

    Thread safety: may be read from any thread.
    """

    __slots__ = ("_clock", "_late", "_lock", "_record", "_seen", "loop", "mend", "thread")

    def __init__(
        self,
        record: _offloop.StallRecord,
        seen: Seen | None,
        *,
        loop: str,
        thread: str,
        clock: float,
    ) -> None:
        self._record = record
        self._seen = seen
        self._late: Other | None = None
        self._clock = clock
        self._lock = threading.Lock()
        self.loop = loop
        """The loop's class and thread."""
        self.thread = thread
        """The name of the loop's thread."""
        self.mend: Mend | None = None
        """What to write instead."""

    def _update(self, record: _offloop.StallRecord, seen: Seen | None) -> None:
        with self._lock:
            self._record = record
            self._seen = seen or self._seen
            if self._seen is not None and record.ended is not None:
                self._seen.keep_of_threads(record.culprit)

    def _blame(self, thread: Other | None) -> None:
        """Name the thread that held the GIL, unless a look at the stall has."""
        if self._culprit() is None:
            self._late = thread

    def _weigh(self) -> int:
        """Estimate the bytes it takes."""
        return 500 + self._record.weight + (self._seen.weigh() if self._seen else 0)

    @property
    def number(self) -> int:
        """Counts the stalls of one watch."""
        return self._record.number

    @property
    def began(self) -> float:
        """When the loop was last known to come round."""
        return self._clock + self._record.began / 1e9

    @property
    def duration(self) -> float:
        """How long the loop was blocked; how long so far when the stall was found, until it ends.

        Time in which the whole process was stopped, or waited for a processor, does not count.
        """
        return self._record.lasted / 1e9

    @property
    def elapsed(self) -> float:
        """As `duration`, but by the clock on the wall, with all that does not count there."""
        ended = self._record.ended
        if ended is None:
            return (self._record.detected - self._record.began) / 1e9
        return (ended - self._record.began) / 1e9

    @property
    def detected_after(self) -> float:
        """How long the loop had been blocked, by the clock, when that was found."""
        return (self._record.detected - self._record.began) / 1e9

    @property
    def named_after(self) -> float | None:
        """How long the loop had been blocked, by the clock, when the line was known."""
        named = self._record.named
        return None if named is None else (named - self._record.began) / 1e9

    @property
    def ended(self) -> bool:
        """Whether the loop comes round again."""
        return self._record.ended is not None

    @property
    def cause(self) -> str:
        """Why: a key of `CAUSES`."""
        return self._record.cause

    @property
    def system_call(self) -> str | None:
        """The system call that blocks, when that is the cause."""
        return self._record.system_call

    @property
    def stack(self) -> tuple[StackFrame, ...]:
        """The stack of the blocked thread, newest frame first."""
        stacks = self.stacks
        return stacks[0] if stacks else ()

    @property
    def stacks(self) -> tuple[tuple[StackFrame, ...], ...]:
        """At most three stacks, the most frequent first."""
        return tuple(tuple(StackFrame(*row) for row in rows) for rows in self._record.stacks)

    @property
    def culprit(self) -> str | None:
        """The name of the thread that holds the GIL, when that is the cause."""
        found = self._culprit()
        return found.name if found else None

    @property
    def culprit_job(self) -> str | None:
        """The function that this thread runs for a Job of offloop's, if it does."""
        found = self._culprit()
        return found.job if found else None

    def _culprit(self) -> Other | None:
        number = self._record.culprit
        if number is None:
            return None
        found = self._seen.threads.get(number) if self._seen is not None else None
        return found or self._late

    @property
    def frame(self) -> StackFrame | None:
        """The frame to blame: the newest of the user's own; with cause ``gil`` the culprit's."""
        if self.cause == "paused":
            return None
        found = self._culprit()
        if found:
            from offloop._watch import places

            own = places.own(found.stack)
            if own is not None:
                return StackFrame(*own)
        stack, index = self.stack, self._record.blamed
        return stack[index] if index is not None and index < len(stack) else None

    @property
    def file(self) -> str | None:
        """The file of `frame`."""
        return self.frame.file if self.frame else None

    @property
    def line(self) -> int | None:
        """The line of `frame`."""
        return self.frame.line if self.frame else None

    @property
    def function(self) -> str | None:
        """The function of `frame`."""
        return self.frame.function if self.frame else None

    @property
    def code(self) -> str:
        """The line of source, if it can be read."""
        frame = self.frame
        return linecache.getline(frame.file, frame.line).strip() if frame else ""

    @property
    def call(self) -> str | None:
        """The qualified name of what blocks: ``time.sleep``."""
        call = self._call
        return call.name if call else None

    @property
    def _call(self) -> Call | None:
        return self._seen.call if self._seen else None

    @property
    def task(self) -> str | None:
        """The name of the task that ran."""
        return self._seen.task if self._seen else None

    @property
    def await_chain(self) -> tuple[str, ...]:
        """The coroutines of the task with their lines, outermost first, after its awaiters."""
        return self._seen.await_chain if self._seen else ()

    @property
    def context(self) -> dict[str, str]:
        """The task's context variables, with the types of their values (CPython 3.12 or newer)."""
        return dict(self._seen.context) if self._seen else {}

    @property
    def reason(self) -> str:
        """The cause, for people."""
        text = CAUSES[self.cause]
        if self.system_call:
            text += f" {self.system_call}"
        elif self._record.holds_gil:
            text += " and holds the GIL"
        elif self.culprit:
            text += f": {self.culprit}"
            text += f", which runs {self.culprit_job}" if self.culprit_job else ""
        return text

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values, for logs and files."""
        return {
            "number": self.number,
            "began": self.began,
            "duration": self.duration,
            "elapsed": self.elapsed,
            "ended": self.ended,
            "cause": self.cause,
            "system_call": self.system_call,
            "file": self.file,
            "line": self.line,
            "function": self.function,
            "code": self.code,
            "call": self.call,
            "mend": str(self.mend) if self.mend else None,
            "task": self.task,
            "await_chain": list(self.await_chain),
            "context": self.context,
            "thread": self.thread,
            "loop": self.loop,
            "culprit": self.culprit,
            "culprit_job": self.culprit_job,
            "stack": [list(frame) for frame in self.stack],
        }

    def __str__(self) -> str:
        verb = "was blocked for" if self.ended else "is blocked, so far for"
        text = f"the event loop {verb} {self.duration:.3f} s"
        frame = self.frame
        if frame is not None:
            code = self.code
            text += f": {code + ' ' if code else ''}at {PurePath(frame.file).name}:{frame.line}"
            text += f" in {frame.function}"
        text += f" ({self.reason})"
        return f"{text} → {self.mend.code}" if self.mend else text

    def __repr__(self) -> str:
        where = f" {self.file}:{self.line}" if self.frame else ""
        state = "" if self.ended else " so far"
        return f"<Stall {self.duration:.3f}s{state} {self.cause}{where}>"

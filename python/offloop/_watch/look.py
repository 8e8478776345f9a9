"""A look at a loop from another thread, with the GIL: which task runs, where, and for whom.

Nothing of the user's is kept alive longer than the look: what is written down is text, so that no
destructor runs in the watchdog's thread.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import itertools
import sys
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from offloop import _offloop
from offloop._watch import mend

if TYPE_CHECKING:
    from types import FrameType

    from offloop._watch.loops import Attached
    from offloop._watch.mend import Call

DEPTH = 60
"""Frames of a stack that are written down."""

Row = tuple[str, int, str]
"""A frame: file, line, function."""


class Other(NamedTuple):
    """A thread beside that of the loop."""

    name: str
    stack: list[Row]
    job: str | None
    """The function that it runs for a Job of offloop."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look has shown."""

    identity: int
    ready: int | None
    stack: list[Row]
    call: Call
    """What is called at the newest line of the user's."""
    task: str | None
    coroutine: str | None
    await_chain: tuple[str, ...]
    context: dict[str, str]
    threads: dict[int, Other]
    """The other threads, by the system's number."""

    def weigh(self) -> int:
        """Estimate the bytes it takes."""
        texts = sum(map(len, self.await_chain)) + sum(map(len, self.context))
        rows = len(self.stack) + sum(len(other.stack) for other in self.threads.values())
        return 1_000 + 120 * rows + texts + 100 * (len(self.await_chain) + len(self.context))

    def keep_of_threads(self, number: int | None) -> None:
        """Forget the other threads, but for the one to blame."""
        kept = self.threads.get(number) if number is not None else None
        self.threads.clear()
        if kept is not None and number is not None:
            self.threads[number] = kept


def look(attached: Attached) -> Seen | None:
    """Look at a loop; None when its thread is gone."""
    frames = sys._current_frames()
    frame = frames.get(attached.ident)
    loop = attached.loop()
    if frame is None or loop is None:
        return None
    try:
        task = asyncio.current_task(loop)
    except RuntimeError:
        task = None
    return Seen(
        identity=_identity(frame, task),
        ready=_due(loop),
        stack=rows(frame),
        call=mend.call_at(frame),
        task=task.get_name() if task is not None else None,
        coroutine=_name_of(task.get_coro()) if task is not None else None,
        await_chain=await_chain(task, frame),
        context=_context(task),
        threads=_others(frames, attached.ident),
    )


def _due(loop: asyncio.AbstractEventLoop) -> int | None:
    """Count the callbacks that are due; None where the loop does not say."""
    ready: Any = getattr(loop, "_ready", None)
    if ready is None:
        # uvloop shows its queue to nobody but the garbage collector.
        ready = next((it for it in gc.get_referents(loop) if type(it) is deque), None)
    return len(ready) if ready is not None else None


def rows(frame: FrameType | None) -> list[Row]:
    """Write a stack down, newest frame first."""
    result: list[Row] = []
    while frame is not None and len(result) < DEPTH:
        result.append((frame.f_code.co_filename, frame.f_lineno or 0, frame.f_code.co_name))
        frame = frame.f_back
    return result


def _identity(frame: FrameType | None, task: asyncio.Task[Any] | None) -> int:
    """Tell one callback of the loop from the next: by its handle, else by its task."""
    while frame is not None:
        if _is_step(frame):
            return id(frame.f_locals.get("self"))
        frame = frame.f_back
    return id(task) if task is not None else 0


def await_chain(task: asyncio.Task[Any] | None, frame: FrameType | None) -> tuple[str, ...]:
    """Name the coroutines of the running `task` with their lines, outermost first.

    They are on the stack of its thread, of which `frame` is the newest: a coroutine that runs does
    not say what it awaits. Those who await the task come before them.
    """
    if task is None:
        return ()
    chain: list[str] = []
    while frame is not None and not _is_step(frame) and len(chain) < DEPTH:
        code = frame.f_code
        if code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
            chain.append(f"{code.co_qualname} ({code.co_filename}:{frame.f_lineno})")
        frame = frame.f_back
    return (*_awaiters(task), *reversed(chain))


def _is_step(frame: FrameType) -> bool:
    """Whether it is the loop's own: what lies below is not of this task."""
    code = frame.f_code
    return code.co_name == "_run" and code.co_filename.endswith("events.py")


def _awaiters(task: asyncio.Task[Any]) -> tuple[str, ...]:
    """Those who await the task itself: CPython 3.14 and newer know."""
    capture = getattr(asyncio, "capture_call_graph", None)
    if capture is None:
        return ()
    try:
        graph = capture(task)
    except RuntimeError:  # it has ended meanwhile
        return ()
    names: list[str] = []
    while graph is not None and graph.awaited_by and len(names) < DEPTH:
        graph = graph.awaited_by[0]
        name = graph.future.get_name() if isinstance(graph.future, asyncio.Task) else "future"
        entries = graph.call_stack
        frame = entries[0].frame if entries else None
        where = f" ({frame.f_code.co_filename}:{frame.f_lineno})" if frame is not None else ""
        names.append(f"task {name}{where}")
    return tuple(reversed(names))


def _name_of(coroutine: Any) -> str:
    return getattr(coroutine, "__qualname__", None) or type(coroutine).__qualname__


def _context(task: asyncio.Task[Any] | None) -> dict[str, str]:
    """Context variables of the task, with the types of their values: values may be secret."""
    of_task: Any = getattr(task, "get_context", None)
    if of_task is None:
        return {}
    context = itertools.islice(of_task().items(), DEPTH)
    return {variable.name: type(value).__qualname__ for variable, value in context}


def named(number: int) -> Other | None:
    """Name the thread with this number of the system's, if it lives."""
    threads = (thread for thread in threading.enumerate() if thread.native_id == number)
    return next((Other(thread.name, [], None) for thread in threads), None)


def _others(frames: dict[int, FrameType], own: int) -> dict[int, Other]:
    jobs = {thread: function for function, thread, _, _ in _offloop.running_calls()}
    found = {}
    for thread in threading.enumerate():
        if thread.ident in {own, threading.get_ident()} or thread.native_id is None:
            continue
        if thread.ident is not None and (frame := frames.get(thread.ident)) is not None:
            found[thread.native_id] = Other(thread.name, rows(frame), jobs.get(thread.name))
    return found

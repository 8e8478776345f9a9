"""Finds event loops as they run, and has a watcher watch them; in the loops' own threads.

A loop that runs already is attached by `attach`. Those that will run are noticed by `run_forever`,
which asyncio and uvloop both go through: while a watch is installed, it is wrapped on
`asyncio.BaseEventLoop` and on every other class of loops, those imported later included.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import threading
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from offloop._watch import signals

if TYPE_CHECKING:
    from collections.abc import Callable

    from offloop import _offloop

_keys = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Attached:
    """One loop under watch, and the thread it runs in."""

    key: int
    loop: weakref.ref[asyncio.AbstractEventLoop]
    ident: int
    thread: str
    kind: str


@dataclass(slots=True)
class Loops:
    """The loops of one watcher."""

    watcher: _offloop.Watcher
    sampled: bool = True
    pid: int = field(default_factory=os.getpid)
    attached: dict[int, Attached] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    keys: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[int, int]] = field(
        default_factory=weakref.WeakKeyDictionary
    )
    """Key and thread of loops that were watched: `asyncio.run` runs a loop three times."""

    def attach(self, loop: asyncio.AbstractEventLoop) -> int | None:
        """Watch `loop`, which runs in this thread; gives the key, None if it is watched already."""
        if os.getpid() != self.pid or any(it.loop() is loop for it in [*self.attached.values()]):
            return None
        thread = threading.current_thread()
        key, ident = self.keys.get(loop, (0, 0))
        if ident != threading.get_ident():
            key = next(_keys)
            self.keys[loop] = key, threading.get_ident()
        kind = f"{type(loop).__module__}.{type(loop).__qualname__}"
        attached = Attached(key, weakref.ref(loop), threading.get_ident(), thread.name, kind)
        self.attached[key] = attached
        self.names[key] = f"{kind} in {thread.name}"
        while len(self.names) > 64:  # noqa: PLR2004 - more than are kept of timelines
            self.names.pop(next(iter(self.names)))
        self.watcher.add(
            key,
            threading.get_native_id(),
            _poller(loop),
            signals.prod_this_thread() if self.sampled else None,
            sampled=self.sampled,
        )
        return key

    def detach(self, key: int) -> None:
        """Watch it no longer; in its own thread."""
        if os.getpid() == self.pid:
            self.watcher.remove(key)
            self.attached.pop(key, None)


def _poller(loop: asyncio.AbstractEventLoop) -> int | None:
    """Give the descriptor of the loop's epoll: a thread that waits for it is idle.

    None for loops that use select or poll; -1, which nothing equals, where it cannot be told.
    """
    selector: Any = getattr(loop, "_selector", None)
    backend: Any = getattr(loop, "_get_backend_id", None)  # uvloop
    try:
        if selector is not None:
            return int(selector.fileno()) if hasattr(selector, "fileno") else None
        if backend is not None:
            return int(backend())
    except (OSError, ValueError, TypeError, RuntimeError):
        pass
    return -1


_installed: list[Loops] = []
_wrapped: dict[type, Callable[..., Any]] = {}
_installing = threading.Lock()


def install(loops: Loops) -> None:
    """Watch every loop from the moment it runs."""
    with _installing:
        _installed.append(loops)
        for kind in _kinds_of_loops():
            _wrap(kind)
        if "__init_subclass__" not in vars(asyncio.AbstractEventLoop):
            hook: Any = classmethod(_on_new_kind)
            asyncio.AbstractEventLoop.__init_subclass__ = hook  # type: ignore[method-assign]


def uninstall(loops: Loops) -> None:
    """Undo `install`; what it wrapped is put back with the last one."""
    with _installing:
        if loops in _installed:
            _installed.remove(loops)
        if _installed:
            return
        for kind, original in _wrapped.items():
            kind.run_forever = original  # type: ignore[attr-defined]
        _wrapped.clear()
        if "__init_subclass__" in vars(asyncio.AbstractEventLoop):
            del asyncio.AbstractEventLoop.__init_subclass__


def _kinds_of_loops() -> list[type]:
    found: list[type] = []
    pending: list[type] = [asyncio.AbstractEventLoop]
    while pending:
        kind = pending.pop()
        pending.extend(kind.__subclasses__())
        found.append(kind)
    return found[1:]


def _on_new_kind(kind: type[asyncio.AbstractEventLoop], /, **keywords: Any) -> None:
    super(asyncio.AbstractEventLoop, kind).__init_subclass__(**keywords)
    with _installing:
        if _installed:
            _wrap(kind)


def _wrap(kind: type) -> None:
    """Wrap `run_forever` where `kind` has one of its own, or gets one from a class in C."""
    if kind in _wrapped or any(issubclass(kind, known) for known in _wrapped):
        return
    original = getattr(kind, "run_forever", None)
    if original is None or original is asyncio.AbstractEventLoop.run_forever:
        return

    @functools.wraps(original)
    def run_forever(self: asyncio.AbstractEventLoop) -> None:
        watched = _attach_before_it_runs(self)
        try:
            original(self)
        finally:
            for loops, key in watched:
                loops.detach(key)

    try:
        kind.run_forever = run_forever  # type: ignore[attr-defined]
    except TypeError:  # a class in C, which cannot be changed; its subclasses can
        return
    _wrapped[kind] = original


def _attach_before_it_runs(loop: asyncio.AbstractEventLoop) -> list[tuple[Loops, int]]:
    """Attach `loop`, which is about to run: what its first callback does counts, too."""
    if loop.is_closed() or loop.is_running() or asyncio._get_running_loop() is not None:
        return []  # running it raises
    watched: list[tuple[Loops, int]] = []
    asyncio._set_running_loop(loop)
    try:
        for loops in [*_installed]:
            key = loops.attach(loop)
            if key is not None:
                watched.append((loops, key))
    finally:
        asyncio._set_running_loop(None)
    return watched

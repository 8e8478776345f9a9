"""What happens to offloop when the process forks and when the interpreter ends."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
from typing import TYPE_CHECKING

import offloop._offloop as _offloop  # noqa: PLR0402 - the other form would come back here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXIT_GRACE = 1.0
"""Seconds that running calls get at exit; ``OFFLOOP_EXIT_GRACE`` says otherwise."""

_entering = threading.Lock()
"""Held while Rust has Python start a thread or watch a descriptor; the exit hook waits for it."""

_exiting = False
"""Set by the exit hook under `_entering`."""


_ready = False
"""Set by `make_ready`, for good."""


def make_ready() -> None:
    """Install the hooks and import what Rust will ask for; `from offloop import _offloop` calls it.

    Here and not at first use: a daemon thread that is in the middle of an import, with a Rust
    frame below it, when the interpreter ends would take the process along.
    """
    global _ready  # noqa: PLW0603 - once per process
    if _ready:
        return
    _ready = True
    from offloop import _bridge

    _bridge.prepare()
    install_fork_hook()
    install_exit_hook()


def install_fork_hook() -> None:
    """Have a forked child fail clearly instead of waiting for threads it has not."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork_in_child)


def _after_fork_in_child() -> None:
    global _entering  # noqa: PLW0603 - the old one may be held by a thread of the parent's
    _entering = threading.Lock()
    _offloop.after_fork_in_child()


def install_exit_hook() -> None:
    """Have the pool closed before Python finalises, and no thread started after that."""
    before_exit(_close_pool)


def before_exit(function: Callable[[], object]) -> None:
    """Have `function` called before Python finalises; the latest one first."""
    try:
        # As concurrent.futures does: runs before threads are joined and before atexit handlers.
        threading._register_atexit(function)  # type: ignore[attr-defined]
    except (AttributeError, RuntimeError):
        atexit.register(function)


@contextlib.contextmanager
def entering() -> Iterator[bool]:
    """Guard Python code that Rust calls and that may let go of the GIL; tells whether we exit.

    CPython up to 3.13 unwinds the stack of a daemon thread that wants the GIL back after main has
    ended, and Rust frames do not survive that. So main waits for such code, and a daemon thread
    that comes too late stops here for good, as CPython 3.14 would have it.
    """
    with _entering:
        late = _exiting
        if not (late and threading.current_thread().daemon):
            yield late
            return
    _offloop.park()


def _close_pool() -> None:
    global _exiting  # noqa: PLW0603 - once per process
    with _entering:
        _exiting = True
    for function, thread, seconds, abandoned in _offloop.close_pool(_grace()):
        logging.getLogger("offloop").warning(
            "left %s running at exit: thread %s, for %.1f s%s",
            function,
            thread,
            seconds,
            ", abandoned" if abandoned else "",
        )
    places = sys.modules.get("offloop.pool")
    for pool in list(places.pools) if places is not None else ():
        pool._kill()


def _grace() -> float:
    try:
        return max(0.0, float(os.environ["OFFLOOP_EXIT_GRACE"]))
    except (KeyError, ValueError):
        return EXIT_GRACE

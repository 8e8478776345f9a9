"""What happens to offloop when the process forks and when the interpreter ends."""

from __future__ import annotations

import atexit
import logging
import os
import threading

from offloop import _offloop

EXIT_GRACE = 1.0
"""Seconds that running calls get at exit; ``OFFLOOP_EXIT_GRACE`` says otherwise."""

hiring = threading.Lock()
"""Held while a worker thread is being started; the exit hook waits for it."""

exiting = False
"""Set by the exit hook under `hiring`: no more threads."""


def install_fork_hook() -> None:
    """Have a forked child fail clearly instead of waiting for threads it has not."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_offloop.after_fork_in_child)


def install_exit_hook() -> None:
    """Have the pool closed before Python finalises, and no thread started after that."""
    try:
        # As concurrent.futures does: runs before threads are joined and before atexit handlers.
        threading._register_atexit(_close_pool)  # type: ignore[attr-defined]
    except (AttributeError, RuntimeError):
        atexit.register(_close_pool)


def _close_pool() -> None:
    global exiting  # noqa: PLW0603 - once per process
    with hiring:
        exiting = True
    for function, thread, seconds in _offloop.close_pool(_grace()):
        logging.getLogger("offloop").warning(
            "left %s running at exit: thread %s, for %.1f s", function, thread, seconds
        )


def _grace() -> float:
    try:
        return max(0.0, float(os.environ["OFFLOOP_EXIT_GRACE"]))
    except (KeyError, ValueError):
        return EXIT_GRACE

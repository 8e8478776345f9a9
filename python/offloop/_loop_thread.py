"""A thread with an event loop, for callers that cannot await: one for the process, made at need.

It is a daemon, so that it keeps no program alive, and it is stopped before the interpreter ends,
as the workers of concurrent.futures are, so that no Rust frame is left on a thread that Python
takes away. After a fork the child makes its own.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from offloop import _lifecycle

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Coroutine

_P = ParamSpec("_P")
_T = TypeVar("_T")

_lock = threading.Lock()
_running: _LoopThread | None = None


class _LoopThread:
    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, name="offloop-sync", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        # Somebody may still wait for one of these.
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.loop.close()

    def stop(self) -> None:
        if self.pid == os.getpid() and self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(timeout=1)


def call(
    function: Callable[_P, Coroutine[Any, Any, _T]], /, *args: _P.args, **kwargs: _P.kwargs
) -> _T:
    """Return what awaiting ``function(...)`` gives, in the loop of the thread.

    If the waiting is interrupted, by Ctrl-C for instance, the coroutine is cancelled.
    """
    running = _ensure()
    if threading.current_thread() is running.thread:
        raise RuntimeError("a synchronous call from the loop that would have to serve it")
    future: concurrent.futures.Future[_T] = asyncio.run_coroutine_threadsafe(
        function(*args, **kwargs), running.loop
    )
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def _ensure() -> _LoopThread:
    global _running, _lock  # noqa: PLW0603 - one for the process
    running = _running
    if running is not None and running.pid == os.getpid():
        return running
    if running is not None:
        _lock = threading.Lock()  # the parent's may have been held when it forked
        _running = None
    with _lock:
        if _running is None:
            _running = _LoopThread()
            _lifecycle.before_exit(_running.stop)
        return _running

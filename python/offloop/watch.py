"""What blocks the event loop, and what does not: a watchdog that names the line while it blocks.

A native thread, which needs no GIL, looks at the threads of the loops under watch while they are
at work; an idle loop is never woken. The parts that are Python's are in `offloop._watch`, and are
imported when a watch begins.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from offloop import _offloop
from offloop.exceptions import ForkedProcessError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from offloop._watch.findings import Findings
    from offloop._watch.stall import Stall
    from offloop._watch.stats import HealthStats

__all__ = ["Health", "watch"]

_running: set[Health] = set()
"""Those that have not been stopped; nobody else may hold what `watch.install` gave."""
_lock = threading.Lock()
_exit_hook = False


class Health:
    """What a watch has found so far; given by `watch`.

    Thread safety: may be used from any thread.
    """

    def __init__(  # noqa: PLR0913 - users meet `watch`
        self,
        threshold: float,
        on_stall: Callable[[Stall], object] | None,
        signal: int | str | None,
        *,
        aloud: bool = False,
        sampled: bool = True,
        logs: bool = True,
    ) -> None:
        from offloop._watch import helper, loops, places, signals

        dumps = signals.prepare(signal) if sampled else None
        self.threshold = threshold
        """Seconds that a loop may take to come round."""
        self._pid = os.getpid()
        libraries = list(places.libraries())
        self._watcher = _offloop.Watcher(threshold, libraries, dumps, aloud=aloud)
        self._clock = time.time() - _offloop.watch_clock() / 1e9
        self._loops = loops.Loops(self._watcher, sampled=sampled)
        self._helper = helper.Helper(self._watcher, self._loops, self._clock, on_stall)
        self._helper.logs = logs
        self._origin = _offloop.watch_clock()
        self._ended: int | None = None
        self._installed = False
        _count_garbage(self)
        self._helper.start()

    @property
    def stalls(self) -> list[Stall]:
        """The stalls found, oldest first: at most 500, the newest."""
        return list(self._helper.stalls)

    def stats(self) -> HealthStats:
        """Return what has been counted so far: utilisation, lags, stalls, Jobs by kind.

        It takes some milliseconds at most, and may be asked for at any time, also after the end.

        Raises ForkedProcessError in a child that was forked meanwhile.
        """
        from offloop._watch import stats

        self._check_process()
        return stats.of(self._watcher.report(), self._loops.names, self._helper.blocked)

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write down what was found, in the format that the file's name ends in; give its path.

        - ``.html``: one page with a timeline (loops, stalls, Jobs by pool, fetches, files), which
          needs nothing from elsewhere.
        - ``.json``: a trace for Perfetto or chrome://tracing.
        - ``.jsonl``: one line of JSON for each stall.
        - ``.sarif``: SARIF 2.1.0, one result for each line that blocked.

        The file is replaced as a whole or not at all. It may be written while the watch goes on,
        and blocks for as long as that takes: in a coroutine,
        ``await offloop.run(health.report, "loop.html")``.

        Raises ValueError for another ending, OSError where the file cannot be written, and
        ForkedProcessError in a child that was forked meanwhile.
        """
        from offloop._watch import export

        self._check_process()
        suffix = Path(path).suffix.lower()
        if suffix == ".jsonl":
            text = export.lines(self.stalls)
        elif suffix == ".sarif":
            text = export.sarif(self._findings())
        elif suffix == ".json":
            text = export.trace(self._findings())
        elif suffix in {".html", ".htm"}:
            from offloop._watch import page

            text = page.of(self._findings())
        else:
            raise ValueError("a report ends in .html, .json, .jsonl or .sarif")
        return export.write(path, text)

    def _findings(self) -> Findings:
        import importlib.metadata

        from offloop._watch import findings, stats

        report = self._watcher.report()
        names = dict(self._loops.names)
        return findings.Findings(
            program=Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python",
            pid=self._pid,
            version=importlib.metadata.version("offloop"),
            threshold=self.threshold,
            began=self._clock + self._origin / 1e9,
            origin=self._origin,
            now=self._ended or _offloop.watch_clock(),
            report=report,
            stats=stats.of(report, names, self._helper.blocked),
            names=names,
            stalls=tuple(self._helper.stalls),
        )

    def stop(self) -> None:
        """End the watch. What it has found stays; idempotent."""
        if os.getpid() != self._pid:
            return  # a forked child: the watch is its parent's
        from offloop._watch import loops

        if self._installed:
            loops.uninstall(self._loops)
            self._installed = False
        for key in [*self._loops.attached]:
            self._loops.detach(key)
        self._watcher.stop()
        self._helper.stop()
        self._ended = self._ended or _offloop.watch_clock()
        _count_garbage_no_more(self)

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise ForkedProcessError("this watch belongs to the process that was forked")

    def _attach_or_install(self) -> int | None:
        from offloop._watch import loops

        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            loops.install(self._loops)
            self._installed = True
            return None
        return self._loops.attach(running)


class watch:  # noqa: N801 - it reads as the verb it is: with offloop.watch() as health
    """Watch event loops, and name the line that blocks one while it blocks.

    Used in a coroutine, it watches the loop that runs; used outside of one, every loop that is run
    inside the ``with`` block, in any thread. `watch.install` does so until the process ends.

    `threshold` is how long, in seconds, a loop may take to come round. `on_stall` is called with
    each `Stall`, in a thread of the watchdog's, as soon as Python can run, mostly while the loop is
    still blocked. `signal` is the signal by which a blocked thread is made to write its stack: a
    number or a name, ``"none"`` for none; by default a real-time signal that nobody uses, or what
    ``OFFLOOP_WATCH_SIGNAL`` says.

    Each stall is logged as one WARNING by the logger ``offloop.watch``, one line of code at most
    once in ten seconds.

    Raises ValueError for a threshold that is not positive, and for a signal that is in use.

    Thread safety: each `watch` is used by one thread; several may be active at once.

    >>> with watch(threshold=0.1) as health:
    ...     await asyncio.sleep(0)
    >>> health.stalls
    []
    """

    def __init__(
        self,
        threshold: float = 0.1,
        on_stall: Callable[[Stall], object] | None = None,
        *,
        signal: int | str | None = None,
    ) -> None:
        self._options = (threshold, on_stall, signal)
        self._health: Health | None = None

    def __enter__(self) -> Health:
        if self._health is not None:
            raise RuntimeError("a watch is entered once")
        self._health = Health(*self._options)
        self._health._attach_or_install()
        return self._health

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        if self._health is not None:
            self._health.stop()

    async def __aenter__(self) -> Health:
        return self.__enter__()

    async def __aexit__(self, *exception: object) -> None:
        self.__exit__(None, None, None)

    @staticmethod
    def install(
        threshold: float = 0.1,
        on_stall: Callable[[Stall], object] | None = None,
        *,
        signal: int | str | None = None,
        aloud: bool = False,
    ) -> Health:
        """Watch every loop of the process from now on, and the one that runs, if any.

        The parameters are those of `watch`. `aloud` has the native thread write a line to stderr
        where Python cannot log for 50 ms, because native code holds the GIL. `Health.stop` ends it.
        """
        health = Health(threshold, on_stall, signal, aloud=aloud)
        if health._attach_or_install() is not None:
            from offloop._watch import loops

            loops.install(health._loops)
            health._installed = True
        return health


def _count_garbage(health: Health) -> None:
    """Have the collector's time taken while there is a watch, and watches end before Python."""
    global _exit_hook  # noqa: PLW0603 - once per process
    import gc

    with _lock:
        if not _running:
            _offloop.note_garbage("stop", {})
            gc.callbacks.append(_offloop.note_garbage)
        _running.add(health)
        if not _exit_hook:
            _exit_hook = True
            # After the threads that are no daemons have been waited for: their loops are watched.
            atexit.register(_stop_all)


def _count_garbage_no_more(health: Health) -> None:
    import gc

    with _lock:
        _running.discard(health)
        if not _running and _offloop.note_garbage in gc.callbacks:
            gc.callbacks.remove(_offloop.note_garbage)


def running_stats() -> HealthStats | None:
    """Return what the oldest watch of this process that runs has counted; None without one."""
    with _lock:
        own = [health for health in _running if health._pid == os.getpid()]
    return min(own, key=lambda health: health._origin).stats() if own else None


def _stop_all() -> None:
    """End all watches, so that no thread of theirs wants the GIL when the interpreter goes."""
    for health in [*_running]:
        health.stop()

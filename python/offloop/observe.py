"""What the whole process has done through offloop: `stats`, and its text for Prometheus.

Nothing is collected for it: clients and pools count anyway, and are asked when `stats` is called.
It runs in the caller's thread, takes some microseconds, and waits for nobody.
"""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from offloop import _lifecycle, _offloop

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_GAUGES = {"in_flight", "queued", "connections", "idle", "clients", "running", "limit", "workers"}
"""What goes up and down; the others are counters, and only go up."""

_CLIENT_HELP = {
    "abandoned_lookups": "Look-ups of host names that nobody waits for any more.",
    "bytes_decoded": "Bytes of response bodies when decoded.",
    "bytes_received": "Bytes of response bodies on the wire.",
    "bytes_sent": "Bytes of request bodies.",
    "clients": "Clients there are.",
    "connections": "Connections that are open.",
    "failed": "Requests that failed.",
    "http2": "Exchanges over HTTP/2.",
    "idle": "HTTP/1 connections kept for later.",
    "in_flight": "Requests under way.",
    "opened": "Connections made.",
    "queued": "Requests that wait for a connection.",
    "redirected": "Redirects followed.",
    "replayed": "Requests sent again because their connection had gone stale.",
    "requests": "Requests begun.",
    "retried": "Tries again after a failure or a status.",
    "reused": "Exchanges on a connection that had served before.",
}


_LOOP_HELP = {
    "blocked_seconds": "Seconds in stalls that are over.",
    "busy_seconds": "Seconds at work.",
    "longest_lag_seconds": "The longest that a loop at work took to come round.",
    "stalls": "Stalls found.",
    "watched_seconds": "Seconds under watch.",
}


@dataclass(frozen=True, kw_only=True)
class Stats:
    """What `stats` gives.

    Attributes (all readable)
        fetch: counts of all clients together, those that are gone included; the names are those of
            `Client.stats`, and ``clients``, how many there are.
        pools: by name, the numbers of each pool there is, as its `stats` says them.
        loops: while `offloop.watch` runs, all its loops together: ``watched_seconds`` and, of
            these, ``busy_seconds``; ``stalls``, ``blocked_seconds``, ``longest_lag_seconds``. Empty
            without one; those of the oldest if there are several.
        threads: threads of this process that offloop started, as far as Python knows them.
        pid: the process.
    """

    fetch: Mapping[str, int]
    pools: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    loops: Mapping[str, float] = field(default_factory=dict)
    threads: int = 0
    pid: int = 0

    def prometheus(self) -> str:
        """Return it in Prometheus's text format, version 0.0.4, to be served at ``/metrics``.

        >>> "offloop_fetch_requests_total" in stats().prometheus()
        True
        """
        return "\n".join([*self._lines(), ""])

    def _lines(self) -> Iterator[str]:
        for name, value in sorted(self.fetch.items()):
            full = _metric("fetch", name)
            yield from _declared(full, _CLIENT_HELP.get(name, name), name)
            yield f"{full} {value}"
        names = sorted({name for numbers in self.pools.values() for name in numbers})
        for name in names:
            full = _metric("pool", name)
            yield from _declared(full, f"Of each pool: {name.replace('_', ' ')}.", name)
            for pool, numbers in sorted(self.pools.items()):
                if name in numbers:
                    yield f'{full}{{pool="{_escaped(pool)}"}} {numbers[name]}'
        for name, number in sorted(self.loops.items()):
            counted = name != "longest_lag_seconds"
            full = f"offloop_loop_{name}{'_total' if counted else ''}"
            yield from _declared(full, _LOOP_HELP[name], name)
            yield f"{full} {number}"
        yield from _declared("offloop_threads", "Threads that offloop started.", "running")
        yield f"offloop_threads {self.threads}"


def stats() -> Stats:
    """Return what clients and pools of this process have done so far, and what they do now.

    Raises ForkedProcessError in a child that was forked while offloop was in use.

    Thread safety: may be called from any thread.

    >>> stats().fetch["requests"] >= 0
    True
    """
    return Stats(
        fetch=_offloop.fetch_stats(),
        pools=dict(_pools()),
        loops=_loops(),
        threads=sum(thread.name.startswith("offloop") for thread in threading.enumerate()),
        pid=os.getpid(),
    )


def _pools() -> Iterator[tuple[str, Mapping[str, float]]]:
    # Where there is a pool its module has been imported; there is no need to import it for none.
    module: Any = sys.modules.get("offloop.pool")
    for pool in list(getattr(module, "pools", ())):
        given = pool.stats()
        known = given if isinstance(given, dict) else vars(given)
        numbers = {
            name: value
            for name, value in known.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool)
        }
        yield str(pool.name), numbers


def _loops() -> Mapping[str, float]:
    # As with pools: without the module nothing is watched.
    module: Any = sys.modules.get("offloop.watch")
    numbers = module.running_stats() if module else None
    if numbers is None:
        return {}
    return {
        "blocked_seconds": numbers.blocked,
        "busy_seconds": numbers.busy,
        "longest_lag_seconds": numbers.longest_lag,
        "stalls": numbers.stalls,
        "watched_seconds": numbers.watched,
    }


def _metric(area: str, name: str) -> str:
    if name in _GAUGES or name.endswith("_seconds"):
        return f"offloop_{area}_{name}"
    return f"offloop_{area}_{name}_total"


def _declared(full: str, text: str, name: str) -> tuple[str, str]:
    kind = "counter" if full.endswith("_total") and name not in _GAUGES else "gauge"
    return f"# HELP {full} {text}", f"# TYPE {full} {kind}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


_lifecycle.make_ready()

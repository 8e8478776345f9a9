"""`Findings`: all that a report of a watch is made of, taken at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from offloop._watch.facts import WatchReport
    from offloop._watch.stall import Stall
    from offloop._watch.stats import HealthStats


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Times of `report` and `now` are nanoseconds of `_offloop.watch_clock`."""

    program: str
    """The script, for people."""
    pid: int
    version: str
    """Of offloop."""
    threshold: float
    began: float
    """When the watch began, in Unix time."""
    origin: int
    """The same moment on the clock of the records."""
    now: int
    report: WatchReport
    stats: HealthStats
    names: Mapping[int, str]
    """Loops by key."""
    stalls: tuple[Stall, ...]

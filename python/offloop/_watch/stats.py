"""`HealthStats`: what a watch has counted so far, in seconds and as shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from offloop._watch.facts import WatchReport


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many times were at most so long; the bounds double."""

    bounds: tuple[float, ...]
    """Upper bounds in seconds; the last is infinite."""
    counts: tuple[int, ...]
    """How many were above the bound before, and at most this one."""

    @property
    def total(self) -> int:
        """How many there are."""
        return sum(self.counts)

    def quantile(self, share: float) -> float:
        """Return the bound below which `share` of them are; 0.0 when there are none.

        Raises ValueError unless `share` is from 0 to 1.
        """
        if not 0 <= share <= 1:
            raise ValueError("a share is from 0 to 1")
        wanted, seen = share * self.total, 0
        for bound, count in zip(self.bounds, self.counts, strict=True):
            seen += count
            if count and seen >= wanted:
                return bound
        return 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopStats:
    """One loop."""

    name: str
    """Its class and thread."""
    watched: float
    """Seconds under watch."""
    busy: float
    """Seconds at work, out of these."""

    @property
    def utilisation(self) -> float:
        """The share of time at work, from 0 to 1."""
        return self.busy / self.watched if self.watched else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class LaneStats:
    """Jobs of one kind that came home while the watch ran."""

    done: int
    """With a result."""
    failed: int
    """With an exception."""
    cancelled: int
    """Cancelled."""
    under_way: float
    """Seconds that they took together, queues left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthStats:
    """What a watch has counted so far. Times are seconds; sums are over all loops.

    It takes no more memory for a day than for an hour.
    """

    watched: float
    """Under watch."""
    busy: float
    """At work, out of these."""
    stalls: int
    """Stalls found; `Health.stalls` keeps the newest."""
    blocked: float
    """In stalls that are over."""
    paused: float
    """In which the whole process did not run, and nobody is to blame."""
    questions: int
    """How often a loop at work was asked whether it comes round: that wakes it once. An idle one
    is not asked, and one that is seen to come round ten times a second."""
    lag: Histogram
    """How long the answers took."""
    longest_lag: float
    """The longest of them."""
    loops: tuple[LoopStats, ...] = ()
    """The newest loops, at most 32."""
    jobs: Mapping[str, LaneStats] = field(default_factory=dict)
    """Jobs by kind: ``fetch``, ``files``, and the names of pools."""

    @property
    def utilisation(self) -> float:
        """The share of time at work, from 0 to 1."""
        return self.busy / self.watched if self.watched else 0.0


def of(report: WatchReport, names: Mapping[int, str], blocked: float) -> HealthStats:
    """Make them of what the native thread has counted."""
    return HealthStats(
        watched=report["watched"] / 1e9,
        busy=report["busy"] / 1e9,
        stalls=report["stalls_found"],
        blocked=blocked,
        paused=report["paused"] / 1e9,
        questions=report["questions"],
        lag=_histogram(report["lag"]),
        longest_lag=report["longest_lag"] / 1e9,
        loops=tuple(
            LoopStats(
                name=names.get(key, "loop"),
                watched=watched / 1e9,
                busy=sum(busy) / 1e9,
            )
            for key, _, watched, _, busy in report["loops"]
        ),
        jobs={
            name: LaneStats(
                done=count - failed - cancelled,
                failed=failed,
                cancelled=cancelled,
                under_way=sum(under_way) / 1e9,
            )
            for name, count, failed, cancelled, _, _, under_way in report["lanes"]
        },
    )


def _histogram(counts: Sequence[int]) -> Histogram:
    bounds = (*(2**power / 1e6 for power in range(len(counts) - 1)), float("inf"))
    return Histogram(bounds, tuple(counts))

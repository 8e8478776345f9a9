"""Stalls by the place that blocked: what is worth mending first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from offloop._watch.stall import Stall


@dataclass(slots=True)
class Place:
    """One line that blocked, for one cause."""

    file: str | None
    line: int | None
    cause: str
    worst: Stall
    """The longest of its stalls."""
    count: int = 0
    total: float = 0.0
    """Seconds, all together."""

    @property
    def longest(self) -> float:
        """Seconds of the longest."""
        return self.worst.duration


def places(stalls: Iterable[Stall]) -> list[Place]:
    """Sum stalls up by file, line and cause; what took most time first."""
    found: dict[tuple[str | None, int | None, str], Place] = {}
    for stall in stalls:
        key = (stall.file, stall.line, stall.cause)
        place = found.setdefault(key, Place(*key, worst=stall))
        place.count += 1
        place.total += stall.duration
        if stall.duration > place.worst.duration:
            place.worst = stall
    return sorted(found.values(), key=lambda place: -place.total)

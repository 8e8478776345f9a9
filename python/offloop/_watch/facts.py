"""What `_offloop.Watcher.report` gives. Times are nanoseconds of `_offloop.watch_clock`."""

from __future__ import annotations

from typing import TypedDict


class WatchReport(TypedDict):
    """What a watch has kept."""

    watched: int
    busy: int
    questions: int
    stalls_found: int
    paused: int
    lag: list[int]
    """How many answers came within 2ⁿ µs."""
    longest_lag: int
    pauses: list[tuple[int, int]]
    """When each was over, and how long it was."""
    loops: list[tuple[int, int, int, int, list[int]]]
    """Key, beginning, how long it was watched, width of a piece, and how long the loop was at work
    in each piece."""
    lanes: list[tuple[str, int, int, int, int, int, list[int]]]
    """Jobs by kind: name, how many came home, how many of them failed and were cancelled; then
    beginning, width of a piece, and how long they were under way together in each piece."""
    jobs: list[tuple[int, str, int, int, int, int, str, int]]
    """The newest Jobs: lane, title, when started, taken up, done and back in the loop, how it
    ended, and the number of the worker."""

"""The timeline of the page: one drawing in SVG for each loop and each lane of Jobs.

The x of every drawing is milliseconds since the watch began; all have the same, so that they can
be zoomed together. Numbers are bounded: 4,096 pieces of each area, and the newest Jobs.
"""

from __future__ import annotations

import itertools
from html import escape
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from offloop._watch.findings import Findings

JOBS = 5000
"""Jobs that are drawn one by one, the newest."""
ROWS = 8
"""Rows in which overlapping Jobs of a lane are drawn; what finds no room is in the area alone."""
LOOP_HEIGHT = 56
AREA_HEIGHT = 34
ROW_HEIGHT = 9


def length(seconds: float) -> str:
    """Say a time with three digits at most."""
    if seconds <= 0:
        return "0 s"
    for unit, size in (("µs", 1e-6), ("ms", 1e-3)):
        if seconds < size * 999.5:
            return f"{seconds / size:.3g} {unit}"
    if seconds < 100:  # noqa: PLR2004 - from then on in minutes
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def short(file: str | None) -> str:
    """Name a file by its last two parts."""
    return "/".join(PurePath(file).parts[-2:]) if file else ""


def timeline(found: Findings) -> Iterator[str]:
    """Draw everything there is over time."""
    whole = max((found.now - found.origin) / 1e6, 1.0)
    yield f"<section id='timeline' data-whole='{whole:.3f}'><h2>Timeline</h2>\n"
    yield "<p class='tools' hidden><button data-zoom='0.5' title='nearer (+)'>+</button>"
    yield "<button data-zoom='2' title='farther (-)'> - </button>"
    yield "<button data-zoom='0' title='all of it (0)'>all</button> "
    yield "<span>wheel zooms, dragging moves, a click on a stall opens it</span></p>\n"
    yield "<p class='legend'><i class='busy'></i>at work <i class='stall'></i>stalled "
    yield "<i class='pause'></i>process did not run <i class='area'></i>Jobs under way "
    yield "<i class='queued'></i>in a queue <i class='job'></i>running "
    yield "<i class='waits'></i>done, waits for the loop <i class='failed'></i>failed</p>\n"
    yield "<div class='rows'>\n<div class='axis'><b></b><div class='ticks'>"
    for share in range(0, 100, 10):
        text = length(whole * share / 1e5) if share else "0"
        yield f"<span style='left:{share}%'>{text}</span>"
    yield "</div></div>\n"
    for key, began, watched, width, busy in found.report["loops"]:
        name = found.names.get(key, "loop")
        kind, _, thread = name.rpartition(" in ")
        at_work = f"{sum(busy) / watched:.1%} at work" if watched else ""
        yield _label(kind.partition(".")[0] or "loop", f"{thread} · {at_work}", name)
        yield _open(whole, LOOP_HEIGHT)
        pieces = (spent / width for spent in busy)
        yield _area("busy", pieces, LOOP_HEIGHT, (began - found.origin) / 1e6, width / 1e6)
        yield from _pauses(found)
        yield from _stalls(found, key)
        yield "</svg></div>\n"
    yield from _lanes(found, whole)
    yield "</div></section>\n"


def _label(name: str, detail: str, title: str) -> str:
    return (
        f"<div class='lane'><b title='{escape(title)}'>{escape(name)}"
        f"<small>{escape(detail)}</small></b>"
    )


def _open(whole: float, height: float) -> str:
    return (
        f"<svg viewBox='0 0 {whole:.3f} {height}' height='{height}' preserveAspectRatio='none'"
        " role='img'>"
    )


def _area(name: str, values: Iterator[float], height: float, began: float, width: float) -> str:
    """Draw steps; values are from 0 to 1."""
    steps = []
    at = began
    for value, run in itertools.groupby(values, lambda value: round(min(value, 1.0), 3)):
        end = at + width * sum(1 for _ in run)
        if value:
            top = height - value * (height - 3)
            steps.append(f"M{at:.6g} {height}V{top:.1f}H{end:.6g}V{height}z")
        at = end
    return f"<path class='{name}' d='{''.join(steps)}'/>"


def _pauses(found: Findings) -> Iterator[str]:
    for ended, lasted in found.report["pauses"]:
        at, size = (ended - lasted - found.origin) / 1e6, lasted / 1e6
        yield f"<rect class='pause' x='{at:.3f}' y='0' width='{size:.3f}' height='{LOOP_HEIGHT}'>"
        yield f"<title>the process did not run for {length(lasted / 1e9)}</title></rect>"


def _stalls(found: Findings, key: int) -> Iterator[str]:
    for stall in found.stalls:
        record = stall._record
        if record.key != key:
            continue
        at = (record.began - found.origin) / 1e6
        size = max(((record.ended or found.now) - record.began) / 1e6, 0.001)
        text = f"{length(stall.duration)}: {stall.code or stall.reason}\n{stall.reason}"
        if stall.frame:
            text += f"\n{stall.frame}"
        if stall.mend:
            text += f"\n→ {stall.mend.code}"
        yield f"<rect class='stall' data-stall='{stall.number}' x='{at:.3f}' y='0' "
        yield f"width='{size:.3f}' height='{LOOP_HEIGHT}'><title>{escape(text)}</title></rect>"


def _lanes(found: Findings, whole: float) -> Iterator[str]:
    newest: dict[int, list[tuple[str, float, float, float, float, str]]] = {}
    for lane, title, *times, end, _worker in found.report["jobs"][-JOBS:]:
        at = [(moment - found.origin) / 1e6 for moment in times]
        newest.setdefault(lane, []).append((title, at[0], at[1], at[2], at[3], end))
    for number, lane_facts in enumerate(found.report["lanes"]):
        name, count, failed, _, began, width, under_way = lane_facts
        most = max((spent / width for spent in under_way), default=0.0)
        jobs = newest.get(number, [])
        rows = _rows(jobs)
        used = max((row for row, _ in rows), default=-1) + 1
        height = AREA_HEIGHT + 2 + used * ROW_HEIGHT
        detail = f"{count:,} Jobs · {most:.3g} at once" + (f" · {failed:,} failed" * bool(failed))
        yield _label(name, detail, f"the newest {len(jobs):,} one by one")
        yield _open(whole, height)
        scale = max(most, 1.0)
        pieces = (spent / width / scale for spent in under_way)
        yield _area("area", pieces, AREA_HEIGHT, (began - found.origin) / 1e6, width / 1e6)
        for row, job in rows:
            yield from _job(job, AREA_HEIGHT + 2 + row * ROW_HEIGHT)
        yield "</svg></div>\n"


def _rows(
    jobs: Sequence[tuple[str, float, float, float, float, str]],
) -> list[tuple[int, tuple[str, float, float, float, float, str]]]:
    """Give each Job the first row that is free when it starts."""
    free = [float("-inf")] * ROWS
    placed = []
    for job in sorted(jobs, key=lambda job: job[1]):
        row = next((row for row, until in enumerate(free) if until <= job[1]), None)
        if row is not None:
            free[row] = job[4]
            placed.append((row, job))
    return placed


def _job(job: tuple[str, float, float, float, float, str], top: float) -> Iterator[str]:
    title, started, began, done, landed, end = job
    text = f"{title}\n{length((done - began) / 1e3)}, {end}"
    if began - started > 0.1:  # noqa: PLR2004 - below, it says nothing
        text += f"\nqueued {length((began - started) / 1e3)}"
    if landed - done > 1:
        text += f"\nwaited {length((landed - done) / 1e3)} for the loop"
    yield f"<g><title>{escape(text)}</title>"
    for name, one, other in (("queued", started, began), ("waits", done, landed)):
        if other - one > 0.1:  # noqa: PLR2004 - as above
            yield f"<rect class='{name}' x='{one:.3f}' y='{top + 2}' width='{other - one:.3f}' "
            yield f"height='{ROW_HEIGHT - 6}'/>"
    kind = "job" if end == "done" else escape(end)
    yield f"<rect class='{kind}' x='{began:.3f}' y='{top}' width='{max(done - began, 0.001):.3f}' "
    yield f"height='{ROW_HEIGHT - 2}'/></g>"

"""The page of `Health.report("loop.html")`: a timeline, what blocks, and every stall, in one file.

All of it is HTML and SVG that can be read without JavaScript; `page.js` only moves the view boxes
of the drawings, which is what zooming is. Nothing is loaded from elsewhere, and the page's own
policy (CSP) runs no script but that one, whatever a file name or a title may hold.
"""

from __future__ import annotations

import base64
import hashlib
import time
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from offloop._watch import drawing
from offloop._watch.summary import places

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from offloop._watch.findings import Findings
    from offloop._watch.stall import Stall

STALLS = 200
"""Stalls that are told in full, the newest."""
PLACES = 100

_HERE = Path(__file__).parent


def of(found: Findings) -> str:
    """Make the page."""
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    title = escape(f"{found.program}: event loop health")
    return "".join(
        (
            "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n",
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n',
            "<meta name='viewport' content='width=device-width, initial-scale=1'>\n",
            "<meta name='color-scheme' content='light dark'>\n",
            f"<title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n",
            *_head(found),
            *_cards(found),
            *drawing.timeline(found),
            *_places(found),
            *_lag(found),
            *_jobs(found),
            *_stalls(found),
            *_foot(found),
            f"<script>{script}</script>\n</body>\n</html>\n",
        )
    )


def _head(found: Findings) -> Iterator[str]:
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found.began))
    length = drawing.length((found.now - found.origin) / 1e9)
    yield f"<header><h1>{escape(found.program)}</h1>\n<p>"
    yield f"watched for {length} from {began}, pid {found.pid}, "
    yield f"threshold {found.threshold * 1e3:g} ms</p></header>\n"


def _foot(found: Findings) -> Iterator[str]:
    yield f"<footer>offloop {escape(found.version)}, <code>health.report()</code>. "
    yield "Busy and idle are sampled every 10 ms; lanes show Jobs that have come home.</footer>\n"


def _cards(found: Findings) -> Iterator[str]:
    stats = found.stats
    longest = max((stall.duration for stall in found.stalls), default=0.0)
    cards = [
        ("stalls", f"{stats.stalls}", "bad" if stats.stalls else "good"),
        ("blocked in all", drawing.length(stats.blocked), "bad" if stats.stalls else "good"),
        ("longest stall", drawing.length(longest), "bad" if stats.stalls else "good"),
        ("loop at work", f"{stats.utilisation:.1%}", ""),
        ("lag, 99 of 100 below", drawing.length(stats.lag.quantile(0.99)), ""),
        ("Jobs that came home", f"{sum(_all(lane) for lane in stats.jobs.values()):,}", ""),
    ]
    if stats.paused:
        cards.append(("process did not run", drawing.length(stats.paused), ""))
    yield "<section class='cards'>\n"
    for name, value, mood in cards:
        yield f"<div class='card {mood}'><b>{escape(value)}</b><span>{name}</span></div>\n"
    yield "</section>\n"


def _all(lane: object) -> int:
    return sum(getattr(lane, name) for name in ("done", "failed", "cancelled"))


def _places(found: Findings) -> Iterator[str]:
    yield "<section><h2>What blocks</h2>\n"
    rows = places(found.stalls)
    if not rows:
        yield "<p class='good'>Nothing has: no loop was blocked for longer than the threshold.</p>"
        yield "</section>\n"
        return
    most = rows[0].total or 1.0
    yield "<table><thead><tr><th>total<th>longest<th>times<th>where<th>instead</tr></thead>\n"
    yield "<tbody>\n"
    for place in rows[:PLACES]:
        worst = place.worst
        share = place.total / most * 100
        where = f"{drawing.short(place.file)}:{place.line}" if place.file else "?"
        yield f"<tr><td class='n total'><i style='width:{share:.0f}%'></i>"
        yield f"{drawing.length(place.total)}<td class='n'>{drawing.length(place.longest)}"
        yield f"<td class='n'>{place.count}<td><code>{escape(worst.code)}</code>"
        yield f"<small title='{escape(place.file or '')}'>{escape(where)}"
        yield f"{_in(worst)} · {escape(worst.reason)}"
        mend = f"<code>{escape(worst.mend.code)}</code>" if worst.mend else ""
        yield f"</small><td>{mend}</tr>\n"
    yield "</tbody></table>\n"
    if len(rows) > PLACES:
        yield f"<p>and {len(rows) - PLACES} more</p>\n"
    yield "</section>\n"


def _in(stall: Stall) -> str:
    return f" in {escape(stall.function)}" if stall.function else ""


def _lag(found: Findings) -> Iterator[str]:
    lag = found.stats.lag
    if not lag.total:
        return
    filled = [index for index, count in enumerate(lag.counts) if count]
    first, last = max(min(filled) - 1, 0), max(filled) + 1
    most = max(lag.counts)
    yield "<section><h2>How long a busy loop took to come round</h2>\n<div class='bars'>\n"
    pairs = list(zip(lag.bounds, lag.counts, strict=True))[first:last]
    for bound, count in pairs:
        height = max(100 * count / most, 1.5 if count else 0)
        late = " late" if bound > found.threshold else ""
        name = drawing.length(bound) if bound != float("inf") else "more"
        yield f"<div class='bar{late}' title='{count:,} below {name}'><s>{count or ''}</s>"
        yield f"<i style='height:{height:.1f}px'></i><span>{name}</span></div>\n"
    yield "</div></section>\n"


def _jobs(found: Findings) -> Iterator[str]:
    if not found.stats.jobs:
        return
    yield "<section><h2>Jobs</h2>\n<table><thead><tr><th>lane<th>done<th>failed<th>cancelled"
    yield "<th>under way, all together</tr></thead><tbody>\n"
    for name, lane in found.stats.jobs.items():
        yield f"<tr><td>{escape(name)}<td class='n'>{lane.done:,}<td class='n'>{lane.failed:,}"
        yield f"<td class='n'>{lane.cancelled:,}"
        yield f"<td class='n'>{drawing.length(lane.under_way)}</tr>\n"
    yield "</tbody></table></section>\n"


def _stalls(found: Findings) -> Iterator[str]:
    if not found.stalls:
        return
    yield "<section><h2>Stalls, newest first</h2>\n"
    for stall in list(found.stalls)[: -STALLS - 1 : -1]:
        yield from _stall(stall, found)
    if len(found.stalls) > STALLS:
        yield f"<p>and {len(found.stalls) - STALLS} older ones</p>"
    yield "</section>\n"


def _stall(stall: Stall, found: Findings) -> Iterator[str]:
    record = stall._record
    at = (record.began - found.origin) / 1e6
    until = ((record.ended or found.now) - found.origin) / 1e6
    where = f"{drawing.short(stall.file)}:{stall.line}" if stall.file else "?"
    yield f"<details id='stall-{stall.number}' data-from='{at:.3f}' data-to='{until:.3f}'><summary>"
    yield f"<b class='n'>{drawing.length(stall.duration)}</b> "
    yield f"<span class='at'>at {drawing.length(at / 1e3)}</span> "
    yield f"<code>{escape(stall.code or stall.reason)}</code> <small>{escape(where)}</small>"
    yield "</summary>\n<dl>"
    facts: list[tuple[str, str | None]] = [
        ("cause", stall.reason),
        ("instead", stall.mend.code if stall.mend else None),
        ("loop", stall.loop),
        ("task", stall.task),
        ("awaited by", " → ".join(stall.await_chain) or None),
        ("context", ", ".join(f"{name}: {kind}" for name, kind in stall.context.items()) or None),
    ]
    for name, value in facts:
        if value:
            yield f"<dt>{name}<dd>{escape(value)}"
    yield "</dl>\n<ol class='stack'>\n"
    yield from _frames(stall)
    yield "</ol></details>\n"


def _frames(stall: Stall) -> Iterable[str]:
    blamed = stall.frame
    for frame in stall.stack:
        mark = " class='own'" if frame == blamed else ""
        yield f"<li{mark}><span>{escape(frame.function)}</span> "
        yield f"<small>{escape(frame.file)}:{frame.line}</small></li>\n"

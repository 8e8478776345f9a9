"""The stories ``offloop demo`` tells. Each runs on the loop, measures itself and gives one `Row`.

Two of them do it wrong on purpose, by blocking the loop, so that the difference can be seen.
A row is right when the results are right and the time is of the kind its title promises.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
import urllib.error
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import offloop
from offloop.demo.blocking import holds, read, save
from offloop.demo.heartbeat import Heartbeat
from offloop.demo.server import LATENCY, page

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

FEW = range(3)
MANY = range(1000)

BLOCKED = 0.5
"""Seconds the blocking call takes."""
FROZEN = 0.45
"""Seconds between two ticks that show a loop which stood still meanwhile, ..."""
ALIVE = 0.2
"""... and which a loop that goes on stays below, even on a busy machine."""
EARLY = 0.9
"""Share of a wait after which a coarse system clock may call it over."""

# Titles and remarks are short: the table has to fit a terminal of 80 columns.
PAGES_IN_TURN = "3 pages in turn, urllib"
PAGES_TOGETHER = "3 together, offloop.fetch"
PAGES_BY_THE_THOUSAND = "1,000 together, one Client"
CALL_ON_THE_LOOP = "blocking call on the loop"
CALL_OFFLOADED = "the same by offloop.run"
DOWNLOADS = "3 downloads, one fails"


@dataclass(frozen=True, slots=True)
class Row:
    """How a story ended: what it was, seconds it took, what to notice, whether it is right."""

    title: str
    seconds: float
    remark: str
    ok: bool


async def pages_in_turn(site: str) -> Row:
    """Fetch a few pages with a blocking client, on the loop."""
    begun = time.perf_counter()
    bodies = [read(f"{site}/page/{number}") for number in FEW]
    seconds = time.perf_counter() - begun
    ok = bodies == [page(number) for number in FEW] and seconds >= len(FEW) * LATENCY * EARLY
    return Row(PAGES_IN_TURN, seconds, "the waits add up", ok)


async def pages_together(site: str) -> Row:
    """Fetch the same pages with `offloop.fetch`, together."""
    begun = time.perf_counter()
    responses = await asyncio.gather(*(offloop.fetch(f"{site}/page/{n}") for n in FEW))
    seconds = time.perf_counter() - begun
    bodies = [response.content for response in responses]
    ok = bodies == [page(number) for number in FEW] and seconds < len(FEW) * LATENCY
    return Row(PAGES_TOGETHER, seconds, "the waits overlap", ok)


async def pages_by_the_thousand(site: str) -> Row:
    """Fetch a thousand pages together with one client, and look at every body."""
    begun = time.perf_counter()
    async with offloop.Client(base_url=site) as client:
        responses = await asyncio.gather(*(client.get(f"/page/{n}") for n in MANY))
    seconds = time.perf_counter() - begun
    right = sum(r.content == page(n) for n, r in zip(MANY, responses, strict=True))
    added_up = len(MANY) * LATENCY
    remark = f"{right:,} right; in turn {added_up:.0f} s"
    ok = right == len(MANY) and seconds < added_up / 10
    return Row(PAGES_BY_THE_THOUSAND, seconds, remark, ok)


async def call_on_the_loop(_site: str) -> Row:
    """Make a blocking call on the loop: everything else stops."""
    begun = time.perf_counter()
    async with Heartbeat() as heartbeat:
        time.sleep(BLOCKED)  # noqa: ASYNC251 - the mistake this story is about
        seconds = time.perf_counter() - begun
    ok = heartbeat.longest >= FROZEN
    return Row(CALL_ON_THE_LOOP, seconds, _remark(heartbeat), ok)


async def call_offloaded(_site: str) -> Row:
    """Make the same call through `offloop.run`: everything else goes on."""
    begun = time.perf_counter()
    async with Heartbeat() as heartbeat:
        await offloop.run(time.sleep, BLOCKED)
        seconds = time.perf_counter() - begun
    ok = seconds >= FROZEN and heartbeat.longest < ALIVE
    return Row(CALL_OFFLOADED, seconds, _remark(heartbeat), ok)


async def downloads(site: str) -> Row:
    """Save three URLs by a blocking function; one is missing and harms neither of the others."""
    with tempfile.TemporaryDirectory(prefix="offloop-demo-") as name:
        files = [Path(name, f"{number}.txt") for number in FEW]
        urls = [f"{site}/page/0", f"{site}/missing", f"{site}/page/2"]
        begun = time.perf_counter()
        first, missing, last = await asyncio.gather(
            *(offloop.run(save, url, file) for url, file in zip(urls, files, strict=True)),
            return_exceptions=True,
        )
        seconds = time.perf_counter() - begun
        saved = await asyncio.gather(*(offloop.run(holds, files[n], page(n)) for n in FEW))
    right = (first, last) == (files[0], files[2]) and list(saved) == [True, False, True]
    remark = f"{sum(saved)} saved, 1 {type(missing).__name__} as value"
    if not isinstance(missing, urllib.error.HTTPError):
        return Row(DOWNLOADS, seconds, remark, ok=False)
    missing.close()  # it is a response, too
    ok = right and missing.code == HTTPStatus.NOT_FOUND and seconds < len(FEW) * LATENCY
    return Row(DOWNLOADS, seconds, remark, ok)


def _remark(heartbeat: Heartbeat) -> str:
    gap = f"{heartbeat.longest * 1000:.0f} ms"
    return f"frozen for {gap}" if heartbeat.longest >= FROZEN else f"alive: longest gap {gap}"


STORIES: Mapping[str, Callable[[str], Awaitable[Row]]] = {
    PAGES_IN_TURN: pages_in_turn,
    PAGES_TOGETHER: pages_together,
    PAGES_BY_THE_THOUSAND: pages_by_the_thousand,
    CALL_ON_THE_LOOP: call_on_the_loop,
    CALL_OFFLOADED: call_offloaded,
    DOWNLOADS: downloads,
}
"""The stories by the title their rows have, in the order they are told."""

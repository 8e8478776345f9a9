"""What ``offloop demo`` runs: the stories against the embedded server, or the URLs it is given."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING

import offloop
from offloop.demo.descriptors import room_for
from offloop.demo.server import LATENCY, serving
from offloop.demo.stories import STORIES, Row
from offloop.demo.table import draw

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTORS = 4096
"""A thousand sockets, with room to spare: sockets just closed may still count."""

BAD_STATUS = 400


def tell_stories() -> bool:
    """Tell all stories and print them as a table; says whether every row is right."""
    with room_for(DESCRIPTORS), serving() as site:
        rows = asyncio.run(_tell(site))
    title = f"Every request to the embedded server takes {LATENCY} s."
    draw(
        title,
        ("what", "time", "remark", "right?"),
        [(row.title, f"{row.seconds:.2f} s", row.remark, _yes(row.ok)) for row in rows],
    )
    return all(row.ok for row in rows)


def fetch_urls(urls: Sequence[str]) -> bool:
    """Fetch `urls` together; says whether all came with a status below 400.

    Responses are printed as a table; each failure is a line on stderr, for a failure has none of
    the columns.
    """
    _progress(f"fetching {len(urls):,} together")
    begun = time.perf_counter()
    outcomes = asyncio.run(_fetch(urls))
    seconds = time.perf_counter() - begun
    responses = [outcome for outcome in outcomes if isinstance(outcome, offloop.Response)]
    if responses:
        draw(
            f"{len(responses):,} of {len(urls):,} fetched together in {seconds:.2f} s.",
            ("status", "bytes", "time", "final URL"),
            [
                (
                    f"{response.status_code} {response.reason_phrase}".rstrip(),
                    f"{len(response.content):,}",
                    f"{response.elapsed.total_seconds():.3f} s",
                    response.url,
                )
                for response in responses
            ],
        )
        sys.stdout.flush()
    for outcome in outcomes:
        if isinstance(outcome, offloop.OffloopError):
            print(f"offloop: {type(outcome).__name__}: {outcome}", file=sys.stderr)
    return len(responses) == len(urls) and all(
        response.status_code < BAD_STATUS for response in responses
    )


async def _tell(site: str) -> list[Row]:
    rows = []
    for title, story in STORIES.items():
        _progress(title)
        rows.append(await story(site))
    return rows


async def _fetch(urls: Sequence[str]) -> list[offloop.Response | offloop.OffloopError]:
    return await asyncio.gather(*map(_outcome, urls))


async def _outcome(url: str) -> offloop.Response | offloop.OffloopError:
    try:
        return await offloop.fetch(url)
    except offloop.OffloopError as error:
        return error


def _progress(what: str) -> None:
    """Say on a terminal what begins now; elsewhere nobody is waiting."""
    if sys.stderr.isatty():
        print(f"… {what}", file=sys.stderr)


def _yes(right: bool) -> str:
    return "yes" if right else "no"

"""How far `fetch_all` has come: the events that downloads give, counted by requests."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import offloop
from batch.conftest import Counting
from conftest import Run
from download.test_progress import Bar
from offloop import progress


async def everything(urls: Any, **options: Any) -> None:
    async with offloop.Client() as client:
        async for _ in client.fetch_all(urls, **options):
            pass


def test_events_count_requests_and_bytes(run: Run[Any], counting: Counting) -> None:
    events: list[offloop.Progress] = []
    urls = [f"{counting.url}/hold/0.05/{n:03}" for n in range(40)]
    urls.append(urls[0])
    run(everything(urls, limit=5, dedupe=True, progress=events.append))
    counts = [event.items for event in events]
    assert counts == sorted(counts)
    last = events[-1]
    assert (last.items, last.items_total, last.phase, last.unit) == (41, 41, "done", "items")
    assert last.bytes == 40 * 3
    assert last.fraction == 1.0
    assert last.name == "fetch_all"
    assert 3 <= len(events) <= 2 + 10 * (last.elapsed + 0.2)
    assert any(event.eta is not None for event in events if not event.is_over)
    events.clear()
    run(everything(iter(urls), progress=events.append))
    assert events[-1].items_total is None, "nobody knows how many a generator has"
    assert events[-1].items == 41


def test_the_last_event_says_how_it_ended(counting: Counting) -> None:
    events: list[offloop.Progress] = []

    def failing() -> Any:
        yield f"{counting.url}/hold/0/one"
        raise LookupError

    async def main() -> None:
        with pytest.raises(LookupError):
            await everything(failing(), progress=events.append)
        assert (events[-1].phase, events[-1].items) == ("failed", 1)
        with pytest.raises(offloop.ConnectError):
            await everything(["http://127.0.0.1:1/"], on_error="raise", progress=events.append)
        assert events[-1].phase == "failed"
        urls = [f"{counting.url}/hold/0/a", f"{counting.url}/hold/30/b"]
        async with offloop.fetch_all(urls, progress=events.append) as results:
            async for _ in results:
                break
        assert (events[-1].phase, events[-1].items) == ("cancelled", 1)
        seen = len(events)
        await asyncio.sleep(0.3)
        assert len(events) == seen, "nothing is told after the end"

    asyncio.run(main())


def test_a_bar_like_tqdms_moves_by_requests(counting: Counting) -> None:
    bar = Bar()
    asyncio.run(everything([f"{counting.url}/hold/0/{n}" for n in range(7)], progress=bar))
    assert (bar.n, bar.total, bar.closed) == (7, 7, 1)


def test_true_writes_a_plain_line_where_there_is_no_terminal(
    counting: Counting, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(everything([f"{counting.url}/hold/0/{n}" for n in range(7)], progress=True))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fetch_all: 7, 7 B done after ")


def test_a_line_tells_how_many_of_how_many() -> None:
    event = offloop.Progress(
        name="fetch_all", bytes=2048, speed=1024.0, eta=2.0, items=3, items_total=4, unit="items"
    )
    assert progress.line(event) == "fetch_all: 3 of 4 (75%), 2.0 KiB at 1.0 KiB/s 2 s left"


def test_what_is_no_watcher_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="progress"):
        offloop.fetch_all([], progress=1)  # type: ignore[arg-type]

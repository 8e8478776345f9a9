"""Progress: one stream of events, throttled, in the context of the Job; bars and lines of it."""

from __future__ import annotations

import asyncio
import contextvars
import io
import threading
from pathlib import Path
from typing import Any

import pytest

import offloop
from conftest import Run
from offloop import progress
from servers import Server

SIZE = 2_000_000


def test_a_function_gets_events_in_the_loops_thread_and_the_jobs_context(
    run: Run[Any], ranges: Server, tmp_path: Path
) -> None:
    mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="none")
    events: list[offloop.Progress] = []
    places = set()

    def watch(event: offloop.Progress) -> None:
        events.append(event)
        places.add((threading.get_ident(), mark.get()))

    async def main() -> int:
        mark.set("mine")
        url = f"{ranges.url}/honest/{SIZE}/file.bin?rate=3000000"
        job = offloop.download(url, tmp_path, progress=watch)
        mark.set("other")
        await job
        return threading.get_ident()

    thread = run(main())
    assert places == {(thread, "mine")}
    assert [event.name for event in events] == ["file.bin"] * len(events)
    counts = [event.bytes for event in events]
    assert counts == sorted(counts)
    assert counts[-1] == SIZE == events[-1].total
    assert events[-1].phase == "done"
    assert events[-1].fraction == 1.0
    assert [event.is_over for event in events[:-1]] == [False] * (len(events) - 1)
    assert 3 <= len(events) <= 2 + 10 * (events[-1].elapsed + 0.2)
    middle = [event for event in events if event.phase == "downloading" and event.speed]
    assert middle
    assert middle[-1].eta is not None


def test_a_failed_and_a_cancelled_download_say_so(ranges: Server, tmp_path: Path) -> None:
    events: list[offloop.Progress] = []

    async def main() -> None:
        url = f"{ranges.url}/honest/{SIZE}/x"
        with pytest.raises(offloop.TruncatedBody):
            await offloop.download(url + "?cut=1000", tmp_path, progress=events.append)
        assert events[-1].phase == "failed"
        job = offloop.download(url + "?rate=100000", tmp_path, progress=events.append).start()
        while events[-1].phase != "downloading":
            await asyncio.sleep(0.02)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        assert events[-1].phase == "cancelled"
        seen = len(events)
        await asyncio.sleep(0.3)
        assert len(events) == seen, "nothing is told after the end"

    asyncio.run(main())


def test_what_a_function_raises_harms_nobody(ranges: Server, tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []

    def watch(event: offloop.Progress) -> None:
        raise LookupError(event.phase)

    async def main() -> offloop.Saved:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: told.append(context))
        return await offloop.download(f"{ranges.url}/honest/1000/x", tmp_path, progress=watch)

    assert asyncio.run(main()).bytes == 1000
    assert told
    assert all(isinstance(context["exception"], LookupError) for context in told)


class Bar:
    """Like tqdm's."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.n = 0
        self.closed = 0

    def update(self, n: int) -> None:
        self.n += n

    def close(self) -> None:
        self.closed += 1


def test_a_bar_like_tqdms_is_moved_and_closed(ranges: Server, tmp_path: Path) -> None:
    bar = Bar()
    url = f"{ranges.url}/honest/{SIZE}/x?rate=6000000"

    async def main() -> None:
        await offloop.download(url, tmp_path, progress=bar)

    asyncio.run(main())
    assert (bar.n, bar.total, bar.closed) == (SIZE, SIZE, 1)


def test_what_is_no_watcher_is_refused_at_once(tmp_path: Path) -> None:
    for wrong in (1, "yes", object()):
        with pytest.raises(TypeError, match="progress"):
            offloop.download("http://127.0.0.1:1/x", tmp_path, progress=wrong)  # type: ignore[arg-type]


def test_true_writes_plain_lines_where_there_is_no_terminal(
    ranges: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> None:
        await offloop.download(f"{ranges.url}/honest/{SIZE}/file.bin", tmp_path, progress=True)

    asyncio.run(main())
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("file.bin: 1.9 MiB done after ")
    assert "\x1b" not in lines[0]


def test_a_terminal_gets_bars_if_rich_is_there(
    ranges: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rich")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", terminal)

    async def main() -> None:
        url = f"{ranges.url}/honest/{SIZE}"
        await asyncio.gather(
            *(
                offloop.download(f"{url}/{name}?rate=4000000", tmp_path, progress=True)
                for name in ("one", "two")
            )
        )

    asyncio.run(main())
    drawn = terminal.getvalue()
    assert "one" in drawn
    assert "two" in drawn
    assert "\x1b[" in drawn
    assert progress._Bars._present is None, "the terminal is given back"


def test_a_line_shows_nothing_that_a_terminal_would_obey() -> None:
    event = offloop.Progress(name="a\x1b[2Jb\n", bytes=2048, total=4096, speed=1024.0, eta=2.0)
    assert progress.line(event) == "a?[2Jb?: 2.0 KiB of 4.0 KiB (50%) at 1.0 KiB/s 2 s left"


def test_dropping_a_watched_job_cancels_it(own_ranges: Server, tmp_path: Path) -> None:
    async def main() -> None:
        url = f"{own_ranges.url}/honest/{SIZE}/x?rate=100000"
        job = offloop.download(url, tmp_path, progress=lambda _event: None).start()
        while own_ranges.stats()["requests"] == 0:
            await asyncio.sleep(0.02)
        del job
        while own_ranges.stats()["now"] > 1:
            await asyncio.sleep(0.02)

    asyncio.run(asyncio.wait_for(main(), 10))

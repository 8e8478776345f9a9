"""What a watch has found, as numbers, as a page, and as files for other programs."""

from __future__ import annotations

import asyncio
import contextlib
import html.parser
import json
import re
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

import offloop
from offloop._watch import helper, look, mend, stats
from offloop._watch.stall import Stall

HOSTILE = "<script>alert('1')</script>&\"'"


def line_of(text):
    """The line of this file that ends with a comment `# <text>`."""
    lines = Path(__file__).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.endswith(f"# {text}"))


@pytest.fixture(scope="module")
def health(tmp_path_factory):
    """A watch that has seen a stall twice, calls, one that failed, and files."""
    folder = tmp_path_factory.mktemp("watched")

    def fail():
        raise ValueError

    async def main():
        pool = offloop.Pool(f"db{HOSTILE}", limit=2)
        with offloop.watch(threshold=0.1) as health:
            await asyncio.sleep(0.05)
            for _ in range(2):
                time.sleep(0.25)  # blocks
                await asyncio.sleep(0.03)
            jobs = [pool.run(time.sleep, 0.05) for _ in range(4)]
            await asyncio.gather(*jobs)
            with pytest.raises(ValueError):
                await pool.run(fail)
            cancelled = offloop.run(time.sleep, 0.05).start()
            cancelled.cancel()
            await offloop.write_bytes(folder / f"{HOSTILE.replace('/', '')}.txt", b"x")
            with contextlib.suppress(asyncio.CancelledError):
                await cancelled
            await asyncio.sleep(0.05)
        await pool.aclose()
        return health

    return asyncio.run(main())


def test_the_numbers_say_how_busy_the_loop_was(health):
    numbers = health.stats()
    assert numbers.stalls == 2
    assert 0.3 < numbers.blocked <= numbers.busy + 0.1
    assert numbers.watched > numbers.busy
    assert 0 < numbers.utilisation < 1
    assert numbers.longest_lag >= 0.15
    assert numbers.lag.total >= 2
    assert numbers.lag.quantile(1.0) >= 0.13
    [loop] = numbers.loops
    assert loop.name.endswith("in MainThread")
    assert loop.watched == pytest.approx(numbers.watched)
    assert loop.busy == pytest.approx(numbers.busy)


def test_the_numbers_count_jobs_by_where_they_ran(health):
    jobs = health.stats().jobs
    pool = jobs[f"db{HOSTILE}"]
    assert (pool.done, pool.failed, pool.cancelled) == (4, 1, 0)
    assert pool.under_way >= 0.2
    assert jobs["files"].done == 1
    assert jobs["io"].cancelled == 1


def test_nothing_is_written_down_when_nobody_watches(run):
    async def main():
        with offloop.watch() as health:
            await offloop.run(int)
        await asyncio.gather(*(offloop.run(int) for _ in range(10)))
        return health

    assert run(main()).stats().jobs["io"].done == 1


def test_two_watches_keep_books_of_their_own(run):
    async def main():
        with offloop.watch() as outer:
            await offloop.run(int)
            with offloop.watch() as inner:
                await offloop.run(int)
            await offloop.run(int)
        return outer.stats().jobs["io"].done, inner.stats().jobs["io"].done

    assert run(main()) == (3, 1)


def test_a_histogram_gives_quantiles():
    histogram = stats.Histogram((1.0, 2.0, 4.0, float("inf")), (90, 9, 0, 1))
    assert histogram.total == 100
    assert [histogram.quantile(share) for share in (0, 0.5, 0.9, 0.99, 1)] == [
        1.0,
        1.0,
        1.0,
        2.0,
        float("inf"),
    ]
    assert stats.Histogram((1.0,), (0,)).quantile(0.5) == 0.0
    with pytest.raises(ValueError):
        histogram.quantile(1.5)


class Parser(html.parser.HTMLParser):
    """Checks that tags are those of the page, and what they load."""

    def __init__(self):
        super().__init__()
        self.tags = []
        self.text = []
        self.scripts = 0

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.scripts += tag == "script"
        for name, value in attributes:
            assert name not in {"src", "href", "srcset"}, (tag, name, value)
            assert not name.startswith("on"), (tag, name)

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_is_one_file_that_tells_all_without_javascript(health, tmp_path):
    path = health.report(tmp_path / "loop.html")
    page = path.read_text()
    parser = Parser()
    parser.feed(page)
    text = "".join(parser.text)
    assert "time.sleep(0.25)" in text
    assert "await asyncio.sleep(0.25)" in text
    assert f"{Path(__file__).name}:{line_of('blocks')}" in text
    assert page.count("class='stall' data-stall") == 2
    assert page.count("<svg ") == 4  # a loop, a pool, the default pool, files
    assert parser.tags.count("details") == 2
    assert "http://" not in page
    assert "https://" not in page
    assert "url(" not in page


def test_the_page_runs_no_script_but_its_own_whatever_names_hold(health, tmp_path):
    page = health.report(tmp_path / "loop.html").read_text()
    parser = Parser()
    parser.feed(page)
    assert parser.scripts == 1
    assert "alert('1')</script>" not in page
    assert HOSTILE in "".join(parser.text)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert re.fullmatch(
        r"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-[\w+/]{43}='",
        policy[1],
    )


def test_the_page_of_a_watch_that_found_nothing_says_so(tmp_path):
    async def main():
        with offloop.watch(threshold=5) as health:
            await asyncio.sleep(0.02)
        return health

    page = asyncio.run(main()).report(tmp_path / "loop.html").read_text()
    assert "Nothing has" in page


def test_json_lines_hold_every_stall(health, tmp_path):
    lines = health.report(tmp_path / "stalls.jsonl").read_text().splitlines()
    assert len(lines) == 2
    for line in lines:
        stall = json.loads(line)
        assert (stall["file"], stall["line"]) == (__file__, line_of("blocks"))
        assert stall["cause"] == "system_call"
        assert stall["mend"] == "await asyncio.sleep(0.25)"
        assert stall["stack"][0][1] == line_of("blocks")


def test_sarif_has_what_its_standard_requires(health, tmp_path, monkeypatch):
    monkeypatch.chdir(Path(__file__).parent)
    log = json.loads(health.report(tmp_path / "stalls.sarif").read_text())
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-2.1.0.json")
    [run] = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"]
    [result] = run["results"]
    rule = driver["rules"][result["ruleIndex"]]
    assert rule["id"] == result["ruleId"] == "blocking/system_call"
    assert rule["shortDescription"]["text"].endswith(".")
    assert result["level"] in {"none", "note", "warning", "error"}
    assert result["message"]["text"]
    assert result["occurrenceCount"] == 2
    [location] = result["locations"]
    place = location["physicalLocation"]
    assert place["region"]["startLine"] == line_of("blocks")
    assert place["artifactLocation"] == {"uri": Path(__file__).name, "uriBaseId": "SRCROOT"}
    assert run["originalUriBaseIds"]["SRCROOT"]["uri"].endswith("/")
    for frame in result["stacks"][0]["frames"]:
        uri = frame["location"]["physicalLocation"]["artifactLocation"]["uri"]
        assert " " not in uri
        assert not uri.startswith("/")
    assert all(len(mark) == 32 for mark in result["partialFingerprints"].values())


FIELDS = {
    # Phases that are written, and what "Trace Event Format" wants of them beside ph, ts, pid, tid.
    "M": {"name", "args"},
    "C": {"name", "args"},
    "X": {"name", "cat", "dur"},
    "b": {"name", "cat", "id", "args"},
    "e": {"name", "cat", "id"},
}


def nested(slices):
    """Whether no slice of one thread begins in another and ends after it."""
    open_until = []
    for began, duration in sorted(slices, key=lambda it: (it[0], -it[1])):
        while open_until and open_until[-1] <= began:
            open_until.pop()
        if open_until and began + duration > open_until[-1]:
            return False
        open_until.append(began + duration)
    return True


def test_the_trace_has_the_events_that_perfetto_reads(health, tmp_path):
    trace = json.loads(health.report(tmp_path / "loop.json").read_text())
    assert trace["displayTimeUnit"] == "ms"
    events = trace["traceEvents"]
    for event in events:
        wanted = FIELDS[event["ph"]] | {"ph", "ts", "pid", "tid"}
        assert wanted <= event.keys(), event
        assert isinstance(event["name"], str)
        assert {type(event["pid"]), type(event["tid"])} == {int}
        assert type(event["ts"]) in {int, float}
        assert event["ts"] >= 0
        assert event.get("dur", 0) >= 0
    assert {event["ph"] for event in events} == FIELDS.keys()
    for event in events:
        if event["ph"] == "C":
            assert event["args"]
            assert all(type(value) in {int, float} for value in event["args"].values())
    stalls = [event for event in events if event.get("cat", "").startswith("stall")]
    assert [event["name"] for event in stalls] == ["time.sleep(0.25)  # blocks"] * 2
    threads = {event["tid"] for event in events if event["name"] == "thread_name"}
    assert {event["tid"] for event in events if event["ph"] in "Xbe"} <= threads | {0}
    for thread in threads:
        slices = [it for it in events if it["ph"] == "X" and it["tid"] == thread]
        assert nested([(it["ts"], it["dur"]) for it in slices])
    names = {event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert {"files", "io", f"db{HOSTILE}"} <= names


def test_each_job_of_the_trace_begins_once_and_ends_once(health, tmp_path):
    """An asynchronous event is known by its category, id and name; the end follows the begin."""
    events = json.loads(health.report(tmp_path / "loop.json").read_text())["traceEvents"]
    begun, over = {}, set()
    for event in events:
        if event["ph"] in "be":
            known = (event["cat"], event["id"], event["name"], event["pid"], event["tid"])
            if event["ph"] == "b":
                assert known not in begun
                begun[known] = event["ts"]
            else:
                assert known not in over
                assert event["ts"] >= begun[known]
                over.add(known)
    assert len(begun) == 7
    assert over == begun.keys()
    assert len({known[1] for known in begun}) == 7


def test_a_report_can_be_written_while_the_watch_goes_on(run, tmp_path):
    async def main():
        with offloop.watch(threshold=0.1) as health:
            await asyncio.sleep(0.02)
            return await offloop.run(health.report, tmp_path / "loop.html")

    assert run(main()).read_text().endswith("</html>\n")


def test_a_report_in_a_format_that_is_not_known_is_refused(health, tmp_path):
    with pytest.raises(ValueError, match="ends in"):
        health.report(tmp_path / "loop.pdf")
    assert [*tmp_path.iterdir()] == []


class Record:
    """A stall as the native thread gives it, and as large as it can be."""

    key, began, named, detected, ended, lasted = 1, 0, 1, 1, 2, 10**9
    cause, system_call, holds_gil, culprit, blamed, traced = "python", None, False, None, 0, False
    weight = 3 * 100 * 160

    def __init__(self, number):
        self.number = number
        self.stacks = [
            [(f"/file-{number}-{frame}.py", frame, f"function_{frame}") for frame in range(100)]
            for _ in range(3)
        ]


def seen(number):
    """A look at a loop among a hundred threads."""
    rows = [(f"/file-{number}-{frame}.py", frame, f"function_{frame}") for frame in range(60)]
    return look.Seen(
        identity=1,
        ready=1,
        stack=rows,
        call=mend.Call((), ""),
        task="task",
        coroutine="main",
        await_chain=tuple(f"step {number} {step}" * 10 for step in range(60)),
        context={f"variable {name}": "str" for name in range(60)},
        threads={n: look.Other(f"thread {n}", [*rows], None) for n in range(100)},
    )


def test_the_stalls_of_a_day_stay_small():
    async def main():
        with offloop.watch(threshold=5) as health:
            return health

    keeper = asyncio.run(main())._helper
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(700):
            stall = Stall(Record(number), seen(number), loop="l", thread="t", clock=0.0)
            keeper.add(stall)
            keeper.open[number] = stall
            keeper.told.add(number)
            keeper._ended(Record(number))
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 10 < len(keeper.stalls) <= helper.KEPT
    # What a Record takes here is Rust's in earnest, and more in Python.
    assert grown < 16 * 2**20, grown
    assert keeper.open == {}
    assert keeper.told == set()


@pytest.mark.once
@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
def test_all_that_a_day_fills_takes_16_mib_at_most(tmp_path):
    """Stalls, looks, Jobs, lanes and loops together, in a process of its own."""
    worker = Path(__file__).with_name("memory_worker.py")
    command = [sys.executable, str(worker), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    took = json.loads(done.stdout)
    assert (took["lanes"], took["loops"]) == (64, 32)
    assert took["jobs"] > 10_000
    assert took["stalls"] > 1
    assert took["looks"] >= 1
    assert took["kept_bytes"] > took["bound"] / 2, "full"
    assert took["resident"] + took["timelines"] <= 16 * 2**20, took


def test_looks_give_way_by_number_and_by_weight():
    shelf = helper.Shelf()
    for number in range(200):
        shelf.put(number, "look", 1)
    assert len(shelf) == helper.LOOKS
    assert 199 in shelf
    for number in range(200, 203):
        shelf.put(number, "look", helper.LOOK_BYTES)
    assert (len(shelf), shelf.get(202), shelf.get(201)) == (1, "look", None)
    assert shelf.pop(202) == "look"
    shelf.put(1, "one", helper.LOOK_BYTES)
    shelf.put(1, "other", 1)
    shelf.put(2, "two", 1)
    assert (shelf.get(1), shelf.get(2)) == ("other", "two")


def test_a_stall_that_ends_forgets_the_stacks_of_other_threads():
    record = Record(1)
    record.culprit = 7
    stall = Stall(record, seen(1), loop="l", thread="t", clock=0.0)
    stall._update(record, None)
    assert [*stall._seen.threads] == [7]

"""Decompression bombs: refused at the limit, in constant memory, without stopping the loop.

`tests/servers/bombs.py` sends 10 virtual gigabytes in each coding and in chains of them. The
fetches run in a child process, so that its peak of resident memory belongs to them (FAULTS F8, R1).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from servers import Server, serve

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(
        not sys.platform.startswith("linux"),
        reason="the peak of resident memory is read from /proc",
    ),
]

MAX_BODY = 16 << 20
GIGABYTES = 10 * 1024
SINGLE = ("gzip", "x-gzip", "deflate", "raw-deflate", "br", "zstd")
CHAINS = (
    "gzip+gzip",
    "br+gzip",
    "gzip+br",
    "zstd+br",
    "gzip+zstd",
    "zstd+deflate+br",
    "gzip+" * 2 + "gzip",
)

PLAIN = ("gzip+br", "gzip+zstd")

# Runs `cases`, each [path, options, how], on one client; prints what came of each, the growth of
# the peak of resident memory in bytes, and of the loop's turns the longest wait and the most time
# of its thread's own, in seconds.
CHILD = """
import asyncio, gc, json, sys, time
import offloop

def peak():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024

lag = turn = 0.0

async def heartbeat():
    global lag, turn
    while True:
        began, spent = time.perf_counter(), time.thread_time()
        await asyncio.sleep(0.001)
        lag = max(lag, time.perf_counter() - began - 0.001)
        turn = max(turn, time.thread_time() - spent)

async def fetch(client, url, options, how):
    if how == "stream":
        async with client.stream("GET", url, **options) as response:
            count = 0
            async for chunk in response.aiter_bytes():
                count += len(chunk)
            return [response.status_code, count]
    response = await client.get(url, **options)
    return [response.status_code, len(response.content)]

async def main(server, cases):
    async with offloop.Client(max_body=int(sys.argv[3])) as client:
        await client.get(server + "/own")
        open("/proc/self/clear_refs", "w").write("5")
        base, outcomes = peak(), []
        gc.collect()
        beat = asyncio.create_task(heartbeat())
        await asyncio.sleep(0.05)
        for path, options, how in cases:
            began = time.perf_counter()
            try:
                got = await fetch(client, server + path, options, how)
            except offloop.FetchError as error:
                got = [type(error).__name__, error.phase]
            outcomes.append([*got, time.perf_counter() - began])
            own = await client.get(server + "/own")
            assert own.content == b"own"
        beat.cancel()
        print(json.dumps({"outcomes": outcomes, "growth": peak() - base, "lag": lag, "turn": turn}))

asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
"""


@pytest.fixture(scope="module")
def bombs() -> Iterator[Server]:
    with serve("bombs") as running:
        yield running


def explode(server: Server, cases: list[tuple[str, dict[str, Any], str]]) -> Any:
    """Outcomes, growth and lag of `cases`, run one after another in a child."""
    ended = subprocess.run(
        [sys.executable, "-c", CHILD, server.url, json.dumps(cases), str(MAX_BODY)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return json.loads(ended.stdout)


def calm(server: Server, cases: list[tuple[str, dict[str, Any], str]]) -> Any:
    """As `explode`, with a loop whose turns cost its thread at most 20 ms.

    Counted in the thread's own time, since on a busy machine any thread waits longer than that. A
    decoder that held the GIL or a lock meanwhile would hold it for seconds.
    """
    report = explode(server, cases)
    assert report["turn"] <= 0.02
    assert report["lag"] <= 0.5
    return report


@pytest.mark.parametrize("status", [200, 302, 500])
def test_a_bomb_is_refused_in_constant_memory(bombs: Server, status: int) -> None:
    cases = [(f"/{status}/{codings}/{GIGABYTES}", {}, "get") for codings in (*SINGLE, *CHAINS)]
    report = calm(bombs, cases)
    assert [got[:2] for got in report["outcomes"]] == [["BodyTooLarge", "body"]] * len(cases)
    assert report["growth"] <= 2 * MAX_BODY
    assert max(got[2] for got in report["outcomes"]) < 10


def test_a_stream_without_a_limit_is_still_refused_for_its_ratio(bombs: Server) -> None:
    # Not those whose outer coding adds nothing: gzip alone never exceeds 1,032 (RFC 1951).
    codings = ["br", "zstd", *(chain for chain in CHAINS if chain not in PLAIN)]
    cases = [(f"/200/{coding}/{GIGABYTES}", {"max_body": None}, "stream") for coding in codings]
    report = calm(bombs, cases)
    assert [got[:2] for got in report["outcomes"]] == [["BodyTooLarge", "body"]] * len(cases)
    assert report["growth"] <= MAX_BODY


def test_the_body_of_a_redirect_is_never_decoded(bombs: Server) -> None:
    codings = (*SINGLE, *CHAINS, "br+br+gzip+gzip", "gzip+" * 9 + "gzip")
    cases = [(f"/302/{coding}/{GIGABYTES}?%2Fown", {}, "get") for coding in codings]
    report = explode(bombs, cases)
    assert [got[:2] for got in report["outcomes"]] == [[200, 3]] * len(cases)
    assert report["growth"] <= 4 << 20
    assert max(got[2] for got in report["outcomes"]) < 10


def test_the_body_of_a_retried_answer_is_never_decoded(bombs: Server) -> None:
    cases = [(f"/503/{coding}/{GIGABYTES}", {"retries": 1}, "get") for coding in SINGLE]
    report = explode(bombs, cases)
    assert [got[:2] for got in report["outcomes"]] == [["BodyTooLarge", "body"]] * len(cases)
    assert report["growth"] <= 2 * MAX_BODY


@pytest.mark.parametrize("count", [4, 10])
def test_more_than_three_codings_are_refused(bombs: Server, count: int) -> None:
    codings = "+".join(["gzip"] * count)
    report = explode(bombs, [(f"/200/{codings}/{GIGABYTES}", {}, how) for how in ("get", "stream")])
    assert [got[:2] for got in report["outcomes"]] == [["DecodeError", "body"]] * 2
    assert report["growth"] <= MAX_BODY


def test_an_honest_stream_of_ratio_1000_passes(bombs: Server) -> None:
    report = calm(bombs, [("/200/honest/1024", {}, "stream")])
    assert report["outcomes"][0][:2] == [200, 1024 << 20]
    assert report["growth"] <= MAX_BODY

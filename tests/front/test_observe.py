"""`offloop.stats`: the whole process in numbers, and as text for Prometheus."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import time

import pytest

import offloop
from servers import Server


def test_the_sum_holds_clients_that_are_there_and_those_that_are_gone(own_server: Server):
    before = offloop.stats().fetch

    async def use() -> None:
        async with offloop.Client() as client:
            for _ in range(3):
                await client.get(f"{own_server.url}/1k")
            now = offloop.stats().fetch
            assert now["requests"] - before["requests"] == 3
            assert now["clients"] - before["clients"] == 1
            assert now["connections"] - before["connections"] == 1

    asyncio.run(use())
    gc.collect()
    after = offloop.stats().fetch
    assert after["requests"] - before["requests"] == 3
    assert after["reused"] - before["reused"] == 2
    assert after["bytes_received"] - before["bytes_received"] == 3 * 1024
    assert after["clients"] == before["clients"]
    assert offloop.stats().pid == os.getpid()


LINE = re.compile(r'[a-z0-9_]+(\{[a-z]+="[^"]*"\})? \d+(\.\d+)?')


def test_the_text_is_what_prometheus_reads(server: Server):
    asyncio.run(_get(server))
    text = offloop.stats().prometheus()
    assert text.endswith("\n")
    kinds: dict[str, str] = {}
    seen = set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            kinds[name] = kind
        elif not line.startswith("# HELP "):
            assert LINE.fullmatch(line), line
            name = re.split(r"[ {]", line)[0]
            assert name in kinds, "declared before it is given"
            assert (kinds[name] == "counter") == name.endswith("_total")
            seen.add(name)
    assert {"offloop_fetch_requests_total", "offloop_fetch_in_flight"} <= seen


async def _get(server: Server) -> None:
    async with offloop.Client() as client:
        await client.get(f"{server.url}/1k")


def test_a_watch_adds_the_numbers_of_its_loops():
    assert offloop.stats().loops == {}

    async def busy() -> tuple[offloop.Stats, offloop.Stats]:
        async with offloop.watch(threshold=0.05), offloop.watch(threshold=10):
            time.sleep(0.2)
            await asyncio.sleep(0.2)
            return offloop.stats(), offloop.stats()

    first, second = asyncio.run(busy())
    assert first.loops["stalls"] == 1  # what the watch that began first says, not the sum
    assert 0.15 < first.loops["busy_seconds"] < first.loops["watched_seconds"]
    assert second.loops["watched_seconds"] >= first.loops["watched_seconds"] > 0.35
    text = first.prometheus()
    assert "# TYPE offloop_loop_stalls_total counter\noffloop_loop_stalls_total 1\n" in text
    assert "# TYPE offloop_loop_longest_lag_seconds gauge\n" in text
    assert offloop.stats().loops == {}


def test_the_names_of_pools_are_escaped():
    made = offloop.Stats(fetch={}, pools={'a"b\\c\nd': {"running": 1}})
    assert r'offloop_pool_running{pool="a\"b\\c\nd"} 1' in made.prometheus()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_is_told_so(server: Server):
    asyncio.run(_get(server))
    child = os.fork()
    if child == 0:
        try:
            offloop.stats()
        except offloop.ForkedProcessError:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7

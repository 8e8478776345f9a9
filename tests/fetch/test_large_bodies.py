"""Large bodies of a known length go into the `bytes` they become as they arrive.

The object is made by the loop's thread and written by the runtime's, so what is tested here is the
way between them: a busy loop, a body that ends early, one that nobody wants any more.
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import offloop
from conftest import Run
from servers import Server, serve
from servers.promising import content

MIB = 1 << 20


@pytest.fixture(scope="module")
def promising() -> Iterator[Server]:
    with serve("promising") as running:
        yield running


def resident() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise AssertionError


@pytest.mark.parametrize("size", [MIB - 1, MIB, MIB + 1, 7 * MIB + 3])
def test_a_large_body_arrives_as_it_was_sent(run: Run[Any], promising: Server, size: int) -> None:
    async def main() -> None:
        async with offloop.Client() as client:
            url = f"{promising.url}/{size}/{size}/whole"
            for answer in await asyncio.gather(*(client.get(url) for _ in range(4))):
                assert answer.content == content(size)
                assert answer.num_bytes_downloaded == size
                assert type(answer.content) is bytes
            assert client.stats()["opened"] <= 4

    run(main())


def test_a_loop_that_is_busy_holds_up_no_body(promising: Server) -> None:
    """The room is ordered while the loop computes, and comes too late to be waited for."""
    size = 5 * MIB

    async def main() -> None:
        async with offloop.Client() as client:
            url = f"{promising.url}/{size}/{size}/whole"
            jobs = [client.get(url).start() for _ in range(4)]
            for pause in (0.3, 0.005, 0.02, 0.1):
                await asyncio.sleep(0)
                time.sleep(pause)
            for answer in await asyncio.gather(*jobs):
                assert answer.content == content(size)

    asyncio.run(main())


@pytest.mark.parametrize("sent", [1, 4096, 2 * MIB, 3 * MIB - 1])
def test_a_large_body_that_is_cut_short_is_told_by_the_byte(promising: Server, sent: int) -> None:
    async def main() -> None:
        async with offloop.Client() as client:
            with pytest.raises(offloop.TruncatedBody) as caught:
                await client.get(f"{promising.url}/{3 * MIB}/{sent}/cut")
            assert (caught.value.received, caught.value.expected) == (sent, 3 * MIB)
            again = await client.get(f"{promising.url}/{3 * MIB}/{sent}/first", retries=1)
            assert again.content == content(3 * MIB)
            assert len(again.attempts) == 2

    asyncio.run(main())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_a_length_that_is_promised_and_never_sent_takes_no_memory(promising: Server) -> None:
    async def main() -> None:
        limits = offloop.Limits(connections=40, per_host=40)
        timeout = offloop.Timeout(read=1)
        async with offloop.Client(limits=limits, timeout=timeout) as client:
            url = f"{promising.url}/{60 * MIB}/70000/hang"
            await asyncio.gather(client.get(url), return_exceptions=True)
            gc.collect()
            before, most = resident(), 0
            jobs = [client.get(url).start() for _ in range(40)]
            while not all(job.done() for job in jobs):
                most = max(most, resident())
                await asyncio.sleep(0.02)
            for failure in await asyncio.gather(*jobs, return_exceptions=True):
                assert isinstance(failure, offloop.ReadTimeout)
            # 40 times 60 MiB were promised. A large page that is begun is 2 MiB.
            assert most - before < 128 * MIB

    asyncio.run(main())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_large_bodies_that_nobody_wants_any_more_are_let_go(promising: Server) -> None:
    async def main() -> None:
        async with offloop.Client() as client:
            url = f"{promising.url}/{8 * MIB}/{6 * MIB}/hang"

            async def cancelled() -> None:
                job = client.get(url).start()
                await asyncio.sleep(0.05)
                job.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await job

            await asyncio.gather(*(cancelled() for _ in range(4)))
            gc.collect()
            before = resident()
            for _ in range(10):
                await asyncio.gather(*(cancelled() for _ in range(4)))
            gc.collect()
            # 40 of them had 6 MiB each.
            assert resident() - before < 64 * MIB
            give_up = time.monotonic() + 10
            while (await client.get(f"{promising.url}/stats")).json()["open"]:
                assert time.monotonic() < give_up
                await asyncio.sleep(0.01)

    asyncio.run(main())


def test_a_loop_that_ends_first_takes_nothing_down_with_it(promising: Server) -> None:
    async def main() -> None:
        for _ in range(8):
            client.get(f"{promising.url}/{4 * MIB}/{4 * MIB}/whole").start()
        await asyncio.sleep(0)

    client = offloop.Client()
    for _ in range(10):
        asyncio.run(main())

    async def last() -> bytes:
        return (await client.get(f"{promising.url}/{4 * MIB}/{4 * MIB}/whole")).content

    assert asyncio.run(last()) == content(4 * MIB)


LITTLE_MEMORY = """
import asyncio, resource, sys
import offloop

async def main() -> None:
    async with offloop.Client() as client:
        assert (await client.get(f"{sys.argv[1]}/1000/1000/whole")).status_code == 200
        now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + (24 << 20), resource.RLIM_INFINITY))
        for _ in range(3):
            try:
                await client.get(f"{sys.argv[1]}/60000000/60000000/whole")
            except MemoryError as error:
                print(error)
        assert len((await client.get(f"{sys.argv[1]}/1000/1000/whole")).content) == 1000

asyncio.run(main())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a limit of Linux's")
def test_a_body_that_there_is_no_memory_for_is_a_memory_error(promising: Server) -> None:
    command = [sys.executable, "-c", LITTLE_MEMORY, promising.url]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("there is no memory for a body of 60000000 bytes") == 3

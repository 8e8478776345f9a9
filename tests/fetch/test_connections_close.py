"""A connection that is of no more use is closed at once, and not when its peer gets round to it.

hyper closes most of such connections by itself, as soon as it can write what it still has to. What
is tested here is what it leaves: a peer that reads nothing, and entries of the pool.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import offloop
from servers import Server, serve

LIMIT = 10.0
"""Seconds, for the machine; offloop closes at once."""


@pytest.fixture(scope="module")
def counting() -> Iterator[Server]:
    with serve("counting") as running:
        yield running


@contextlib.asynccontextmanager
async def deaf() -> AsyncIterator[int]:
    """A listener that accepts and never reads: what is sent to it fills the kernel's buffers."""
    accepted: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)

        async def accept() -> None:
            while True:
                connection, _ = await asyncio.get_running_loop().sock_accept(listener)
                accepted.append(connection)

        accepting = asyncio.create_task(accept())
        yield listener.getsockname()[1]
        accepting.cancel()
        await asyncio.wait([accepting])
    for connection in accepted:
        connection.close()


def sockets_to(port: int) -> int:
    """How many connections to `port` this process's sockets have, by the kernel's table."""
    own = {os.readlink(entry) for entry in descriptors()}
    count = 0
    for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[2].split(":")[1], 16) == port and f"socket:[{fields[9]}]" in own:
            count += 1
    return count


def descriptors() -> Iterator[Path]:
    for entry in Path("/proc/self/fd").iterdir():
        if entry.is_symlink():
            yield entry


async def until_closed(port: int) -> None:
    give_up = time.monotonic() + LIMIT
    while True:
        with contextlib.suppress(FileNotFoundError):
            if not sockets_to(port):
                return
        assert time.monotonic() < give_up, "the connection is still open"
        await asyncio.sleep(0.01)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sockets are read from /proc")
@pytest.mark.parametrize("ending", ["cancel", "timeout"])
def test_a_request_that_ends_closes_its_connection_although_its_peer_reads_nothing(
    ending: str,
) -> None:
    async def main() -> None:
        async with offloop.Client() as client, deaf() as port:
            url = f"http://127.0.0.1:{port}/"
            timeout = 300 if ending == "cancel" else offloop.Timeout(write=0.3)
            job = client.put(url, content=b"x" * (32 << 20), timeout=timeout).start()
            if ending == "cancel":
                await asyncio.sleep(0.3)
                assert sockets_to(port) == 1
                job.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await job
            else:
                with pytest.raises(offloop.WriteTimeout):
                    await job
            await until_closed(port)

    asyncio.run(main())


@pytest.mark.parametrize("moment", ["unread", "first piece", "many pieces"])
def test_a_half_read_connection_does_not_go_back_to_the_pool(counting: Server, moment: str) -> None:
    async def main() -> None:
        async with offloop.Client() as client:
            for _ in range(3):
                async with client.stream("GET", f"{counting.url}/flood/half") as response:
                    number = 0
                    async for _ in response.aiter_bytes():
                        number += 1
                        if moment == "first piece" or number > 20:
                            break
                    if moment == "unread":
                        break
            give_up = time.monotonic() + LIMIT
            while (stats := client.stats())["connections"]:
                assert time.monotonic() < give_up, stats
                await asyncio.sleep(0.01)
            assert stats["idle"] == 0

    asyncio.run(main())

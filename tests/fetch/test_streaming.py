"""Bodies in pieces, both ways: back-pressure, early ends, and who is told about a failure.

The server is `tests/servers/counting.py`: what it sent and read is its own count (FAULTS F19, R3).
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import sys
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import offloop
from servers import Server, serve

# What kernels may buffer between two ends of a loopback connection, by their own defaults.
KERNEL = 24 << 20
SLOW = 2.0


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    with serve("counting") as running:
        yield running


@pytest.fixture
def counting(shared: Server) -> Server:
    report(shared, "forget")
    return shared


def report(server: Server, path: str = "report") -> Any:
    with urllib.request.urlopen(f"{server.url}/{path}", timeout=10) as answer:
        return json.load(answer)


def resident() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise AssertionError


async def nothing_open(server: Server) -> None:
    """The server has seen every connection end, all but the one that asks."""
    give_up = time.monotonic() + 10  # for the machine; offloop closes at once
    while report(server)["open"]:
        assert time.monotonic() < give_up
        await asyncio.sleep(0.01)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_a_slow_reader_holds_up_the_server_and_keeps_memory_flat(counting: Server) -> None:
    async def main() -> None:
        async with (
            offloop.Client() as client,
            client.stream("GET", f"{counting.url}/flood/slow") as response,
        ):
            parts = response.aiter_bytes(1024)
            for _ in range(2048):
                assert len(await anext(parts)) == 1024
            gc.collect()
            base, most = resident(), 0
            until = time.monotonic() + SLOW
            while time.monotonic() < until:
                assert len(await anext(parts)) == 1024
                await asyncio.sleep(0.01)
                most = max(most, resident())
            assert most - base <= 8 << 20  # without the limit it is more than a hundred
            assert report(counting)["sent"]["slow"] < KERNEL
            assert response.num_bytes_downloaded < 8 << 20

    asyncio.run(main())


def test_many_slow_readers_share_one_buffer(counting: Server) -> None:
    """64 MiB for all bodies together, however many there are."""

    async def main() -> None:
        limits = offloop.Limits(connections=300, per_host=300)
        async with offloop.Client(limits=limits) as client:
            before = resident()
            streams = [client.stream("GET", f"{counting.url}/flood/many") for _ in range(300)]
            responses = await asyncio.gather(*streams)
            await asyncio.sleep(1)
            assert resident() - before < 96 << 20
            await asyncio.gather(*(response.aclose() for response in responses))

    asyncio.run(main())


def test_a_body_that_comes_faster_than_it_is_used_leaves_the_loop_to_others(
    counting: Server,
) -> None:
    async def main() -> None:
        since_turn = worst = 0

        async def others() -> None:
            nonlocal since_turn
            while True:
                since_turn = 0
                await asyncio.sleep(0)

        async with (
            offloop.Client() as client,
            client.stream("GET", f"{counting.url}/flood/fast") as response,
        ):
            beating = asyncio.create_task(others())
            parts = response.aiter_bytes()
            for _ in range(150):
                await anext(parts)
                time.sleep(0.004)  # work on it, in which the next one comes
                since_turn += 1
                worst = max(worst, since_turn)
            beating.cancel()
        assert worst <= 3, f"{worst} pieces in a row"

    asyncio.run(main())


@pytest.mark.parametrize("size", [1, 1000, 1024, 65_536, 1_000_000])
def test_chunks_have_the_size_that_was_asked_for(counting: Server, size: int) -> None:
    async def main() -> None:
        async with (
            offloop.Client() as client,
            client.stream("GET", f"{counting.url}/flood/sized") as response,
        ):
            got = b""
            async for chunk in response.aiter_bytes(size):
                assert len(chunk) == size
                got += chunk
                if len(got) >= 5000:
                    break
            line = b"a line of the flood, ".ljust(1023, b".") + b"\n"
            assert got == (line * (len(got) // 1024 + 1))[: len(got)]

    asyncio.run(main())


@pytest.mark.parametrize("moment", ["unread", "first chunk", "many chunks"])
def test_leaving_a_stream_early_closes_its_connection(counting: Server, moment: str) -> None:
    async def main() -> None:
        async with offloop.Client() as client:
            for _ in range(5):
                async with client.stream("GET", f"{counting.url}/flood/left") as response:
                    number = 0
                    async for _ in response.aiter_bytes():
                        number += 1
                        if moment == "first chunk" or number > 20:
                            break
                    if moment == "unread":
                        break
                assert response.is_closed
            await nothing_open(counting)
            # The half-read connection answers nobody else.
            assert (await client.get(f"{counting.url}/hold/0/own")).content == b"own"

    asyncio.run(main())


def test_an_unread_stream_is_closed_by_leaving_it(counting: Server) -> None:
    async def main() -> None:
        async with offloop.Client() as client:
            async with client.stream("GET", f"{counting.url}/flood/unread") as response:
                assert response.status_code == 200
                assert not response.is_stream_consumed
            assert response.is_closed
            await nothing_open(counting)

    asyncio.run(main())


def test_a_stream_that_is_forgotten_is_closed(counting: Server) -> None:
    async def main() -> None:
        async with offloop.Client() as client:
            response = await client.stream("GET", f"{counting.url}/flood/forgotten")
            assert response.status_code == 200
            del response
            gc.collect()
            await nothing_open(counting)

    asyncio.run(main())


def test_a_closed_client_closes_idle_connections_although_a_response_lives(
    counting: Server,
) -> None:
    async def main() -> None:
        client = offloop.Client()
        response = await client.stream("GET", f"{counting.url}/hold/0/hello")
        assert await response.aread() == b"hello"
        await response.aclose()
        await client.aclose()
        await nothing_open(counting)
        assert response.content == b"hello"

    asyncio.run(main())


def test_content_before_reading_names_what_to_await(counting: Server) -> None:
    async def main() -> None:
        async with (
            offloop.Client() as client,
            client.stream("GET", f"{counting.url}/hold/0/hello") as response,
        ):
            for read in (lambda: response.content, lambda: response.text, response.json):
                with pytest.raises(offloop.LifecycleError, match=r"aread\(\)"):
                    read()
            assert await response.aread() == b"hello"
            assert response.content == b"hello"
            assert response.text == "hello"
            assert response.is_stream_consumed

    asyncio.run(main())


def test_a_stream_is_read_once(counting: Server) -> None:
    async def main() -> None:
        async with (
            offloop.Client() as client,
            client.stream("GET", f"{counting.url}/hold/0/hello") as response,
        ):
            assert [part async for part in response.aiter_bytes()] == [b"hello"]
            with pytest.raises(offloop.LifecycleError):
                [part async for part in response.aiter_bytes()]
            with pytest.raises(offloop.LifecycleError):
                await response.aread()

    asyncio.run(main())


PAYLOAD = bytes(range(256)) * 4096  # 1 MiB


async def async_parts(data: bytes, size: int = 50_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]
        await asyncio.sleep(0)


def sync_parts(data: bytes, size: int = 50_000) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.mark.parametrize("form", ["bytes", "bytearray", "path", "sync", "async", "list"])
@pytest.mark.parametrize("size", [0, 1, 1 << 20])
def test_every_form_of_content_arrives_whole(
    counting: Server, tmp_path: Path, form: str, size: int
) -> None:
    data = PAYLOAD[:size]
    (tmp_path / "upload").write_bytes(data)
    content: Any = {
        "bytes": data,
        "bytearray": bytearray(data),
        "path": tmp_path / "upload",
        "sync": sync_parts(data),
        "async": async_parts(data),
        "list": iter([b"", data, b""]),
    }[form]

    async def main() -> Any:
        async with offloop.Client() as client:
            return (await client.put(f"{counting.url}/upload/{form}", content=content)).json()

    got = asyncio.run(main())
    assert (got["size"], got["sha256"]) == (size, hashlib.sha256(data).hexdigest())
    if form in {"bytes", "bytearray", "path"}:
        assert got["fields"].get("content-length", "0") == str(size)
    else:
        assert got["fields"]["transfer-encoding"] == "chunked"


def test_a_slow_server_holds_up_the_iterator(counting: Server) -> None:
    drawn = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal drawn
        while True:
            drawn += 65_536
            yield b"x" * 65_536

    async def main() -> None:
        async with offloop.Client() as client:
            job = client.post(f"{counting.url}/upload/slow?0.05", content=endless()).start()
            await asyncio.sleep(1)
            # Without back-pressure this would be gigabytes.
            assert 0 < drawn < report(counting)["received"]["slow"] + 2 * KERNEL
            job.cancel()
            with pytest.raises(asyncio.CancelledError):
                await job

    asyncio.run(main())


@pytest.mark.parametrize("form", ["sync", "async"])
@pytest.mark.parametrize("before", [0, 1, 20])
def test_what_an_iterator_raises_is_the_cause(counting: Server, form: str, before: int) -> None:
    own = ValueError("my own mistake")
    ended = []

    def failing() -> Iterator[bytes]:
        try:
            for _ in range(before):
                yield b"x" * 10_000
            raise own
        finally:
            ended.append(form)

    async def failing_later() -> AsyncIterator[bytes]:
        for part in failing():
            yield part

    async def main() -> None:
        async with offloop.Client() as client:
            content: Any = failing() if form == "sync" else failing_later()
            with pytest.raises(offloop.FetchError) as caught:
                await client.post(f"{counting.url}/upload/failing", content=content)
            assert caught.value.__cause__ is own
            assert caught.value.phase == "send"
            assert ended == [form]
            await nothing_open(counting)
            assert (await client.get(f"{counting.url}/hold/0/own")).content == b"own"

    asyncio.run(main())
    # The server was not told that the body had ended.
    assert report(counting)["ended"].get("failing") in {None, "IncompleteReadError"}


def test_an_iterator_of_anything_but_bytes_is_a_type_error(counting: Server) -> None:
    async def main() -> None:
        async with offloop.Client() as client:
            with pytest.raises((offloop.FetchError, TypeError)) as caught:
                await client.post(f"{counting.url}/upload/odd", content=iter([b"a", 3]))
            assert isinstance(caught.value.__cause__ or caught.value, TypeError)

    asyncio.run(main())


def endless(form: str) -> tuple[Any, threading.Event]:
    """A body that goes on until it is closed, and what tells that it was."""
    ended = threading.Event()

    def plain() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 65_536
        finally:
            ended.set()

    async def later() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65_536
        finally:
            ended.set()

    return (plain() if form == "sync" else later()), ended


async def begin(body: Any) -> None:
    """What has not begun when it is closed says nothing; an early answer may be that early."""
    if isinstance(body, Iterator):
        next(body)
    else:
        await anext(body)


@pytest.mark.parametrize("form", ["sync", "async"])
def test_an_early_answer_ends_the_upload_and_closes_the_iterator(
    counting: Server, form: str
) -> None:
    content, _ = endless(form)

    async def main() -> None:
        await begin(content)
        async with offloop.Client() as client:
            answer = await client.post(f"{counting.url}/early/x", content=content)
            assert (answer.status_code, answer.content) == (413, b"no")
            # Also if the answer came before the first chunk was asked for; then no `finally` runs.
            async with asyncio.timeout(30):
                while (content.gi_frame if form == "sync" else content.ag_frame) is not None:
                    await asyncio.sleep(0.01)

    asyncio.run(main())


@pytest.mark.parametrize("form", ["sync", "async"])
def test_a_cancelled_upload_closes_the_iterator_and_the_connection(
    counting: Server, form: str
) -> None:
    content, ended = endless(form)

    async def main() -> None:
        await begin(content)
        async with offloop.Client() as client:
            job = client.post(f"{counting.url}/upload/cancelled?0.002", content=content).start()
            while not report(counting)["received"].get("cancelled"):
                await asyncio.sleep(0.01)
            job.cancel()
            with pytest.raises(asyncio.CancelledError):
                await job
            assert await asyncio.to_thread(ended.wait, 30)
            await nothing_open(counting)

    asyncio.run(main())


def test_a_file_that_is_not_there_is_an_os_error(counting: Server, tmp_path: Path) -> None:
    async def main() -> None:
        async with offloop.Client() as client:
            with pytest.raises((FileNotFoundError, offloop.FetchError)) as caught:
                await client.put(f"{counting.url}/upload/x", content=tmp_path / "none")
            assert isinstance(caught.value.__cause__ or caught.value, FileNotFoundError)

    asyncio.run(main())

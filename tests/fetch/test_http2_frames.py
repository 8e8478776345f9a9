"""Servers that break the rules of HTTP/2 one frame at a time.

They are `tests/servers/frames.py`, which writes each frame by hand. FAULTS P14: what was refused is
sent once more, what breaks is an error in time, and the other streams keep their own outcome.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from knowing import knowing, report, settles

import offloop
from servers import Server, serve

pytest.importorskip("hpack")


@pytest.fixture(scope="module")
def frames() -> Iterator[Server]:
    with serve("frames") as running:
        yield running


@pytest.fixture(autouse=True)
def no_connection_is_left_open(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "frames" in request.fixturenames:
        asyncio.run(settles(request.getfixturevalue("frames"), "open", 1))


async def honest(client: offloop.Client, server: Server) -> None:
    """The client is none the worse for it."""
    for number in range(3):
        assert (await client.get(f"{server.url}/ok/{number}")).content == str(number).encode()


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("kind", ["goaway/{}", "refused/{}/1"])
@pytest.mark.parametrize("warm", [False, True])
def test_what_the_server_did_not_process_is_sent_once_more(
    frames: Server, method: str, kind: str, warm: bool
) -> None:
    """A POST, too: the server says that it has not touched it (RFC 9113 §8.7)."""
    key = f"{kind[:4]}-{method}-{warm}"

    async def main() -> None:
        async with knowing() as client:
            if warm:
                await honest(client, frames)
            body = {"content": b"body"} if method == "POST" else {}
            answer = await client.request(method, f"{frames.url}/{kind.format(key)}", **body)
            assert answer.content == b"2"
            assert [attempt.status for attempt in answer.attempts] == [None, 200]
            assert client.stats()["replayed"] == 1
            await honest(client, frames)

    asyncio.run(main())


def test_what_is_refused_again_and_again_is_an_error(frames: Server) -> None:
    async def main() -> None:
        async with knowing() as client:
            with pytest.raises(offloop.ProtocolError) as caught:
                await client.get(f"{frames.url}/refused/always/99")
            assert len(caught.value.attempts) == 2
            await honest(client, frames)
        assert (await report(frames))["tries"]["always"] == 2

    asyncio.run(main())


def test_a_body_that_cannot_be_had_again_is_not_sent_again(frames: Server) -> None:
    async def main() -> None:
        async with knowing() as client:
            with pytest.raises(offloop.FetchError):
                await client.post(f"{frames.url}/refused/once/1", content=iter([b"a", b"b"]))
            await honest(client, frames)
        assert (await report(frames))["tries"]["once"] == 1

    asyncio.run(main())


@pytest.mark.parametrize("warm", [False, True])
def test_a_post_that_may_have_been_processed_is_never_sent_again(
    frames: Server, warm: bool
) -> None:
    """GOAWAY names it as the last stream that was processed; then the connection ends."""

    async def main() -> None:
        async with knowing() as client:
            if warm:
                await honest(client, frames)
            with pytest.raises(offloop.FetchError):
                await client.post(f"{frames.url}/processed/post-{warm}", content=b"pay")
            await honest(client, frames)
        assert (await report(frames))["tries"][f"post-{warm}"] == 1

    asyncio.run(main())


def test_a_goaway_lets_the_streams_before_it_end(frames: Server) -> None:
    async def main() -> None:
        async with knowing() as client:
            async with client.stream("GET", f"{frames.url}/gate/leave") as kept:
                assert await anext(kept.aiter_bytes()) == b"half "
                assert (await client.get(f"{frames.url}/last/one")).content == b"last"
                await honest(client, frames)  # on a connection of its own
                assert client.stats()["opened"] == 2
                await client.get(f"{frames.url}/open/leave")
                assert kept.is_closed is False

    asyncio.run(main())


def test_a_goaway_does_not_break_a_stream_that_is_being_read(frames: Server) -> None:
    async def main() -> None:
        async with knowing() as client:
            async with client.stream("GET", f"{frames.url}/gate/go-on") as kept:
                assert (await client.get(f"{frames.url}/last/two")).content == b"last"
                await client.get(f"{frames.url}/open/go-on")
                assert await kept.aread() == b"half whole"

    asyncio.run(main())


BROKEN = [
    ("half/2", "TruncatedBody"),  # INTERNAL_ERROR
    ("half/8", "TruncatedBody"),  # CANCEL
    ("half/0", "TruncatedBody"),  # NO_ERROR is no end either: the announced length is not there
    ("half/7", "ProtocolError"),  # REFUSED_STREAM after the head: too late for a replay
    ("early/x", "TruncatedBody"),
    ("late/x", "ProtocolError"),
    ("cut/said", "TruncatedBody"),
    ("cut/unsaid", "TruncatedBody"),
    ("none/x", "ProtocolError"),  # h2 refuses the head of it
]


@pytest.mark.parametrize(("path", "error"), BROKEN)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_body_that_breaks_is_its_own_error_and_no_other_stream_s(
    frames: Server, path: str, error: str, streamed: bool
) -> None:
    gate = f"{path.replace('/', '-')}-{streamed}"

    async def main() -> None:
        async with knowing() as client:
            whole = path.startswith("cut")  # the connection goes, and all with it
            others = [] if whole else [client.get(f"{frames.url}/gate/{gate}").start()]
            began = time.monotonic()
            with pytest.raises(offloop.ProtocolError) as caught:
                if streamed:
                    async with client.stream("GET", f"{frames.url}/{path}") as response:
                        await response.aread()
                else:
                    await client.get(f"{frames.url}/{path}")
            assert time.monotonic() - began < 5
            await honest(client, frames)
            await client.get(f"{frames.url}/open/{gate}")
            for other in others:
                assert (await other).content == b"half whole"
            assert isinstance(caught.value, getattr(offloop, error)), repr(caught.value)
            if path.startswith("half") and error == "TruncatedBody":
                assert (caught.value.received, caught.value.expected) == (5, 10)

    asyncio.run(main())


def test_chunks_before_the_break_stay_valid(frames: Server) -> None:
    async def main() -> None:
        got = b""
        async with knowing() as client:
            with pytest.raises(offloop.ProtocolError):
                async with client.stream("GET", f"{frames.url}/half/2") as response:
                    async for chunk in response.aiter_bytes():
                        got += chunk
        assert got in {b"", b"half "}

    asyncio.run(main())


def test_a_server_that_never_answers_is_a_read_timeout(frames: Server) -> None:
    async def main() -> None:
        async with knowing() as client:
            other = client.get(f"{frames.url}/gate/silent").start()
            with pytest.raises(offloop.ReadTimeout):
                await client.get(f"{frames.url}/silent", timeout=offloop.Timeout(read=0.2))
            await client.get(f"{frames.url}/open/silent")
            assert (await other).content == b"half whole"
            assert client.stats()["opened"] == 1
            await honest(client, frames)

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["bytes", "async", "sync", "file"])
def test_an_upload_without_a_window_is_a_write_timeout(
    frames: Server, kind: str, tmp_path: Path
) -> None:
    async def stream() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"z" * 65_536

    async def main() -> None:
        (tmp_path / "body").write_bytes(b"z" * (1 << 20))
        content: Any = {
            "bytes": lambda: b"z" * (1 << 20),
            "async": stream,
            "sync": lambda: iter([b"z" * 65_536] * 100),
            "file": lambda: tmp_path / "body",
        }[kind]()
        async with knowing(timeout=offloop.Timeout(write=0.3, read=3)) as client:
            began = time.monotonic()
            with pytest.raises(offloop.WriteTimeout):
                await client.post(f"{frames.url}/closed", content=content)
            assert time.monotonic() - began < 3
            await honest(client, frames)

    asyncio.run(main())


@pytest.mark.parametrize(
    "content",
    [
        b"z" * 200_000,
        b"z" * 300_000,
    ],
)
def test_a_window_of_nothing_at_all_is_a_write_timeout(content: bytes) -> None:
    async def main(url: str) -> None:
        async with knowing(timeout=offloop.Timeout(write=0.3, read=1)) as client:
            assert (await client.get(f"{url}/ok/first")).content == b"first"
            with pytest.raises(offloop.FetchTimeout) as caught:
                await client.post(f"{url}/closed", content=content)
            assert (await client.get(f"{url}/ok/last")).content == b"last"
            assert isinstance(caught.value, offloop.WriteTimeout)

    with serve("frames", "window=0") as shut:
        asyncio.run(main(shut.url))


def test_an_upload_goes_on_while_its_window_opens(frames: Server) -> None:
    async def main() -> None:
        async with knowing() as client:
            answer = await client.post(f"{frames.url}/ok/x", content=b"z" * (5 << 20))
            assert answer.content == str(5 << 20).encode()

    asyncio.run(main())


@pytest.mark.parametrize("allowed", [1, 3])
def test_no_more_streams_are_open_than_the_server_allows(allowed: int) -> None:
    async def main(server: Server) -> None:
        async with knowing() as client:
            await honest(client, server)
            jobs = [client.get(f"{server.url}/wait/{number}").start() for number in range(40)]
            for job in jobs[5:10]:
                job.cancel()
            await asyncio.wait([*jobs[5:10]])
            kept = [*jobs[:5], *jobs[10:]]
            texts = [answer.text for answer in await asyncio.gather(*kept)]
            assert texts == [str(number) for number in (*range(5), *range(10, 40))]
            assert client.stats()["opened"] == 1
            assert (await report(server))["most"] <= allowed

    with serve("frames", f"streams={allowed}") as narrow:
        asyncio.run(main(narrow))


def test_a_connection_that_the_server_closed_is_replaced(frames: Server) -> None:
    async def main() -> None:
        async with knowing() as client:
            for number in range(20):
                answer = await client.get(f"{frames.url}/bye/{number}")
                assert answer.content == b"bye"

    asyncio.run(main())


FLOODS = [
    "settings",
    "ping",
    "empty-data",
    "padding",
    "continuation",
    "reset",
    "window",
    "priority",
    "unknown",
    "informational",
]


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_is_an_error_in_time_and_never_a_hang(kind: str) -> None:
    async def main(url: str) -> None:
        limits = offloop.Timeout(total=2.5, pool=2, read=0.5, stall=(1024, 0.8))
        async with knowing(timeout=limits) as client:
            began = time.monotonic()
            with pytest.raises((offloop.ProtocolError, offloop.FetchTimeout)) as caught:
                await client.get(f"{url}/flood/{kind}")
            took = time.monotonic() - began
            assert not isinstance(caught.value, offloop.PoolTimeout)
            assert took < 5
        async with knowing() as client:
            assert (await client.get(f"{url}/ok/after")).content == b"after"

    with serve("frames") as own:
        asyncio.run(main(own.url))


@pytest.mark.parametrize("kind", ["continuation", "reset", "settings", "ping"])
def test_a_flooded_client_serves_its_other_hosts(frames: Server, kind: str) -> None:
    async def main(url: str) -> None:
        async with knowing(timeout=offloop.Timeout(total=2, read=0.5)) as client:
            flooded = client.get(f"{url}/flood/{kind}").start()
            await honest(client, frames)
            with pytest.raises(offloop.FetchError):
                await flooded
            await honest(client, frames)

    with serve("frames") as own:
        asyncio.run(main(own.url))


ODD = [
    "data-on-0",
    "data-first",
    "no-status",
    "upper-case",
    "bad-hpack",
    "push",
    "too-long",
    "window-overflow",
    "half-block",
    "http1",
    "connection-header",
    "hang-up",
    "angry",
]


@pytest.mark.parametrize("kind", ODD)
def test_a_broken_rule_is_a_protocol_error(frames: Server, kind: str) -> None:
    async def main() -> None:
        async with knowing() as client:
            began = time.monotonic()
            with pytest.raises(offloop.ProtocolError) as caught:
                await client.get(f"{frames.url}/odd/{kind}")
            assert caught.value.phase == "head"
            assert time.monotonic() - began < 5
            await honest(client, frames)

    asyncio.run(main())


def test_a_server_that_speaks_no_http2_at_all_is_an_error(server: Server) -> None:
    async def main() -> None:
        async with knowing() as client:
            with pytest.raises(offloop.FetchError):
                await client.get(f"{server.url}/1k")

    asyncio.run(main())


def test_closing_the_client_closes_the_connection(frames: Server) -> None:
    async def main() -> None:
        client = knowing()
        await honest(client, frames)
        assert (await report(frames))["open"] == 2
        client.close()
        await settles(frames, "open", 1)

    asyncio.run(main())


def test_an_idle_connection_is_closed_in_time(frames: Server) -> None:
    async def main() -> None:
        async with knowing(limits=offloop.Limits(idle=0.2)) as client:
            await honest(client, frames)
            await settles(frames, "open", 1)
            await honest(client, frames)
            assert client.stats()["opened"] == 2

    asyncio.run(main())


def test_one_connection_serves_two_loops_after_one_another(frames: Server) -> None:
    with contextlib.closing(knowing()) as client:
        for _ in range(2):

            async def main() -> None:
                await honest(client, frames)

            asyncio.run(main())
        assert client.stats()["opened"] == 1
    assert json.dumps(client.is_closed) == "true"

"""`ASGITransport`: what the app sees, and what the client gets."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from typing import Any

import pytest
from asgi_apps import GET, answering, connected, raw

from conftest import Run
from offloop.testing import ASGITransport

# --- the scope


def test_the_app_finds_the_request_in_its_scope(run: Run[None]) -> None:
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await answering()(scope, receive, send)

    async def main() -> None:
        options: Any = {"root_path": "/api", "scheme": "https", "lifespan": "off"}
        async with ASGITransport(app, **options) as transport:
            target = b"/api/a%2Fb/%C3%BC?x=%31&y"
            head = b"host: example.org:8443\r\nX-Two: 1\r\nx-two: 2\r\nconnection: close\r\n\r\n"
            assert b" 200 OK\r\n" in await raw(
                transport, b"GET " + target + b" HTTP/1.1\r\n" + head
            )

    run(main())
    (scope,) = scopes
    host, port = scope.pop("client")
    assert (host, port > 0) == ("127.0.0.1", True)
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "path": "/api/a/b/ü",
        "raw_path": b"/api/a%2Fb/%C3%BC",
        "query_string": b"x=%31&y",
        "root_path": "/api",
        "headers": [
            (b"host", b"example.org:8443"),
            (b"x-two", b"1"),
            (b"x-two", b"2"),
            (b"connection", b"close"),
        ],
        "server": ("example.org", 8443),
        "state": {},
        "extensions": {},
    }


def test_the_app_runs_in_the_loop_and_the_context_of_the_test(run: Run[None]) -> None:
    who = contextvars.ContextVar("who", default="nobody")
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((who.get(), asyncio.get_running_loop()))
        await answering()(scope, receive, send)

    async def main() -> None:
        who.set("the test")
        async with ASGITransport(app, lifespan="off") as transport:
            await raw(transport)
        assert seen == [("the test", asyncio.get_running_loop())]

    run(main())


# --- bodies


def test_a_request_body_is_streamed_to_the_app(run: Run[None]) -> None:
    async def main() -> None:
        pieces: asyncio.Queue[Any] = asyncio.Queue()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            more = True
            while more:
                message = await receive()
                await pieces.put(message)
                more = message["more_body"]
            await answering()(scope, receive, send)

        async with (
            ASGITransport(app, lifespan="off") as transport,
            connected(transport) as (reader, writer),
        ):
            writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
            for piece in (b"one", b"two"):
                writer.write(b"3;x=y\r\n" + piece + b"\r\n")
                # The next piece is sent only when the app has this one.
                assert (await pieces.get())["body"] == piece
            writer.write(b"0\r\nx-trailer: 1\r\n\r\n")
            last = await pieces.get()
            assert last == {"type": "http.request", "body": b"", "more_body": False}
            assert b" 200 OK\r\n" in await reader.readuntil(b"\r\n\r\n")

    run(main())


def test_an_answer_is_streamed_to_the_client(run: Run[None]) -> None:
    async def main() -> None:
        go_on = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"one", "more_body": True})
            await go_on.wait()
            await send({"type": "http.response.body", "body": b"two"})

        async with (
            ASGITransport(app, lifespan="off") as transport,
            connected(transport) as (reader, writer),
        ):
            writer.write(GET)
            assert (await reader.readuntil(b"one\r\n")).endswith(b"\r\n\r\n3\r\none\r\n")
            go_on.set()
            assert await reader.read() == b"3\r\ntwo\r\n0\r\n\r\n"

    run(main())


def test_an_app_is_held_back_while_the_client_does_not_read(run: Run[None]) -> None:
    sent: list[int] = []

    async def main() -> None:
        ended = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200})
            for n in range(1000):
                await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
                sent.append(n)
            await send({"type": "http.response.body"})
            ended.set()

        async with (
            ASGITransport(app, lifespan="off") as transport,
            connected(transport) as (reader, writer),
        ):
            writer.write(GET)
            await reader.readuntil(b"\r\n\r\n")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ended.wait(), 0.2)
            assert len(sent) < 1000
            received = 0
            while piece := await reader.read(1 << 20):
                received += len(piece)
            assert received > 1000 * 65536
            await ended.wait()

    run(main())


def test_a_head_request_gets_no_body(run: Run[None]) -> None:
    async def main() -> None:
        app = answering(b"hello", 200, (b"content-length", b"5"))
        async with ASGITransport(app, lifespan="off") as transport:
            received = await raw(transport, GET.replace(b"GET", b"HEAD"))
            assert received.endswith(b"content-length: 5\r\nconnection: close\r\n\r\n")

    run(main())


@pytest.mark.parametrize("reads", [True, False])
def test_100_continue_is_sent_when_the_app_reads(run: Run[None], reads: bool) -> None:
    async def main() -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            if reads:
                assert (await receive())["body"] == b"abc"
            await answering()(scope, receive, send)

        async with (
            ASGITransport(app, lifespan="off") as transport,
            connected(transport) as (reader, writer),
        ):
            head = b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n"
            writer.write(head)
            first = await reader.readuntil(b"\r\n\r\n")
            if reads:
                assert first == b"HTTP/1.1 100 Continue\r\n\r\n"
                writer.write(b"abc")
                first = await reader.readuntil(b"\r\n\r\n")
            assert first.startswith(b"HTTP/1.1 200 OK\r\n")
            assert (b"connection: close" in first) == (not reads)

    run(main())


def test_a_body_nobody_reads_does_not_harm_the_next_request(run: Run[None]) -> None:
    async def main() -> None:
        async with (
            ASGITransport(answering(), lifespan="off") as transport,
            connected(transport) as (reader, writer),
        ):
            for _ in range(2):
                writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 90000\r\n\r\n")
                writer.write(bytes(90000))
                assert (await reader.readuntil(b"0\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")

    run(main())


# --- clients that leave


@pytest.mark.parametrize("when", ["waiting", "in the upload", "in the answer"])
def test_the_app_is_told_when_the_client_leaves(run: Run[None], when: str) -> None:
    async def main() -> None:
        received: asyncio.Queue[Any] = asyncio.Queue()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if when == "in the answer":
                await send({"type": "http.response.start", "status": 200})
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
            while True:
                message = await receive()
                await received.put(message["type"])
                if message["type"] == "http.disconnect":
                    # Nobody hears it, and that is no error.
                    if when != "in the answer":
                        await send({"type": "http.response.start", "status": 200})
                    await send({"type": "http.response.body", "body": b"x"})
                    await received.put("ended")
                    return

        async with ASGITransport(app, lifespan="off") as transport:
            async with connected(transport) as (reader, writer):
                length = 5 if when == "in the upload" else 0
                writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % length)
                writer.write(b"abc"[:length])
                assert await received.get() == "http.request"
                if when == "in the answer":
                    await reader.readuntil(b"x\r\n")
            assert [await received.get(), await received.get()] == ["http.disconnect", "ended"]

    run(main())


def test_an_app_that_sends_for_ever_to_nobody_does_not_stop_the_loop(run: Run[None]) -> None:
    async def main() -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200})
            while True:
                await send({"type": "http.response.body", "body": b"x", "more_body": True})

        async with ASGITransport(app, lifespan="off") as transport:
            async with connected(transport) as (reader, writer):
                writer.write(GET)
                await reader.readuntil(b"x\r\n")
            assert transport.exceptions == []

    run(main())


def test_requests_that_run_on_are_ended_with_the_transport(run: Run[None]) -> None:
    async def main() -> None:
        ended: list[str] = []
        begun = asyncio.Queue[None]()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await begun.put(None)
            try:
                if scope["path"] == "/deaf":
                    await asyncio.Event().wait()
                while (await receive())["type"] != "http.disconnect":
                    pass
                ended.append("told")
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise

        async with contextlib.AsyncExitStack() as stack:
            transport = await stack.enter_async_context(ASGITransport(app, lifespan="off"))
            # Not on the stack below the transport: the clients stay until it has ended.
            connections = [connected(transport), connected(transport)]
            for connection, path in zip(connections, (b"/", b"/deaf"), strict=True):
                _, writer = await connection.__aenter__()
                writer.write(GET.replace(b"/", path, 1))
                await begun.get()
        for connection in connections:
            await connection.__aexit__(None, None, None)
        assert sorted(ended) == ["cancelled", "told"]

    run(main())

"""`offloop.httpx`: httpx and httpx2 send through offloop, and nothing else of them changes."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote

import httpx
import httpx2
import pytest

import offloop
from offloop.httpx import SyncTransport, Transport
from servers import Server, serve

LIBRARIES = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])


@pytest.fixture(scope="module")
def counting() -> Iterator[Server]:
    with serve("counting") as running:
        yield running


def asked(told: Server, *lines: str, status: int = 200, body: str | None = None) -> str:
    query = [f"status={status}", *(f"header={quote(line)}" for line in lines)]
    if body is not None:
        query.append(body)
    return f"{told.url}/told?{'&'.join(query)}"


@LIBRARIES
def test_a_request_and_its_response_are_the_librarys_own(run: Any, told: Server, library: Any):
    async def main() -> None:
        async with library.AsyncClient(transport=Transport()) as client:
            response = await client.post(
                asked(told), headers=[("X-A", "1"), ("X-A", "2")], json={"a": 1}
            )
        assert type(response) is library.Response
        assert response.http_version == "HTTP/1.1"
        assert response.reason_phrase == "As Told"  # as sent
        sent = response.json()
        assert sent["method"] == "POST"
        headers = [(name.lower(), value) for name, value in sent["headers"]]
        assert [value for name, value in headers if name == "x-a"] == ["1", "2"]
        # What httpx sends, and nothing of offloop's.
        assert dict(headers)["user-agent"].startswith("python-httpx")
        assert json.loads(sent["body"]) == {"a": 1}

    run(main())


@LIBRARIES
def test_a_header_that_the_library_leaves_out_is_not_sent(told: Server, library: Any):
    async def main() -> dict[str, str]:
        async with library.AsyncClient(transport=Transport()) as client:
            for name in ("user-agent", "accept", "accept-encoding"):
                del client.headers[name]
            sent = (await client.get(asked(told))).json()
        return {name.lower(): value for name, value in sent["headers"]}

    headers = asyncio.run(main())
    assert not {"user-agent", "accept", "accept-encoding"} & set(headers)


@LIBRARIES
def test_the_library_decodes_bodies_and_offloop_does_not(told: Server, library: Any):
    packed = gzip.compress(b"hello" * 1000)
    url = asked(told, "content-encoding: gzip", body=f"hex={packed.hex()}")

    async def main() -> None:
        async with library.AsyncClient(transport=Transport()) as client:
            assert (await client.get(url)).content == b"hello" * 1000
            async with client.stream("GET", url) as response:
                raw = b"".join([piece async for piece in response.aiter_raw()])
                assert raw == packed
                assert response.num_bytes_downloaded == len(packed)

    asyncio.run(main())


@LIBRARIES
def test_redirects_are_followed_by_the_library_or_not_at_all(told: Server, library: Any):
    url = asked(told, f"location: {told.url}/told?status=200&body=there", status=302)

    async def main() -> None:
        async with library.AsyncClient(transport=Transport()) as client:
            first = await client.get(url)
            assert (first.status_code, first.history) == (302, [])
            last = await client.get(url, follow_redirects=True)
            assert (last.text, len(last.history)) == ("there", 1)

    asyncio.run(main())


@LIBRARIES
def test_bodies_are_streamed_up(run: Any, told: Server, library: Any):
    async def chunks() -> AsyncIterator[bytes]:
        for piece in (b"one", b"two"):
            await asyncio.sleep(0)
            yield piece

    async def main() -> None:
        async with library.AsyncClient(transport=Transport()) as client:
            sent = (await client.post(asked(told), content=chunks())).json()
            assert sent["body"] == "onetwo"
            files = {"file": ("a.txt", b"content", "text/plain")}
            sent = (await client.post(asked(told), data={"k": "v"}, files=files)).json()
            assert "content" in sent["body"]
            assert 'filename="a.txt"' in sent["body"]

    run(main())


@LIBRARIES
def test_what_the_source_of_a_body_raises_reaches_the_caller_as_it_is(told: Server, library: Any):
    async def broken() -> AsyncIterator[bytes]:
        yield b"one"
        raise ZeroDivisionError("mine")

    async def main() -> None:
        async with library.AsyncClient(transport=Transport()) as client:
            with pytest.raises(ZeroDivisionError, match="mine"):
                await client.post(asked(told), content=broken())

    asyncio.run(main())


@LIBRARIES
def test_failures_are_the_librarys_with_the_request_and_our_error_as_cause(
    server: Server, told: Server, counting: Server, library: Any
):
    async def failing(client: Any, url: str, kind: type[Exception], cause: Any, **options: Any):
        with pytest.raises(kind) as caught:
            await client.get(url, **options)
        assert type(caught.value) is kind
        assert caught.value.request.url == url
        if cause is not None:
            assert isinstance(caught.value.__cause__, cause)

    async def main() -> None:
        limits = library.Limits(max_connections=1)
        async with library.AsyncClient(transport=Transport(limits=limits)) as client:
            slow = f"{counting.url}/hold/5/x"
            await failing(client, "http://127.0.0.1:1/", library.ConnectError, OSError)
            await failing(client, "ftp://127.0.0.1/", library.UnsupportedProtocol, None)
            timeout = library.Timeout(10, read=0.05)
            await failing(client, slow, library.ReadTimeout, TimeoutError, timeout=timeout)
            timeout = library.Timeout(10, pool=0.05)
            async with client.stream("GET", f"{counting.url}/flood/x"):
                await failing(client, slow, library.PoolTimeout, TimeoutError, timeout=timeout)
            bad = asked(told, "content-length: 10", "content-length: 11")
            await failing(client, bad, library.RemoteProtocolError, offloop.ProtocolError)

    asyncio.run(main())


@LIBRARIES
def test_a_body_that_breaks_off_fails_while_it_is_read(library: Any):
    async def serve_half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        await writer.drain()
        writer.close()

    async def main() -> None:
        listening = await asyncio.start_server(serve_half, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        async with listening, library.AsyncClient(transport=Transport()) as client:
            with pytest.raises(library.RemoteProtocolError) as caught:
                await client.get(f"http://127.0.0.1:{port}/")
            assert caught.value.request.method == "GET"
            cause = caught.value.__cause__
            assert isinstance(cause, offloop.TruncatedBody)
            assert (cause.received, cause.expected) == (4, 10)

    asyncio.run(main())


def test_leaving_a_stream_early_closes_its_connection(counting: Server):
    async def main() -> None:
        transport = Transport()
        async with httpx.AsyncClient(transport=transport) as client:
            async with client.stream("GET", f"{counting.url}/flood/early") as response:
                async for _ in response.aiter_bytes():
                    break
            assert transport._client.stats()["in_flight"] == 0

    asyncio.run(main())


def test_a_cancelled_request_is_dropped(counting: Server):
    async def main() -> None:
        transport = Transport()
        async with httpx.AsyncClient(transport=transport) as client:
            task = asyncio.ensure_future(client.get(f"{counting.url}/hold/30/gone"))
            while transport._client.stats()["in_flight"] == 0:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with asyncio.timeout(5):
                while transport._client.stats()["in_flight"]:
                    await asyncio.sleep(0.01)

    asyncio.run(main())


def test_connecting_is_tried_again_as_often_as_asked_and_nothing_else(unused_port: int):
    async def count() -> int:
        seen = 0
        transport = Transport(retries=2)
        original = transport._job

        def counted(*arguments: Any) -> Any:
            nonlocal seen
            seen += 1
            return original(*arguments)

        transport._job = counted  # type: ignore[method-assign]
        async with httpx.AsyncClient(transport=transport) as client:
            with pytest.raises(httpx.ConnectError):
                await client.get(f"http://127.0.0.1:{unused_port}/")
        return seen

    assert asyncio.run(count()) == 3


@pytest.fixture
def unused_port() -> Iterator[int]:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: it refuses
        yield taken.getsockname()[1]


def test_an_offloop_client_can_be_shared_and_stays_open(server: Server):
    async def main() -> None:
        async with offloop.Client(headers={"x-own": "1"}, cookies=True) as shared:
            for _ in range(2):
                async with httpx.AsyncClient(transport=Transport(client=shared)) as client:
                    assert (await client.get(f"{server.url}/1k")).status_code == 200
            assert shared.stats()["reused"] >= 1
            assert not shared.is_closed

    asyncio.run(main())


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"verify": object()}, TypeError),
        ({"retries": "3"}, TypeError),
        ({"proxy": httpx.Proxy("http://p/", headers={"x": "y"})}, TypeError),
        ({"client": offloop.Client(), "http2": False}, TypeError),
        ({"http1": False, "http2": False}, ValueError),
    ],
)
def test_options_that_cannot_be_honoured_are_refused_at_once(options: Any, error: Any):
    with pytest.raises(error):
        Transport(**options)


def test_an_extension_that_would_change_what_is_sent_is_refused(server: Server):
    async def main() -> None:
        async with httpx.AsyncClient(transport=Transport()) as client:
            with pytest.raises(httpx.UnsupportedProtocol, match="target"):
                await client.get(server.url, extensions={"target": b"/elsewhere"})

    asyncio.run(main())


@LIBRARIES
def test_the_synchronous_transport_serves_threads_at_once(told: Server, library: Any):
    with library.Client(transport=SyncTransport()) as client:
        got: list[str] = []

        def work() -> None:
            got.extend(client.get(asked(told, body="body=there")).text for _ in range(5))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert got == ["there"] * 20
        sent = client.post(asked(told), content=iter([b"one", b"two"])).json()
        assert sent["body"] == "onetwo"
        with pytest.raises(library.ConnectError):
            client.get("http://127.0.0.1:1/")


def test_a_program_that_used_the_synchronous_transport_ends(server: Server):
    code = f"""
import httpx, threading, offloop.httpx
client = httpx.Client(transport=offloop.httpx.SyncTransport())
print(client.get("{server.url}/1k").status_code, flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "200\n", "")


@LIBRARIES
def test_raw_headers_are_as_they_were_sent(told: Server, library: Any):
    async def main() -> None:
        async with library.AsyncClient(transport=Transport()) as client:
            lines = ("X-First: 1", "set-cookie: a=1", "X-Last:2", "Set-Cookie: b=2")
            response = await client.get(asked(told, *lines))
            own = (b"x-", b"set-cookie")
            raw = [line for line in response.headers.raw if line[0].lower().startswith(own)]
            assert raw == [
                (b"X-First", b"1"),
                (b"set-cookie", b"a=1"),
                (b"X-Last", b"2"),
                (b"Set-Cookie", b"b=2"),
            ]
            assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]

    asyncio.run(main())


@LIBRARIES
def test_trace_and_network_stream_tell_what_was_done(server: Server, library: Any):
    seen: list[str] = []

    async def trace(name: str, info: Any) -> None:
        seen.append(name)

    async def main() -> None:
        async with library.AsyncClient(transport=Transport()) as client:
            for _ in range(2):
                extensions = {"trace": trace}
                response = await client.get(f"{server.url}/1k", extensions=extensions)
                stream = response.extensions["network_stream"]
                assert stream.get_extra_info("server_addr") == ("127.0.0.1", server.port)
                assert stream.get_extra_info("anything else") is None

    asyncio.run(main())
    connecting = ["connection.connect_tcp.started", "connection.connect_tcp.complete"]
    exchange = [
        f"http11.{step}"
        for step in (
            "send_request_headers.started",
            "send_request_headers.complete",
            "receive_response_headers.started",
            "receive_response_headers.complete",
        )
    ]
    assert seen == [*connecting, *exchange, *exchange]


def test_a_write_timeout_finer_than_any_timer_is_kept(counting: Server):
    async def main() -> None:
        timeout = httpx.Timeout(None, write=1e-6)
        async with httpx.AsyncClient(transport=Transport(), timeout=timeout) as client:
            with pytest.raises(httpx.WriteTimeout):
                await client.put(f"{counting.url}/upload/x", content=b"x" * 50_000_000)

    asyncio.run(main())


@LIBRARIES
def test_an_answer_that_comes_after_the_write_timeout_is_late(counting: Server, library: Any):
    # The server answers before it has read the body, and within the step of a timer.
    async def main() -> None:
        timeout = library.Timeout(None, write=1e-6)
        async with library.AsyncClient(transport=Transport(), timeout=timeout) as client:
            for _ in range(5):
                with pytest.raises(library.WriteTimeout):
                    await client.post(f"{counting.url}/early/x", content=b"x" * 50_000_000)

    asyncio.run(main())


@LIBRARIES
def test_an_open_response_keeps_its_connection_however_small_its_body(server: Server, library: Any):
    limits, timeout = library.Limits(max_connections=1), library.Timeout(None, pool=1e-4)

    async def main() -> None:
        transport = Transport(limits=limits)
        async with library.AsyncClient(transport=transport, timeout=timeout) as client:
            async with client.stream("GET", f"{server.url}/1k") as response:
                await asyncio.sleep(0.05)  # time enough to read it ahead
                with pytest.raises(library.PoolTimeout):
                    await client.get(f"{server.url}/1k")
                assert len(await response.aread()) == 1024
            assert (await client.get(f"{server.url}/1k")).status_code == 200

    asyncio.run(main())
    with library.Client(transport=SyncTransport(limits=limits), timeout=timeout) as client:
        with client.stream("GET", f"{server.url}/1k") as response:
            with pytest.raises(library.PoolTimeout):
                client.get(f"{server.url}/1k")
            assert len(response.read()) == 1024


def test_an_unknown_option_of_a_transport_is_named():
    with pytest.raises(TypeError, match="no option 'verfy'"):
        Transport(verfy=False)  # type: ignore[call-arg]

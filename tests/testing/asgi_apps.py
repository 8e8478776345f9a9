"""Small applications, and a client of bytes, for the tests of `ASGITransport`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from offloop.testing import ASGITransport

App = Callable[[Any, Any, Any], Awaitable[None]]
GET = b"GET / HTTP/1.1\r\nhost: testserver\r\nconnection: close\r\n\r\n"


def answering(body: bytes = b"hello", status: int = 200, *headers: tuple[bytes, bytes]) -> App:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


@contextlib.asynccontextmanager
async def connected(
    transport: ASGITransport,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = transport.address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def raw(transport: ASGITransport, request: bytes = GET) -> bytes:
    """Send bytes, and read until the server closes."""
    async with connected(transport) as (reader, writer):
        writer.write(request)
        return await reader.read()


def raising(when: str) -> App:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        start = {"type": "http.response.start", "status": 200}
        length = {**start, "headers": [(b"content-length", b"3")]}
        match when:
            case "at once":
                raise ValueError("from the app")
            case "after the start":
                await send(start)
                raise ValueError("from the app")
            case "in the body":
                await send(start)
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
                raise ValueError("from the app")
            case "no answer":
                return
            case "no end":
                await send(start)
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
            case "body first":
                await send({"type": "http.response.body", "body": b"x"})
            case "two starts":
                await send(start)
                await send(start)
            case "too long":
                await send(length)
                await send({"type": "http.response.body", "body": b"xxxx"})
            case "too short":
                await send(length)
                await send({"type": "http.response.body", "body": b"x"})
            case "not a header":
                await send({**start, "headers": [(b"x", b"a\r\nb: c")]})
                await send({"type": "http.response.body"})
            case "pytest.fail":
                pytest.fail("from the app")

    return app

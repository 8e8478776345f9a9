"""A server that answers before it has read the request, and then reads no more."""

from __future__ import annotations

import asyncio
import contextlib

import offloop

open_connections: list[asyncio.StreamWriter] = []


async def answer(reader: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
    open_connections.append(out)
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            status = b"413 Too Large" if head.startswith(b"POST") else b"200 OK"
            out.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 2\r\n\r\nok")
            await out.drain()
            if head.startswith(b"POST"):
                reader._transport.pause_reading()  # type: ignore[attr-defined]
                return


def test_a_connection_that_still_sends_its_body_does_not_hold_up_the_next_request() -> None:
    async def main() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=1024)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with offloop.Client(limits=offloop.Limits(per_host=1)) as client:
            early = await client.post(url, content=b"x" * 50_000_000)
            assert early.status_code == 413
            async with asyncio.timeout(5):
                assert (await client.get(url, timeout=2)).status_code == 200
        server.close()
        for out in open_connections:
            out.close()
            with contextlib.suppress(ConnectionError):
                await out.wait_closed()

    asyncio.run(main())

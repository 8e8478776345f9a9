"""A server that announces the length of a body and keeps its promise, or does not.

Paths: /ANNOUNCED/SENT/END. The byte at place i is i // 4096 % 251. END is `whole` (the connection
is kept), `cut` (it closes), `hang` (it waits for the client to leave), `first` (cut for the first
request of this path, whole for the others); /stats tells how many connections are open.
"""

from __future__ import annotations

import asyncio
import contextlib
import json

import stdin

PATTERN = b"".join(bytes([number]) * 4096 for number in range(251))
open_connections: set[asyncio.StreamWriter] = set()
cut: set[str] = set()


def content(size: int) -> bytes:
    """The first `size` bytes of every body."""
    return (PATTERN * (size // len(PATTERN) + 1))[:size]


async def answer(path: str, reader: asyncio.StreamReader, out: asyncio.StreamWriter) -> bool:
    """Answer one request; False closes the connection."""
    if path == "/stats":
        body = json.dumps({"open": len(open_connections) - 1}).encode()
        out.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        return True
    announced, sent, end = path.strip("/").split("/")
    size = int(sent)
    if end == "first":
        end = "whole" if path in cut else "cut"
        size = int(announced) if end == "whole" else size
        cut.add(path)
    out.write(b"HTTP/1.1 200 OK\r\ncontent-length: %s\r\n\r\n" % announced.encode())
    out.write(content(size))
    await out.drain()
    if end == "hang":
        await reader.read(1)
    return end == "whole"


async def serve_connection(reader: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
    open_connections.add(out)
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if not await answer(head.split(b" ")[1].decode(), reader, out):
                break
            await out.drain()
    open_connections.discard(out)
    out.close()


async def main() -> None:
    server = await asyncio.start_server(serve_connection, "127.0.0.1", 0)
    await stdin.listening(server.sockets[0].getsockname()[1]).wait()


if __name__ == "__main__":
    asyncio.run(main())

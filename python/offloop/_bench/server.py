"""The server of ``offloop bench``: 1 KiB for every request, from a process of its own.

It is written in Python and as quick as that gets: it looks for the end of heads and at nothing
else. It prints its port, and serves until its standard input closes.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from offloop import _server_process

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = 1024
BACKLOG = 1024

_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
    b"Content-Length: %d\r\n\r\n" % SIZE + b"x" * SIZE
)


class _Conversation(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._unread = b""

    def data_received(self, data: bytes) -> None:
        *heads, self._unread = (self._unread + data).split(b"\r\n\r\n")
        self._transport.write(_ANSWER * len(heads))


async def serve() -> None:
    """Serve until standard input closes; the port goes to standard output."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Conversation, "127.0.0.1", 0, backlog=BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.buffer.read)
    server.close()


@contextmanager
def serving() -> Iterator[str]:
    """Have a server in another process; gives the URL.

    Raises ChildProcessError when the server does not come up.
    """
    with _server_process.serving("offloop._bench.server") as port:
        yield f"http://127.0.0.1:{port}/"


if __name__ == "__main__":
    asyncio.run(serve())

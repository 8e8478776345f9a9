"""A slow HTTP/1.1 server on loopback, in a process of its own.

A process, so that it does not share the GIL with what is measured. Run as a module it picks a
free port, prints it as one line, and serves until its stdin closes: the pipe closes with the
parent however the parent ends, so the server never outlives it.

::

    GET /page/N         200 after the latency: `page(N)`
    GET /slow/SECONDS   200 after SECONDS, at most 60
    anything else       404, or 405 for another method, after the latency

Requests wait side by side; connections are kept alive.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import sys
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

from offloop import _server_process

if TYPE_CHECKING:
    from collections.abc import Iterator

LATENCY = 0.1
"""Seconds every request takes: a typical round trip to another continent."""

BACKLOG = 2048
"""A thousand connections arrive at once, and none should wait for a repeated SYN."""

LONGEST = 60.0
"""Seconds ``/slow/`` agrees to, so that a slip of the finger ends."""


def page(number: int) -> bytes:
    """Give the body of ``/page/number``, the same each time."""
    return f"This is page {number}.\n".encode() * (1 + number % 7)


@contextmanager
def serving(latency: float = LATENCY) -> Iterator[str]:
    """Have a server in another process; gives its base URL, without a slash at the end.

    Raises ChildProcessError when the server does not come up.
    """
    arguments = ("--latency", str(latency))
    with _server_process.serving("offloop.demo.server", *arguments) as port:
        yield f"http://127.0.0.1:{port}"


async def serve(latency: float) -> None:
    """Serve until stdin closes; the port goes to stdout."""
    handler = functools.partial(_converse, latency=latency)
    server = await asyncio.start_server(handler, "127.0.0.1", 0, backlog=BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.buffer.read)
    # Connections that are still open are cancelled by asyncio.run; waiting for them would let a
    # client that keeps its connection keep the server.
    server.close()


async def _converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, latency: float
) -> None:
    """Answer the requests of one connection, one after another, until the client leaves."""
    # An end of the stream, a reset or a head of more than 64 KiB: the conversation is over. It is
    # cancelled only when the process ends, and Python 3.11 would log that as an error.
    over = (EOFError, ConnectionError, asyncio.LimitOverrunError, asyncio.CancelledError)
    with suppress(*over):
        keep = True
        while keep:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            request_line, *headers = head.lower().split("\r\n")
            method, _, rest = request_line.partition(" ")
            # A body is not read, so nothing can follow a request that may have one.
            keep = method == "get" and "connection: close" not in headers
            path = rest.partition(" ")[0].partition("?")[0]
            status, body, seconds = _answer(method, path, latency)
            await asyncio.sleep(seconds)
            writer.write(
                f"HTTP/1.1 {status.value} {status.phrase}\r\n"
                "Content-Type: text/plain; charset=utf-8\r\n"
                f"Content-Length: {len(body)}\r\n"
                f"Connection: {'keep-alive' if keep else 'close'}\r\n\r\n".encode()
                + body
            )
            await writer.drain()
    writer.close()


def _answer(method: str, path: str, latency: float) -> tuple[HTTPStatus, bytes, float]:
    """Give the status, the body and the seconds to wait."""
    if method != "get":
        return HTTPStatus.METHOD_NOT_ALLOWED, b"only GET\n", latency
    with suppress(ValueError):
        match path.split("/"):
            case ["", "page", number]:
                return HTTPStatus.OK, page(int(number)), latency
            case ["", "slow", seconds] if 0 <= float(seconds) <= LONGEST:
                return HTTPStatus.OK, b"at last\n", float(seconds)
    return HTTPStatus.NOT_FOUND, b"no such page\n", latency


def main(argv: list[str] | None = None) -> None:
    """Serve as the command line `argv` asks, by default that of the process."""
    parser = argparse.ArgumentParser(prog="python -m offloop.demo.server", description=__doc__)
    parser.add_argument("--latency", type=float, default=LATENCY, help="seconds per request")
    asyncio.run(serve(parser.parse_args(argv).latency))


if __name__ == "__main__":
    main()

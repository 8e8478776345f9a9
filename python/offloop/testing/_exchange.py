"""One request and the answer to it, as the handler of a `LoopbackServer` sees them.

The framing of answers (content-length, chunked, or the end of the connection; RFC 9112, section 6)
is decided here, and whether the connection lives on. An answer that is shorter or longer than it
announced is sent as it is: that is one of the faults to be tested. All of it runs in the loop of
the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING

from offloop.testing._wire import BadRequest, RequestBody

if TYPE_CHECKING:
    from collections.abc import Iterable

    from offloop.testing._wire import RequestHead, WatchedReader

MAX_UNREAD = 1024 * 1024
"""Bytes of a request's body that are thrown away so that its connection can live on. Arbitrary."""

LINGER = 1.0
"""Seconds a client has to stop sending a body that nobody reads. Arbitrary."""

_FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*")


class Exchange:
    """One request, read as far as the handler wants, and the answer to it."""

    def __init__(
        self, head: RequestHead, reader: WatchedReader, writer: asyncio.StreamWriter
    ) -> None:
        self.head = head
        self.started = False
        """Whether the head of an answer has been sent."""
        self.over = asyncio.Event()
        """Set when the client has left or the answer is complete."""
        self.left: int | None = None
        """Bytes of the answer that were announced and are not sent yet; None without a length."""
        self._reader = reader
        self._writer = writer
        self._body = RequestBody(reader, head)
        self._expects = b"100-continue" in head.tokens(b"expect") and not self._body.ended
        self._keep = head.version == "1.1" and b"close" not in head.tokens(b"connection")
        self._chunked = False
        self._bodiless = head.method == "HEAD"
        reader.on_gone = self.over.set
        if reader.gone:
            self.over.set()

    @property
    def gone(self) -> bool:
        """Whether the client has left, or has ended its side of the connection."""
        return self._reader.gone

    @property
    def peer(self) -> tuple[str, int]:
        """Address and port of the client."""
        host, port = self._writer.get_extra_info("peername", ("127.0.0.1", 0))[:2]
        return str(host), int(port)

    @property
    def body_ended(self) -> bool:
        """Whether all of the request's body has been read."""
        return self._body.ended

    async def read(self) -> bytes:
        """Give the next piece of the request's body; empty at its end.

        A client that expects ``100 Continue`` gets it now. Raises `BadRequest`, EOFError,
        ConnectionError.
        """
        if self._expects:
            self._expects = False
            await self.send_raw(b"HTTP/1.1 100 Continue\r\n\r\n")
        return await self._body.read()

    async def send_head(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Begin the answer. Without a content-length the body is chunked.

        Raises ValueError for what is no header, ConnectionError when the client has left.
        """
        fields = [name + b": " + value for name, value in headers]
        for field in fields:
            if _FIELD.fullmatch(field) is None:
                raise ValueError(f"not a header: {field!r}")
        named = {field.partition(b":")[0].lower(): field.partition(b":")[2] for field in fields}
        self._bodiless |= status in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}
        length = named.get(b"content-length", b"").strip()
        if b"chunked" in named.get(b"transfer-encoding", b"").lower():
            self._chunked = True
        elif length.isdigit():
            self.left = int(length)
        elif not self._bodiless and self.head.version == "1.1":
            self._chunked = True
            fields.append(b"transfer-encoding: chunked")
        elif not self._bodiless:
            self._keep = False
        if self._expects:
            # The client may or may not send its body now; nothing can follow safely.
            self._expects = self._keep = False
        if b"close" in named.get(b"connection", b"").lower():
            self._keep = False
        elif not self._keep:
            fields.append(b"connection: close")
        self.started = True
        first = f"HTTP/1.1 {status} {_phrase(status)}".encode("ascii")
        await self.send_raw(b"\r\n".join([first, *fields, b"", b""]))

    async def send(self, data: bytes) -> None:
        """Send a piece of the answer's body, and wait while the client does not take it.

        Raises ConnectionError when the client has left.
        """
        if not data or self._bodiless:
            return
        if self.left is not None:
            self.left -= len(data)
        await self.send_raw(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    async def send_raw(self, data: bytes) -> None:
        """Send bytes that are not framed. Raises ConnectionError when the client has left."""
        if self._writer.is_closing():
            raise ConnectionResetError("the client has left")
        self._writer.write(data)
        await self._writer.drain()

    async def send_all(
        self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes
    ) -> None:
        """Send a whole answer; a content-length is added where there is none."""
        headers = list(headers)
        framing = {b"content-length", b"transfer-encoding"}
        if status != HTTPStatus.NO_CONTENT and framing.isdisjoint(k.lower() for k, _ in headers):
            headers.append((b"content-length", str(len(body)).encode("ascii")))
        await self.send_head(status, headers)
        await self.send(body)

    async def send_text(self, status: int, text: str) -> None:
        """Send a whole answer of plain text."""
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        await self.send_all(status, headers, text.encode())

    def cut(self) -> None:
        """Have the connection end with what has been sent, complete or not."""
        self._keep = self._chunked = False

    def abort(self) -> None:
        """End the connection with a reset (RST), as a crashed peer would."""
        # The linger of zero seconds is what makes close() a reset: socket(7), SO_LINGER.
        # Windows has two shorts where POSIX has two ints.
        linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._writer.transport.abort()

    async def finish(self) -> bool:
        """End the answer; tells whether the connection can take another request."""
        if not self.started or self._writer.is_closing():
            return False
        if self._chunked:
            await self.send_raw(b"" if self._bodiless else b"0\r\n\r\n")
        if self.left and not self._bodiless:
            return False
        self._reader.on_gone = None
        self.over.set()
        if not self._body.ended:
            return await self._discard()
        return self._keep

    async def _discard(self) -> bool:
        # To close with unread bytes would be a reset, which can destroy the answer on its way.
        unread = 0
        with contextlib.suppress(TimeoutError, BadRequest, EOFError):
            async with asyncio.timeout(LINGER):
                if not self._keep and self._writer.can_write_eof():
                    self._writer.write_eof()
                while not self._body.ended and unread < MAX_UNREAD:
                    unread += len(await self._body.read())
        return self._keep and self._body.ended


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""

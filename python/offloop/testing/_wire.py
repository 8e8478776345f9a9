"""What comes over the wire: request heads and request bodies, read strictly.

Anything that two programs might understand differently (two lengths, a folded header, a name with
a space) is a `BadRequest`, so that a test fails here and not first in production. Framing follows
RFC 9112. Nothing is written here; `_exchange` does that.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import SupportsIndex

MAX_HEAD = 64 * 1024
"""Largest request head in bytes, and largest line within a chunked body. Arbitrary."""

PIECE = 64 * 1024
"""Most bytes of a body that are read at once. Arbitrary."""

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([^\s]+) HTTP/(1)\.([01])")
_HEADER_LINE = re.compile(rb"(" + _TOKEN + rb"):[ \t]*([^\r\n\0]*?)[ \t]*")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")


class BadRequest(Exception):
    """The request breaks a rule; `status` is the answer it gets."""

    def __init__(self, text: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(text)
        self.status = status


class WatchedReader(asyncio.StreamReader):
    """A StreamReader that tells when the client has left, also while nobody reads.

    The end of the stream is noticed by the transport, so no read has to be kept pending. A client
    that leaves behind more than 128 KiB nobody reads is noticed late: its end waits in the kernel.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=MAX_HEAD, loop=loop)
        self.gone = False
        self.on_gone: Callable[[], object] | None = None

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        # After `feed_eof` by `LoopbackServer.stop` the client may still be sending.
        if not self.gone:
            super().feed_data(data)

    def feed_eof(self) -> None:
        super().feed_eof()
        self._leave()

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self._leave()

    def _leave(self) -> None:
        self.gone = True
        if self.on_gone is not None:
            self.on_gone()


@dataclass(frozen=True, slots=True)
class RequestHead:
    """Method, target and headers as they came; the names of the headers are in lower case."""

    method: str
    target: bytes
    version: str
    headers: tuple[tuple[bytes, bytes], ...]

    def values(self, name: bytes) -> list[bytes]:
        """Give all values of the header `name`, which is in lower case."""
        return [value for key, value in self.headers if key == name]

    def tokens(self, name: bytes) -> list[bytes]:
        """Give the comma-separated members of the header `name`, in lower case."""
        members = b",".join(self.values(name)).lower().split(b",")
        return [member.strip() for member in members if member.strip()]


async def read_head(reader: asyncio.StreamReader) -> RequestHead | None:
    """Give the head of the next request, or None when the client has no more.

    Raises `BadRequest`; IncompleteReadError when the client leaves in the middle of a head.
    """
    block = b""
    while not block:
        try:
            block = (await reader.readuntil(b"\r\n\r\n")).strip(b"\r\n")
        except asyncio.LimitOverrunError:
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise BadRequest(f"a head of more than {MAX_HEAD} bytes", status) from None
        except asyncio.IncompleteReadError as error:
            if error.partial.strip(b"\r\n"):
                raise
            return None
    first, *lines = block.split(b"\r\n")
    found = _REQUEST_LINE.fullmatch(first)
    if found is None:
        if first.endswith(b"HTTP/2.0"):
            raise BadRequest("only HTTP/1.1 is served", HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
        raise BadRequest(f"not a request line: {first[:100]!r}")
    headers = []
    for line in lines:
        field = _HEADER_LINE.fullmatch(line)
        if field is None:
            raise BadRequest(f"not a header: {line[:100]!r}")
        headers.append((field[1].lower(), field[2]))
    head = RequestHead(found[1].decode(), found[2], f"1.{found[4].decode()}", tuple(headers))
    hosts = len(head.values(b"host"))
    if hosts > 1 or (hosts == 0 and head.version == "1.1"):
        raise BadRequest(f"{hosts} host headers")
    return head


class RequestBody:
    """The body of one request. `read` may be cancelled at any time and called again."""

    def __init__(self, reader: asyncio.StreamReader, head: RequestHead) -> None:
        self._reader = reader
        # Bytes that are left of the body, or of the current chunk of a chunked body.
        self._left = 0
        self._next: Literal["plain", "size", "data", "crlf", "trailers", "end"] = "plain"
        codings = head.tokens(b"transfer-encoding")
        lengths = set(head.values(b"content-length"))
        if codings and lengths:
            raise BadRequest("both content-length and transfer-encoding")
        if codings:
            if codings != [b"chunked"]:
                raise BadRequest(f"transfer-encoding {codings}", HTTPStatus.NOT_IMPLEMENTED)
            self._next = "size"
            return
        if lengths:
            length = lengths.pop()
            if lengths or re.fullmatch(rb"[0-9]{1,18}", length) is None:
                raise BadRequest("not a content-length")
            self._left = int(length)
        self._next = "plain" if self._left else "end"

    @property
    def ended(self) -> bool:
        """Whether all of the body has been read."""
        return self._next == "end"

    async def read(self) -> bytes:
        """Give the next piece of the body; empty at its end, and then for ever.

        Raises `BadRequest`; EOFError when the client leaves before the end.
        """
        while not self.ended:
            match self._next:
                case "plain" | "data":
                    return await self._piece()
                case "size":
                    size = _CHUNK_SIZE.fullmatch(await self._line())
                    if size is None:
                        raise BadRequest("not the size of a chunk")
                    self._left = int(size[1], 16)
                    self._next = "data" if self._left else "trailers"
                case "crlf":
                    if await self._line():
                        raise BadRequest("a chunk is longer than its size")
                    self._next = "size"
                case _:
                    if not await self._line():
                        self._next = "end"
        return b""

    async def _piece(self) -> bytes:
        data = await self._reader.read(min(self._left, PIECE))
        if not data:
            raise asyncio.IncompleteReadError(b"", self._left)
        self._left -= len(data)
        if self._left == 0:
            self._next = "end" if self._next == "plain" else "crlf"
        return data

    async def _line(self) -> bytes:
        try:
            return (await self._reader.readuntil(b"\r\n"))[:-2]
        except asyncio.LimitOverrunError:
            raise BadRequest("a line without an end in a chunked body") from None

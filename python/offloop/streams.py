"""The body of a streamed response as text, lines, JSON values, server-sent events or even chunks.

Each function is an asynchronous generator over an asynchronous iterator of bytes, and closes that
iterator however it ends: used up, failed, or closed early. What a server could make grow without
end (a line, an event) has a limit in bytes. Whole chunks are split at once, never characters.
Everything runs in the loop's thread; offloop.Response offers all of it as methods.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from offloop.exceptions import (
    BodyTooLarge,
    FetchError,
    ProtocolError,
    RedirectError,
    StatusError,
    TLSError,
)

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Awaitable,
        Callable,
        Iterable,
        Iterator,
        Mapping,
    )

    from offloop._offloop import Response

RECONNECT = 3.0
"""Seconds until an event stream is opened again, unless the server asks for others: what Firefox
and Chromium wait."""

LONGEST_WAIT = 60.0
"""Seconds beyond which the wait does not grow while opening fails again and again; arbitrary."""

LONGEST_RETRY = 3600.0
"""Seconds that a server's ``retry`` may ask for at most; arbitrary."""

JITTER = 0.25
"""By how much a wait is at most prolonged, so that not all clients come back at once; arbitrary."""

_OK, _NO_CONTENT = 200, 204


async def text(
    chunks: AsyncIterator[bytes], encoding: str, errors: str = "replace"
) -> AsyncGenerator[str, None]:
    """Decode the body piece by piece; a character that was cut in two comes out whole.

    Raises LookupError for an unknown encoding.
    """
    try:
        codec = codecs.lookup(encoding)
        if not codec._is_text_encoding:
            # Such as zlib, which would make a server's charset= a way to unpack bombs.
            raise LookupError(f"{encoding!r} is not a text encoding")
        name, head = codec.name, b""
        if name in _MARKS:
            async for chunk in chunks:
                head += chunk
                if len(head) >= _LONGEST_MARK:
                    break
            name += "" if head.startswith(_MARKS[name]) else "-le"
        decoder = codecs.getincrementaldecoder(name)(errors)
        if piece := decoder.decode(head):
            yield piece
        async for chunk in chunks:
            if piece := decoder.decode(chunk):
                yield piece
        if piece := decoder.decode(b"", final=True):
            yield piece
    finally:
        await _close(chunks)


async def lines(
    chunks: AsyncIterator[bytes], encoding: str, limit: int | None, errors: str = "replace"
) -> AsyncGenerator[str, None]:
    r"""Split the body into lines, without their ends: ``\n``, ``\r\n`` or ``\r``.

    A last line without an end is one, too. A line is there as soon as its end is, a ``\r``
    included. Raises `BodyTooLarge` for a line of more than `limit` bytes of UTF-8, or while one
    grows beyond it.
    """
    pieces = text(chunks, encoding, errors)
    try:
        cut = False  # the last piece ended with \r, whose \n may come first in the next
        split = _Split(limit)
        async for given in pieces:
            piece = given[1:] if cut and given[0] == "\n" else given
            if not piece:
                cut = False
                continue
            cut = piece[-1] == "\r"
            if "\r" in piece:
                piece = piece.replace("\r\n", "\n").replace("\r", "\n")
            for line in split.feed(piece):
                yield line
        for line in split.rest():
            yield line
    finally:
        await pieces.aclose()


async def jsonl(chunks: AsyncIterator[bytes], limit: int | None) -> AsyncGenerator[Any, None]:
    r"""Parse each line as JSON, as `json.loads` does; blank lines are skipped.

    Lines end with ``\n``, as https://jsonlines.org has it. Raises ValueError, with the number of
    the line, for one that is not JSON in UTF-8; RecursionError for one nested too deeply;
    `BodyTooLarge` for one of more than `limit` bytes.
    """
    # Bytes that are not UTF-8 become lone surrogates, which raw JSON cannot have otherwise.
    pieces = text(chunks, "utf-8-sig", "surrogateescape")
    try:
        number = 0
        split = _Split(limit)
        async for piece in pieces:
            for line in split.feed(piece):
                number += 1
                if line.strip(_BLANK):
                    yield _value(line, number)
        for line in split.rest():
            if line.strip(_BLANK):
                yield _value(line, number + 1)
    finally:
        await pieces.aclose()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSentEvent:
    """One event of an event stream.

    Attributes (all readable)
        event: its type; "message" if the server named none.
        data: its data, lines joined with line feeds.
        id: the last id the server gave, with this event or before; "" if none.
        retry: seconds to wait before reconnecting, if the server said so with this event.
    """

    event: str = "message"
    data: str = ""
    id: str = ""
    retry: float | None = None

    def json(self) -> Any:
        """Give `data`, parsed by `json.loads`, whose ValueError it raises."""
        return json.loads(self.data)


def sse(chunks: AsyncIterator[bytes], limit: int | None) -> AsyncGenerator[ServerSentEvent, None]:
    """Parse an event stream: https://html.spec.whatwg.org/#event-stream-interpretation.

    An event that is cut off by the end of the stream is dropped. Raises `BodyTooLarge` for an
    event or a line of more than `limit` bytes.
    """
    return _events(chunks, limit, _Memory())


class EventStream(Protocol):
    """What `reconnecting_sse` needs of a streamed response."""

    @property
    def status_code(self) -> int: ...  # noqa: D102 - as Response's
    @property
    def headers(self) -> Mapping[str, str]: ...  # noqa: D102 - as Response's
    def aiter_bytes(self) -> AsyncIterator[bytes]: ...  # noqa: D102 - as Response's
    def aclose(self) -> Awaitable[object]: ...  # noqa: D102 - as Response's


async def reconnecting_sse(
    open_stream: Callable[[str | None], Awaitable[EventStream]], limit: int | None
) -> AsyncGenerator[ServerSentEvent, None]:
    """Yield events for as long as the server wants: a stream that ends or breaks is reopened.

    `open_stream` gets the id for the header ``Last-Event-ID``, or None. Between two streams it
    waits the server's ``retry``, 3 s by default, a bit longer at random, and twice as long after
    each stream that brought no event. An answer of 204 ends it, as the standard has it.

    Raises `StatusError` for another status than 200, `ProtocolError` for another type than
    ``text/event-stream``, and what no second try would mend: `InvalidURL`, `InvalidHeader`,
    `TLSError`, `RedirectError`, `BodyTooLarge`. Any other `FetchError` has it try again.
    """
    memory = _Memory()
    fruitless = 0
    while True:
        try:
            response = await open_stream(memory.id or None)
        except FetchError as error:
            if isinstance(error, _PERMANENT):
                raise
        else:
            try:
                if response.status_code == _NO_CONTENT:
                    return
                _check(response)
                given = _events(response.aiter_bytes(), limit, memory)
                async with contextlib.aclosing(_unbroken(given)) as events:
                    async for event in events:
                        fruitless = 0
                        yield event
            finally:
                await response.aclose()
        await asyncio.sleep(_wait(memory.retry, fruitless))
        fruitless += 1


async def rechunk(chunks: AsyncIterator[bytes], chunk_bytes: int) -> AsyncGenerator[bytes, None]:
    """Give chunks of exactly `chunk_bytes`, and a last one of what is left.

    Raises ValueError unless `chunk_bytes` is positive.
    """
    try:
        if chunk_bytes < 1:
            raise ValueError(f"chunk_bytes must be positive, not {chunk_bytes}")
        pending: list[bytes] = []
        have = 0
        async for chunk in chunks:
            pending.append(chunk)
            have += len(chunk)
            if have < chunk_bytes:
                continue
            block = b"".join(pending)
            whole = have - have % chunk_bytes
            for start in range(0, whole, chunk_bytes):
                yield block[start : start + chunk_bytes]
            pending = [block[whole:]]
            have -= whole
        if have:
            yield b"".join(pending)
    finally:
        await _close(chunks)


async def _close(source: object) -> None:
    aclose = getattr(source, "aclose", None)
    if aclose is not None:
        await aclose()


_PERMANENT = (ValueError, TLSError, RedirectError, StatusError, BodyTooLarge)
"""Failures that opening the stream again would only repeat."""

_MARKS = {
    "utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
    "utf-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
}
"""Without one of these Python's incremental decoders refuse to go on; browsers take little-endian:
https://encoding.spec.whatwg.org/#utf-16le."""

_LONGEST_MARK = 4

_BLANK = " \t\r"

_DIGITS = 15
"""Of a ``retry`` in milliseconds: more than `LONGEST_RETRY` has."""


class _Split:
    """Lines out of pieces of text, where only a line feed ends a line."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._pending: list[str] = []
        self._pending_bytes = 0

    def feed(self, piece: str) -> Iterable[str]:
        """Give the lines that end in `piece`; iterating may raise `BodyTooLarge`."""
        limit = self._limit
        most = 0 if limit is None else self._pending_bytes + _bytes(piece)
        found = piece.split("\n")
        tail = found.pop()
        if found and self._pending:
            found[0] = "".join([*self._pending, found[0]])
        if found:
            self._pending, self._pending_bytes = [], 0
        if tail:
            self._pending.append(tail)
            self._pending_bytes += _bytes(tail)
        return found if limit is None or most <= limit else self._checked(found, limit)

    def rest(self) -> list[str]:
        """Give the last line, if it has no end."""
        return ["".join(self._pending)] if self._pending else []

    def _checked(self, found: list[str], limit: int) -> Iterator[str]:
        for line in found:
            if _bytes(line) > limit:
                raise _too_large("a line", limit)
            yield line
        if self._pending_bytes > limit:
            raise _too_large("a line", limit)


def _bytes(piece: str) -> int:
    return len(piece) if piece.isascii() else len(piece.encode("utf-8", "surrogatepass"))


def _too_large(what: str, limit: int) -> BodyTooLarge:
    error = BodyTooLarge(f"{what} is longer than {limit} bytes")
    error.limit = limit
    return error


def _value(line: str, number: int) -> Any:
    try:
        if not line.isascii():
            line.encode()
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {number}, column {error.colno}: {error.msg}") from error
    except UnicodeEncodeError:
        raise ValueError(f"line {number} is not UTF-8") from None
    except ValueError as error:  # an integer of more digits than Python takes
        raise ValueError(f"line {number}: {error}") from error


@dataclass(slots=True)
class _Memory:
    """What outlives a connection: the last id, and how long to wait for the next."""

    id: str = ""
    retry: float | None = None


async def _events(
    chunks: AsyncIterator[bytes], limit: int | None, memory: _Memory
) -> AsyncGenerator[ServerSentEvent, None]:
    given = lines(chunks, "utf-8-sig", limit)
    try:
        # As in Chromium, and unlike the letter of the standard, the id is kept on reconnecting.
        data: list[str] = []
        kind, size, last, retry = "", 0, memory.id, None
        async for line in given:
            if not line:
                memory.id = last
                if data:
                    yield ServerSentEvent(
                        event=kind or "message", data="\n".join(data), id=last, retry=retry
                    )
                kind, data, size, retry = "", [], 0, None
                continue
            name, _, value = line.partition(":")  # a comment is a field without a name
            value = value.removeprefix(" ")
            if name == "data":
                data.append(value)
                size += _bytes(value) + 1
                if limit is not None and size > limit:
                    raise _too_large("an event", limit)
            elif name == "event":
                kind = value
            elif name == "id" and "\0" not in value:
                last = value
            elif name == "retry" and value.isascii() and value.isdigit():
                # int refuses, or takes minutes for, what no one would wait for.
                memory.retry = retry = int(value[:_DIGITS]) / 1000
    finally:
        await given.aclose()


async def _unbroken(
    events: AsyncGenerator[ServerSentEvent, None],
) -> AsyncGenerator[ServerSentEvent, None]:
    """End where a connection that can be replaced breaks."""
    try:
        async for event in events:
            yield event
    except FetchError as error:
        if isinstance(error, _PERMANENT):
            raise
    finally:
        await events.aclose()


def _check(response: EventStream) -> None:
    if response.status_code != _OK:
        raise StatusError(
            f"an event stream was answered with {response.status_code}",
            response=cast("Response", response),
        )
    content_type = response.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "text/event-stream":
        raise ProtocolError(f"an event stream was answered with {content_type!r}")


def _wait(retry: float | None, fruitless: int) -> float:
    base = RECONNECT if retry is None else min(retry, LONGEST_RETRY)
    if fruitless:
        base = max(base, min(max(base, 0.1) * 2.0 ** min(fruitless, 30), LONGEST_WAIT))
    return base * random.uniform(1, 1 + JITTER)  # noqa: S311 - spread, not secrecy

"""Where the bytes of a request's body come from: its parts, and how those of Python are pulled.

`part_of` makes one of whatever a user gives; `Source` strings them together when at least one has
to come out of Python while it is sent. Iterators and file objects of the blocking kind are pulled
in worker threads, the rest runs in the loop's thread. Nothing of the user's is closed but its
generators.
"""

from __future__ import annotations

import contextlib
import errno
import inspect
import io
import os
import stat
import threading
import time
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from offloop.exceptions import InvalidBody
from offloop.offload import run

HOP_BYTES = 256 * 1024
"""What one visit to a worker thread brings along; as much as Rust sends at once."""

PATIENCE = 0.02
"""Seconds after which a slow iterator's chunks are sent although they are few; arbitrary."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A regular file that Rust reads, or a worker thread if the body is streamed anyway."""

    path: Path
    length: int


class Pulled:
    """A blocking iterable of chunks, pulled in worker threads."""

    def __init__(self, chunks: Iterable[object], length: int | None = None) -> None:
        self.length = length
        self._chunks = chunks
        self._iterator: Iterator[object] | None = None
        # Set by the worker thread when nothing more comes, never unset.
        self._ended = False
        # Set by the loop's thread when nobody wants more, never unset.
        self._left = False
        # Held by the worker thread while the iterator works; others only try it.
        self._working = threading.Lock()

    async def __anext__(self) -> bytes:
        while not self._ended:
            if piece := await run(self._take):
                return piece
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._left = True
        if not self._ended:
            await run(self._close_if_left)

    def _take(self) -> bytes:
        try:
            with self._working:
                return self._gather()
        finally:
            self._close_if_left()

    def _gather(self) -> bytes:
        try:
            if self._iterator is None:
                self._iterator = iter(self._chunks)
            pieces, size, until = [], 0, time.monotonic() + PATIENCE
            for chunk in self._iterator:
                piece = _chunk(chunk)
                pieces.append(piece)
                size += len(piece)
                if size >= HOP_BYTES or time.monotonic() > until:
                    return b"".join(pieces)
        except BaseException:
            self._ended = True
            raise
        self._ended = True
        return b"".join(pieces)

    def _close_if_left(self) -> None:
        # If the generator is working its own thread closes it, as it comes out: to wait for that
        # could take for ever.
        if self._left and self._working.acquire(blocking=False):
            try:
                generator = self._chunks if self._iterator is None else self._iterator
                if isinstance(generator, Generator):
                    generator.close()
            finally:
                self._working.release()


class Awaited:
    """An asynchronous iterable of chunks."""

    length = None

    def __init__(self, chunks: AsyncIterable[object]) -> None:
        self._chunks = aiter(chunks)

    async def __anext__(self) -> bytes:
        while not (piece := _chunk(await anext(self._chunks))):
            pass
        return piece

    async def aclose(self) -> None:
        if isinstance(self._chunks, AsyncGenerator):
            await self._chunks.aclose()


Part: TypeAlias = bytes | Stored | Pulled | Awaited


class Source:
    """The parts of a body, one after the other, where at least one comes out of Python."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self._parts = deque(
            Pulled(_read_path(part.path)) if isinstance(part, Stored) else part for part in parts
        )

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while self._parts:
            part = self._parts[0]
            if isinstance(part, bytes):
                self._parts.popleft()
                return part
            try:
                return await anext(part)
            except StopAsyncIteration:
                self._parts.popleft()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Close what is not used up; the user's generators are closed with it."""
        async with contextlib.AsyncExitStack() as stack:
            for part in self._parts:
                if not isinstance(part, bytes):
                    stack.push_async_callback(part.aclose)
            self._parts = deque()


def octets(what: str, text: str) -> bytes:
    """Give a text as UTF-8; it is not shown where it has no such form."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidBody(f"{what} contains a lone surrogate") from None


def part_of(content: object) -> Part:
    """Whatever may be a body, or the content of one part of a form."""
    if isinstance(content, str):
        return octets("the body", content)
    if isinstance(content, (bytes, bytearray, memoryview)):
        return bytes(content)
    if isinstance(content, os.PathLike):
        return _path(Path(os.fsdecode(content)))
    if isinstance(content, (list, tuple)):
        return b"".join([_chunk(chunk) for chunk in content])
    return _streamed(content)


def _streamed(content: object) -> Part:
    if isinstance(content, io.BytesIO):
        return content.read()
    if callable(read := getattr(content, "read", None)):
        if isinstance(content, io.TextIOBase):
            raise TypeError("a file to be sent must be open in binary mode")
        if inspect.iscoroutinefunction(read):
            return Awaited(_read_awaited(content))
        length = _rest(content)
        return Pulled(_read_open(content, length), length)
    if isinstance(content, AsyncIterable):
        return Awaited(content)
    if isinstance(content, Iterable) and not isinstance(content, Mapping):
        return Pulled(content)
    raise TypeError(
        "content must be bytes, str, a path, a binary file or an iterable of bytes, "
        f"not {type(content).__name__}"
    )


def _chunk(chunk: object) -> bytes:
    if isinstance(chunk, (bytes, bytearray, memoryview)):
        return bytes(chunk)
    raise TypeError(f"a body consists of chunks of bytes, not {type(chunk).__name__}")


def _path(path: Path) -> Part:
    found = path.stat()
    if stat.S_ISREG(found.st_mode):
        return Stored(path, found.st_size)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    # A pipe or a device has no size, and cannot be read a second time.
    return Pulled(_read_path(path))


def _read_path(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(HOP_BYTES):
            yield chunk


def _rest(file: Any) -> int | None:
    """How much `read` will bring, if that is certain: GzipFile has a file of another size."""
    raw = getattr(file, "raw", file)
    if not isinstance(raw, io.FileIO):
        return None
    found = os.fstat(raw.fileno())
    return max(0, found.st_size - file.tell()) if stat.S_ISREG(found.st_mode) else None


def _read_open(file: Any, left: int | None) -> Iterator[object]:
    """Read what the file held at the call, and no more if it grows: its length is announced."""
    while left is None or left > 0:
        chunk = file.read(HOP_BYTES if left is None else min(HOP_BYTES, left))
        if chunk is None:
            raise BlockingIOError(errno.EAGAIN, "a file to be sent must be in blocking mode")
        if not chunk:
            return
        if left is not None:
            left -= len(chunk)
        yield chunk


async def _read_awaited(file: Any) -> AsyncIterator[object]:
    while chunk := await file.read(HOP_BYTES):
        yield chunk

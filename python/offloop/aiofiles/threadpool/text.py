"""Text files."""

from __future__ import annotations

import codecs
import io
import os
from typing import TYPE_CHECKING, Any

from offloop.aiofiles.base import AsyncIndirectBase
from offloop.aiofiles.threadpool._buffered import Buffered
from offloop.aiofiles.threadpool.utils import (
    delegate_to_executor,
    proxy_method_directly,
    proxy_property_directly,
)

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Executor

__all__ = ["AsyncTextIOWrapper", "AsyncTextIndirectIOWrapper"]

_ASCII_LIKE = frozenset({"utf-8", "ascii", "iso8859-1", "cp1252", "iso8859-15"})
"""Encodings, by the names of their codecs, in which ASCII text has as many bytes as characters."""

_PLAIN_ERRORS = frozenset({"strict", "ignore", "replace", "surrogateescape", "surrogatepass"})
"""Handlers that give no more bytes for a character than the encoding does."""

_PROPERTIES = ("closed", "encoding", "errors", "line_buffering", "newlines", "name", "mode")


@delegate_to_executor(
    "flush", "isatty", "readable", "seekable", "tell", "truncate", "writable", "writelines"
)
@proxy_method_directly("fileno")
@proxy_property_directly(*_PROPERTIES)
class AsyncTextIOWrapper(Buffered[str]):
    """A text file."""

    if TYPE_CHECKING:
        encoding: str
        errors: str | None
        line_buffering: bool
        newlines: str | tuple[str, ...] | None

        async def readable(self) -> bool: ...  # noqa: D102

    _empty = ""
    _newline = "\n"

    def __init__(
        self,
        file: Any,
        loop: asyncio.AbstractEventLoop | None,
        executor: Executor | None,
    ) -> None:
        super().__init__(file, loop, executor)
        self._knows_lines = False
        """Whether it is known what ends a line."""
        self._sizing: tuple[bool, bool] | None = None
        """Whether ASCII has a byte for a character, and newlines become two; None: no inline."""

    def _opened_with(self, buffering: int, newline: str | None) -> None:
        super()._opened_with(buffering, newline)
        self._capacity = min(self._capacity, self._file._CHUNK_SIZE)
        self._knows_lines = True
        self._ahead.newline = "\n" if newline is None else newline
        file = self._file
        doubled = newline == "\r\n" or (newline is None and os.linesep == "\r\n")
        if self._regular and file.errors in _PLAIN_ERRORS and not file.line_buffering:
            name = codecs.lookup(file.encoding).name
            self._sizing = (name in _ASCII_LIKE, doubled)

    def _known_classes(self) -> Any:
        return io.TextIOWrapper

    def _reads_ahead(self) -> bool:
        return self._knows_lines

    def _go_to(self, distance: int) -> None:
        self._file.seek(self._mark)
        if distance:
            self._file.read(distance)

    def _size_of(self, data: Any) -> int:
        if self._sizing is None or type(data) is not str:
            return -1
        ascii_like, doubled = self._sizing
        size = len(data)
        if not (ascii_like and data.isascii()):
            # UTF-7, the longest known, has eight bytes for a character; some have marks on top.
            size = 8 * size + 16
        return size + data.count("\n") if doubled else size

    def detach(self) -> Any:
        """Give the binary file below; this one cannot be used any more."""
        self._settle_now()
        return self._file.detach()

    @property
    def buffer(self) -> Any:
        """The binary file below."""
        self._settle_now()
        return self._file.buffer


@delegate_to_executor(
    "close",
    "flush",
    "isatty",
    "read",
    "readable",
    "readline",
    "readlines",
    "seek",
    "seekable",
    "tell",
    "truncate",
    "writable",
    "write",
    "writelines",
)
@proxy_method_directly("detach", "fileno")
@proxy_property_directly("buffer", *_PROPERTIES)
class AsyncTextIndirectIOWrapper(AsyncIndirectBase):
    """A text file that is looked up for each call."""

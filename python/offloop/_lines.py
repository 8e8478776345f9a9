"""Lines of a text file: all of them in turn, or the last ones."""

from __future__ import annotations

import asyncio
import codecs
import io
import os
import re
from collections import deque
from typing import TYPE_CHECKING, Any

from offloop._hop import Turn, run
from offloop.aiofiles.threadpool import open as open_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Self

    from offloop._offloop import Job

    AnyPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]


class Lines:
    """The lines of a file, for `async for`: see `read_lines`."""

    def __init__(self, path: AnyPath, options: dict[str, Any]) -> None:
        self._path = path
        self._options = options
        self._file: Any = None
        self._opening = Turn()
        self._is_over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        if self._file is None:
            await self._open()
        if self._is_over:
            raise StopAsyncIteration
        try:
            return await self._file.__anext__()  # type: ignore[no-any-return]
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError):
                await self.aclose()
            raise

    async def _open(self) -> None:
        """Open the file, once; after a cancel it can be tried again."""
        await self._opening.take()
        try:
            if self._file is None and not self._is_over:
                self._file = await open_file(self._path, **self._options)
        finally:
            self._opening.release()

    async def batches(self) -> AsyncIterator[list[str]]:
        """Give the lines in lists, of about 64 KiB each."""
        async with self:
            while True:
                try:
                    first = await self.__anext__()
                except StopAsyncIteration:
                    return
                yield [first, *self._file._take_lines()]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the file; done by itself at the end of the lines, and when this is dropped."""
        self._is_over = True
        if self._file is not None:
            await self._file.close()

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            self._file._file.close()  # only read: nothing is to be written


def read_lines(
    path: AnyPath,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
) -> Lines:
    """Give the lines of a text file, with their newlines, for `async for`.

    They are read by a thread, some 64 KiB at a time; the file is never in memory as a whole.
    Raises what ``open`` raises, at the first step. Cancellation: no line is lost.
    ``.batches()`` gives lists of lines. The file is closed at the end, or when the iterator is
    dropped; ``async with`` closes it at once when the loop is left early.

    >>> [line async for line in read_lines("notes.txt", encoding="utf-8")]
    ['remember the milk']
    """
    return Lines(path, {"encoding": encoding, "errors": errors, "newline": newline})


def tail(
    path: AnyPath,
    lines: int = 10,
    encoding: str | None = None,
    errors: str | None = None,
) -> Job[list[str]]:
    r"""Awaiting it gives the last `lines` lines of a text file, with their newlines.

    They are the last ones that ``open`` would give: ``"\r\n"`` and ``"\r"`` are newlines, too, and
    become ``"\n"``. The file is read from its end, as far as it is needed. Raises what ``open``
    raises, and ValueError for a negative number. The encoding has to be one in which a newline is
    the byte that it is in ASCII, as in UTF-8: LookupError for UTF-16, UTF-32 and EBCDIC.
    Cancellation: the await ends when the reading has.

    >>> await tail("notes.txt", 1, encoding="utf-8")
    ['remember the milk']
    """
    if lines < 0:
        raise ValueError(f"lines must not be negative, not {lines}")
    return run(_tail, path, lines, encoding, errors)


def _tail(path: AnyPath, lines: int, encoding: str | None, errors: str | None) -> list[str]:
    with open(path, encoding=encoding, errors=errors) as text:  # noqa: PTH123 - bytes, too
        # The end of it: some encodings begin with a mark.
        if not "\r\n".encode(text.encoding).endswith(b"\r\n"):
            raise LookupError(f"the lines of {text.encoding} cannot be told from its bytes")
        file: Any = text.buffer
        at = file.seek(0, os.SEEK_END)
        pieces: deque[bytes] = deque()
        newlines = 0
        # One newline more than lines: the one before the first of them, if the last has one.
        while at > 0 and newlines <= lines:
            step = min(at, 64 * 1024)
            at -= step
            file.seek(at)
            piece = file.read(step)
            newlines += piece.count(b"\n") + piece.count(b"\r") - piece.count(b"\r\n")
            if piece.endswith(b"\r") and pieces and pieces[0].startswith(b"\n"):
                newlines -= 1
            pieces.appendleft(piece)
        last = _LINE.findall(b"".join(pieces))
        kept = last[-lines:] if lines else []
        name = text.encoding
        if at > 0 or len(kept) < len(last):
            # What looks like the mark of a file's begin is none in its middle.
            name = {"utf-8-sig": "utf-8"}.get(codecs.lookup(name).name, name)
        decoded = io.TextIOWrapper(io.BytesIO(b"".join(kept)), encoding=name, errors=text.errors)
        return list(decoded)


_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")

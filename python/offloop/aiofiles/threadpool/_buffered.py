"""Files of `io` with a buffer: what it holds, and what it has room for, needs no thread.

Reading: a thread reads more than was asked for, into `Ahead`; further reads take from there. Any
other operation first moves the file back to where its user believes it to be. Only regular files
are read ahead: a pipe is asked for nothing that its user has not asked for.

Writing: a thread writes when the buffer of `io` may be full; until then a write only copies into
that buffer, and so is done at once. Errors come up where `io` has them: at the write that empties
the buffer, at `flush`, at `close`.
"""

# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import functools
import operator
import os
import stat
from typing import TYPE_CHECKING, Any, AnyStr, ClassVar, Generic

from offloop.aiofiles.base import AsyncBase
from offloop.aiofiles.threadpool._ahead import Ahead

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable
    from concurrent.futures import Executor

CHUNK = 16 * 1024
"""How much a small read has a thread read; two or four buffers of `io`. Arbitrary."""

LINES = 64 * 1024
"""How much one hop reads for those who read line by line. Measured: 16 KiB costs a tenth more."""

ROOM = 8 * 1024
"""No more than this is trusted to fit `io`'s buffers: the chunk of TextIOWrapper, and the smaller
of the sizes that `open` chooses."""


class Buffered(AsyncBase, Generic[AnyStr]):
    """What binary and text files share."""

    if TYPE_CHECKING:
        # What the decorators of `utils` give each of them.
        closed: bool
        mode: str
        name: Any

        async def flush(self) -> None: ...
        async def isatty(self) -> bool: ...
        async def seekable(self) -> bool: ...
        async def tell(self) -> int: ...
        async def truncate(self, size: int | None = None, /) -> int: ...
        async def writable(self) -> bool: ...
        async def writelines(self, lines: Iterable[Any], /) -> None: ...
        def fileno(self) -> int: ...

    _empty: ClassVar[Any] = b""
    _newline: Any = b"\n"

    def __init__(
        self,
        file: Any,
        loop: asyncio.AbstractEventLoop | None,
        executor: Executor | None,
    ) -> None:
        super().__init__(file, loop, executor)
        self._ahead = Ahead(self._empty, self._newline)
        self._mark: Any = None
        """Where the file stood before what is ahead was read; None where nobody can say."""
        self._error: Exception | None = None
        """What reading on has met behind what is ahead; raised when that has been taken."""
        self._is_dry = False
        """The last read gave None: a file that does not block has nothing yet."""
        self._room = 0
        """How much the buffer certainly takes without being written out."""
        self._capacity = 0
        self._block = ROOM
        self._regular = False
        self._waits = True
        self._look_at(file)

    def _look_at(self, file: Any) -> None:
        """Find out what kind of file it is; costs one system call that never blocks."""
        try:
            known = os.fstat(file.fileno())
        except (OSError, ValueError, AttributeError):
            return  # in memory, or closed
        self._waits = stat.S_ISREG(known.st_mode) or stat.S_ISBLK(known.st_mode)
        self._regular = stat.S_ISREG(known.st_mode) and isinstance(file, self._known_classes())
        if self._regular:
            block = getattr(known, "st_blksize", 0)
            self._block = block if block > 1 else ROOM

    def _opened_with(self, buffering: int, newline: str | None) -> None:
        """Take notice of what `open` was told and `io` does not tell."""
        del newline
        self._capacity = min(ROOM, buffering if buffering > 1 else self._block)

    def _known_classes(self) -> Any:
        raise NotImplementedError

    # What runs on a thread, in the file's turn.

    def _position(self) -> Any:
        """Where the file stands, if what is read ahead can be put back."""
        try:
            return self._file.tell() if self._regular and self._file.seekable() else None
        except (OSError, ValueError):
            # Closed: reading says so. Or text that `readlines` broke off in the middle of.
            return None

    def _set_mark(self) -> None:
        """Take note of where the file stands; nothing is ahead."""
        self._ahead.taken = 0
        self._mark = self._position()

    def _put_back(self) -> None:
        """Move the file to where its user believes it to be."""
        if self._mark is not None:
            self._go_to(self._ahead.taken)
            self._ahead.clear()

    def _in_place(self, function: Callable[..., Any], args: Any, keywords: Any) -> Any:
        if (self._ahead.size or self._error) and self._regular:
            self._put_back()
        self._error = None
        return function(*args, **keywords)

    def _raise_error(self) -> None:
        """Raise what reading on has met, once."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _fill(self, size: int) -> None:
        """Have at least `size` ahead, or all there is."""
        ahead = self._ahead
        self._raise_error()
        if not ahead.size:
            self._set_mark()
        missing = size - ahead.size
        wanted = max(missing, CHUNK) if self._mark is not None and self._reads_ahead() else missing
        try:
            self._put(self._file.read(wanted))
        except Exception:
            if wanted == missing:
                raise
            # It may stand behind what was asked for, and what came before it is gone.
            self._go_to(ahead.taken + ahead.size)
            self._put(self._file.read(missing))

    def _go_to(self, distance: int) -> None:
        """Move the file so far behind the mark."""
        raise NotImplementedError

    def _fill_all(self) -> None:
        self._raise_error()
        if not self._ahead.size:
            self._set_mark()
        self._put(self._file.read())

    def _put(self, piece: Any) -> None:
        self._is_dry = piece is None
        self._ahead.put(piece)

    def _fill_lines(self) -> None:
        """Have one more line ahead, or many."""
        ahead, readline = self._ahead, self._file.readline
        self._raise_error()
        if ahead.size:
            ahead.put(readline())
            return
        self._set_mark()
        if self._mark is None or not self._reads_ahead():
            line = readline()
            if line:
                ahead.put_lines([line], len(line))
            return
        lines: list[Any] = []
        size = 0
        while size < LINES:
            try:
                line = readline()
            except Exception as error:
                if not lines:
                    raise
                # Kept, and not met again: what `io` had read by then is lost to it.
                self._error = error
                break
            if not line:
                break
            lines.append(line)
            size += len(line)
        ahead.put_lines(lines, size)

    def _reads_ahead(self) -> bool:
        return True

    # What runs on the loop's thread.

    async def _call_in_turn(
        self,
        function: Callable[..., Any],
        *args: Any,
        then: Callable[[], Any] | None = None,
    ) -> Any:
        self._room = 0
        return await super()._call_in_turn(function, *args, then=then)

    async def _filled(self, fill: Callable[..., None], *args: Any, then: Callable[[], Any]) -> Any:
        """Have a thread fill what is ahead, and take from it with `then`."""
        return await self._call_in_turn(fill, *args, then=then)

    def _check(self) -> None:
        """Raise as `io` does where the file is closed."""
        if self._file.closed:
            raise ValueError("I/O operation on closed file.")

    async def read(self, size: int | None = -1, /) -> AnyStr:
        """Read `size` bytes or characters, all if it is negative or None; fewer at the end."""
        ahead = self._ahead
        try:
            wanted = -1 if size is None else operator.index(size)
        except TypeError:
            wanted = 0
        if not wanted:
            return await self._do(self._file.read, size)  # or raises as io does
        if not self._turn.take_now():
            await self._turn.take()
        if 0 < wanted <= ahead.size:
            try:
                self._check()
                return ahead.take(wanted)
            finally:
                self._turn.release()
        if wanted < 0:
            return await self._filled(self._fill_all, then=self._take_all)
        return await self._filled(self._fill, wanted, then=lambda: self._take(wanted))

    def _take(self, wanted: int) -> Any:
        # None, as io has it: the file does not block, and there is nothing yet.
        return None if self._is_dry and not self._ahead.size else self._ahead.take(wanted)

    def _take_all(self) -> Any:
        return self._take(self._ahead.size)

    async def readline(self, size: int | None = -1, /) -> AnyStr:
        """Read up to and with the next newline, but no more than `size` if that is not negative."""
        ahead = self._ahead
        try:
            limit = -1 if size is None else operator.index(size)
        except TypeError:
            limit = 0
        if not limit:
            return await self._do(self._file.readline, size)  # or raises as io does
        await self._turn.take()
        if ahead.size:
            line = None
            try:
                self._check()
                line = self._take_line(limit)
            except BaseException:
                self._turn.release()
                raise
            if line is not None:
                self._turn.release()
                return line
        return await self._filled(self._fill_line, limit, then=lambda: self._take_line(limit, True))

    def _fill_line(self, limit: int) -> None:
        """Have a whole line ahead, or `limit` of it, or what is left of the file."""
        ahead = self._ahead
        if limit >= 0:
            # No more than that: the rest of the line may never come, or may not be text.
            self._raise_error()
            if not ahead.size:
                self._set_mark()
            ahead.put(self._file.readline(limit - ahead.size))
            return
        while ahead.line_length() is None:
            before = ahead.size
            self._fill_lines()
            if ahead.size == before:
                return

    def _take_line(self, limit: int = -1, at_end: bool = False) -> Any:
        """Take a line, None if its end is not there; what there is if that is the end."""
        ahead = self._ahead
        if ahead.lines and ahead.size and limit < 0:
            return ahead.take_line_piece()
        length = ahead.line_length()
        if length is None and 0 <= limit <= ahead.size:
            length = limit
        if length is None:
            return self._take_all() if at_end else None
        return ahead.take(length if limit < 0 else min(length, limit))

    def _take_lines(self) -> list[Any]:
        """Take the whole lines that are there."""
        ahead = self._ahead
        if not ahead.lines or not self._turn.take_now():
            return []
        try:
            lines = list(ahead.pieces)
            ahead.taken += ahead.size
            ahead.clear()
            return lines
        finally:
            self._turn.release()

    async def __anext__(self) -> AnyStr:
        """Give the next line."""
        ahead = self._ahead
        if ahead.lines and self._turn.take_now():
            try:
                if ahead.lines and ahead.size:
                    return ahead.take_line_piece()
            finally:
                self._turn.release()
        if line := await self.readline():
            return line
        raise StopAsyncIteration

    async def readlines(self, hint: int | None = -1, /) -> list[AnyStr]:
        """Read all lines, or so many that they are `hint` long together."""
        if self._ahead.size and not self._regular:
            lines = []
            left = -1 if hint is None or hint <= 0 else hint
            while line := await self.readline():
                lines.append(line)
                if left > 0:
                    left -= len(line)
                    if left <= 0:
                        break
            return lines
        return await self._do(self._file.readlines, hint)

    async def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a position; gives the new one."""
        return await self._do(self._file.seek, offset, whence)

    async def close(self) -> None:
        """Write what is buffered and close the file; an error of either is raised."""
        await self._end(self._file.close)

    async def _exit(self, *exc: object) -> None:
        await self._end(functools.partial(self._file.__exit__, *exc))

    async def _end(self, end: Callable[[], Any]) -> None:
        file = self._file
        only_read = self._regular and not file.closed and not file.writable()
        if only_read and self._turn.take_now():
            # Nothing is to be written, and closing what is only read does not wait for a disk.
            try:
                end()
            finally:
                self._forget()
                self._turn.release()
            return

        def clear_and_end() -> None:
            self._forget()
            end()

        await self._finish(clear_and_end)

    def _forget(self) -> None:
        self._ahead.clear()
        self._error = None

    async def write(self, data: Any, /) -> int:
        """Write, into the buffer if that has room."""
        room = self._room
        if room:
            size = self._size_of(data)
            if 0 <= size < room and self._turn.take_now():
                try:
                    if self._room == room:  # a thread may have been at it since the first look
                        written: int = self._file.write(data)
                        self._room = room - size
                        return written
                finally:
                    self._turn.release()
        await self._turn.take()
        room, written = 0, 0

        def write() -> None:
            # What is buffered goes first: so an error of it does not take `data` in, and after
            # that the buffer is known to be empty.
            nonlocal room, written
            if self._capacity and not self._file.closed:
                self._file.flush()
            written = self._file.write(data)
            size = self._size_of(data)
            room = self._capacity - size if 0 <= size < self._capacity else 0

        def then() -> None:
            self._room = room

        await self._call_in_turn(self._in_place, write, (), {}, then=then)
        return written

    def _size_of(self, data: Any) -> int:
        """How many bytes `data` takes at the most; -1 where nobody can say."""
        raise NotImplementedError

    def _settle_now(self) -> None:
        """Put back what is ahead for somebody who is given the file below."""
        if self._ahead.size and self._regular and self._turn.take_now():
            try:
                self._put_back()
            finally:
                self._turn.release()

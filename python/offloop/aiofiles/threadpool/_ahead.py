"""What was read of a file and not handed out yet: whole lines, or text or bytes as they came.

A thread fills it, the awaiter takes from it; one of them at a time, because a file has one turn.
So what a cancelled awaiter leaves is there for the next one.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Any

_ANY_NEWLINE = re.compile("\r\n|\n|\r")


class Ahead:
    """Pieces of one type, `str` or `bytes`, in order."""

    __slots__ = ("empty", "lines", "newline", "offset", "pieces", "size", "taken")

    def __init__(self, empty: Any, newline: Any) -> None:
        self.empty = empty
        """``""`` or ``b""``."""
        self.newline = newline
        """What ends a line; the empty string: any of the three newlines."""
        self.pieces: deque[Any] = deque()
        self.offset = 0
        """How much of the first piece has been taken."""
        self.size = 0
        """How much is left."""
        self.taken = 0
        """How much was taken since it was last empty and filled."""
        self.lines = False
        """Each piece is one line, and the first one is whole."""

    def put(self, piece: Any) -> None:
        """Add what was read."""
        if piece:
            if not self.size:
                self.taken = 0
            self.lines = False
            self.pieces.append(piece)
            self.size += len(piece)

    def put_lines(self, lines: list[Any], size: int) -> None:
        """Add whole lines, `size` long together, to what is empty."""
        self.taken = 0
        self.lines = True
        self.pieces.extend(lines)
        self.size = size

    def clear(self) -> None:
        """Forget it."""
        self.pieces.clear()
        self.offset = self.size = 0

    def take_line_piece(self) -> Any:
        """Take the first piece, which is a line: see `lines`."""
        line = self.pieces.popleft()
        self.size -= len(line)
        self.taken += len(line)
        return line

    def take(self, size: int) -> Any:
        """Take `size` of it, or all there is."""
        if not self.size or size == 0:
            return self.empty
        self.lines = False
        taken = []
        wanted = min(size, self.size)
        self.size -= wanted
        self.taken += wanted
        while wanted:
            piece = self.pieces[0]
            left = len(piece) - self.offset
            if left <= wanted:
                taken.append(piece[self.offset :] if self.offset else piece)
                self.pieces.popleft()
                self.offset = 0
                wanted -= left
            else:
                taken.append(piece[self.offset : self.offset + wanted])
                self.offset += wanted
                wanted = 0
        return taken[0] if len(taken) == 1 else self.empty.join(taken)

    def line_length(self) -> int | None:
        """How long the first line is, with its newline; None when its end has not come yet."""
        before = 0
        offset = self.offset
        last = len(self.pieces) - 1
        for number, piece in enumerate(self.pieces):
            end = self._line_end(piece, offset, is_last=number == last)
            if end is not None:
                return before + end - offset
            before += len(piece) - offset
            offset = 0
        return None

    def _line_end(self, piece: Any, offset: int, *, is_last: bool) -> int | None:
        if self.newline:
            at = piece.find(self.newline, offset)
            return None if at < 0 else at + len(self.newline)
        found = _ANY_NEWLINE.search(piece, offset)
        if found is None or (is_last and found.end() == len(piece) and found[0] == "\r"):
            return None  # a "\n" may follow
        return found.end()

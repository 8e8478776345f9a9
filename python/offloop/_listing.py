"""Folders, listed in batches: `scandir` and `walk`. Runs on the loop's thread."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from offloop import _offloop
from offloop._hop import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from offloop._offloop import Job

    StrPath = str | os.PathLike[str]
    AnyPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]

S = TypeVar("S", str, bytes)
B = TypeVar("B", bound="list[Any] | _offloop.Listings")

BATCH = 2_000
"""Names that come home together at first, and after which a walk lets others have the loop."""

MOST = 8_000
"""Names that come home together later on, so that changes of thread are few."""


class Entry(Generic[S]):
    """What is in a folder: `name`, `path`, and `kind` as the listing tells it.

    `kind` is ``"dir"``, ``"file"``, ``"link"`` or ``"other"``; a symbolic link is a link, wherever
    it leads. `os.fspath` gives the path.
    """

    __slots__ = ("kind", "name", "path")

    def __init__(self, name: S, path: S, kind: Literal["dir", "file", "link", "other"]) -> None:
        self.name: S = name
        self.path: S = path
        self.kind = kind

    def is_dir(self) -> bool:
        """Whether it is a folder, and no symbolic link to one."""
        return self.kind == "dir"

    def is_file(self) -> bool:
        """Whether it is a regular file, and no symbolic link to one."""
        return self.kind == "file"

    def is_symlink(self) -> bool:
        """Whether it is a symbolic link."""
        return self.kind == "link"

    def stat(self, *, follow_symlinks: bool = True) -> Job[os.stat_result]:
        """Awaiting it gives what ``os.stat`` gives."""
        return run(os.stat, self.path, follow_symlinks=follow_symlinks)

    def __fspath__(self) -> S:
        path: S = self.path
        return path

    def __repr__(self) -> str:
        return f"<Entry {self.name!r} {self.kind}>"


class _Batches(Generic[B]):
    """Batches that are asked for one after the other; none is lost to a cancel.

    The listing goes on for a batch whose awaiter was cancelled: whoever asks next gets it.
    """

    def __init__(self) -> None:
        self._asked: asyncio.Future[B] | None = None
        self._is_over = False

    async def next(self, ask: Callable[[], Job[B]]) -> B | None:
        """Give what comes next: nothing when there is no more, or when another awaiter got it."""
        if self._is_over:
            return None
        asked = self.ask_ahead(ask)
        try:
            await asyncio.shield(asked)
        finally:
            ours = asked.done() and self._asked is asked
            if ours and (asked.cancelled() or asked.exception() is not None):
                self._asked = None
        if not ours:
            return None
        self._asked = None
        found = asked.result()
        self._is_over = not found
        return found

    def ask_ahead(self, ask: Callable[[], Job[B]]) -> asyncio.Future[B]:
        """Begin to get what comes next, if that has not been begun."""
        if self._asked is None:
            self._asked = ask().start()
            self._asked.add_done_callback(_seen)
        return self._asked

    @property
    def is_over(self) -> bool:
        """Whether there is no more."""
        return self._is_over


def _seen(future: asyncio.Future[Any]) -> None:
    """Whoever asks next hears of its error; nobody may."""
    if not future.cancelled():
        future.exception()


class Scan(Generic[S]):
    """The entries of a folder, for `async for`: see `scandir`."""

    def __init__(self, path: Any) -> None:
        self._path: Any = os.fspath(path)
        self._scan = _offloop.Scan(path)
        self._batches: _Batches[list[Any]] = _Batches()
        self._batch: deque[Entry[S]] = deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Entry[S]:
        while not self._batch:
            if self._batches.is_over:
                raise StopAsyncIteration
            join, path = os.path.join, self._path
            found = await self._batches.next(lambda: self._scan.next(BATCH))
            self._batch.extend(Entry(name, join(path, name), kind) for name, kind in found or ())
        return self._batch.popleft()


@overload
def scandir(path: StrPath = ".") -> Scan[str]: ...
@overload
def scandir(path: bytes | os.PathLike[bytes]) -> Scan[bytes]: ...
def scandir(path: AnyPath = ".") -> Scan[Any]:
    """Give the entries of a folder, for `async for`, in the order of the system.

    They come in batches of 2,000 and are not all in memory at once. Raises OSError at the first
    step. Cancellation: the await ends at once. Leaving the loop early needs no closing.

    >>> sorted([entry.name async for entry in scandir("folder")])
    ['a.txt', 'b.txt']
    """
    return Scan(path)


class Walk(Generic[S]):
    """The folders of a tree, for `async for`: see `walk`."""

    def __init__(
        self, path: Any, on_error: Callable[[OSError], object] | None, follow_links: bool
    ) -> None:
        self._walk = _offloop.Walk(path, follow_links)
        self._batches: _Batches[_offloop.Listings] = _Batches()
        self._on_error = on_error
        self._batch: _offloop.Listings | None = None
        self._limit = BATCH
        self._given = 0
        self._last: tuple[Any, list[Any], tuple[Any, ...]] | None = None
        self._skipped: list[Any] = []

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[S, list[S], list[S]]:
        if self._last is not None:
            self._prune(*self._last)
            self._last = None
        while True:
            if self._given >= BATCH:
                self._given = 0
                await asyncio.sleep(0)
            taken = None if self._batch is None else self._batch.take()
            if taken is None:
                await self._next_batch()
                continue
            path, folders, files, error = taken
            self._given += 1 + len(folders) + len(files)
            if error is not None:
                if self._on_error is not None:
                    self._on_error(error)
                continue
            if folders:
                self._last = (path, folders, tuple(folders))
            listing: tuple[S, list[S], list[S]] = (path, folders, files)
            return listing

    async def _next_batch(self) -> None:
        if self._batches.is_over:
            raise StopAsyncIteration
        found = await self._batches.next(self._ask)
        if found is None:
            return
        for gone in self._skipped:  # while this batch was on its way
            found.skip(gone)
        self._batch = found
        if not self._batches.is_over:
            # A thread lists what follows while the loop looks at these.
            self._batches.ask_ahead(self._ask)

    def _ask(self) -> Job[_offloop.Listings]:
        skipped, self._skipped = self._skipped, []
        limit, self._limit = self._limit, min(self._limit * 2, MOST)
        return self._walk.next(limit, skipped)

    def _prune(self, path: Any, folders: list[Any], listed: tuple[Any, ...]) -> None:
        """Leave out the folders that were taken out of the list meanwhile."""
        if len(folders) == len(listed):
            return
        left = set(folders)
        for name in listed:
            if name in left:
                continue
            gone = os.path.join(path, name)  # noqa: PTH118 - bytes, too
            self._skipped.append(gone)
            if self._batch is not None:
                self._batch.skip(gone)


@overload
def walk(
    path: StrPath,
    *,
    on_error: Callable[[OSError], object] | None = None,
    follow_links: bool = False,
) -> Walk[str]: ...
@overload
def walk(
    path: bytes | os.PathLike[bytes],
    *,
    on_error: Callable[[OSError], object] | None = None,
    follow_links: bool = False,
) -> Walk[bytes]: ...
def walk(
    path: AnyPath,
    *,
    on_error: Callable[[OSError], object] | None = None,
    follow_links: bool = False,
) -> Walk[Any]:
    """Give a tree of folders as ``os.walk`` does from the top: ``(path, folders, files)``.

    They come in batches of 2,000 names and more. A name that is taken out of `folders` before the
    next step is not gone into; names that are put in, or another order, change nothing. Folders
    that cannot be listed are left out, and `on_error` is told. With `follow_links` symbolic links
    to folders are gone into, also in circles.

    Cancellation: the await ends at once. Leaving the loop early needs no closing.

    >>> [files async for path, folders, files in walk("folder")]
    [['a.txt', 'b.txt']]
    """
    return Walk(path, on_error, follow_links)

"""Binary files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from offloop.aiofiles.base import AsyncIndirectBase
from offloop.aiofiles.threadpool._buffered import Buffered
from offloop.aiofiles.threadpool.utils import (
    delegate_to_executor,
    proxy_method_directly,
    proxy_property_directly,
)

__all__ = [
    "AsyncBufferedIOBase",
    "AsyncBufferedReader",
    "AsyncFileIO",
    "AsyncIndirectBufferedIOBase",
    "AsyncIndirectBufferedReader",
    "AsyncIndirectFileIO",
]

_KNOWN = (io.BufferedReader, io.BufferedWriter, io.BufferedRandom)


@delegate_to_executor(
    "flush", "isatty", "readinto1", "seekable", "tell", "truncate", "writable", "writelines"
)
@proxy_method_directly("fileno", "readable")
@proxy_property_directly("closed", "name", "mode")
class AsyncBufferedIOBase(Buffered[bytes]):
    """A buffered binary file."""

    if TYPE_CHECKING:

        async def readinto1(self, buffer: Any, /) -> int: ...  # noqa: D102
        def readable(self) -> bool: ...  # noqa: D102

    def _known_classes(self) -> Any:
        return _KNOWN

    def _go_to(self, distance: int) -> None:
        self._file.seek(self._mark + distance)

    def _size_of(self, data: Any) -> int:
        if type(data) is bytes:
            return len(data)
        try:
            return memoryview(data).nbytes
        except TypeError:
            return -1

    async def read1(self, size: int = -1, /) -> bytes:
        """Read what is buffered, or what one system call gives."""
        if self._ahead.size and not self._regular and size != 0:
            size = self._ahead.size if size < 0 else min(size, self._ahead.size)
            return await self.read(size)
        return await self._do(self._file.read1, size)

    async def readinto(self, buffer: Any, /) -> int:
        """Read into `buffer`; gives how many bytes."""
        if self._ahead.size and not self._regular:
            view = memoryview(buffer).cast("B")
            data = await self.read(min(len(view), self._ahead.size))
            view[: len(data)] = data
            return len(data)
        return await self._do(self._file.readinto, buffer)

    def detach(self) -> Any:
        """Give the raw file; this one cannot be used any more."""
        self._settle_now()
        return self._file.detach()

    @property
    def raw(self) -> Any:
        """The file below the buffer."""
        self._settle_now()
        return self._file.raw


class AsyncBufferedReader(AsyncBufferedIOBase):
    """A buffered binary file that is read, or read and written."""

    async def peek(self, size: int = 0, /) -> bytes:
        """Give buffered bytes without reading them."""
        ahead = self._ahead
        if ahead.size and not self._regular:
            self._check()
            return b"".join(ahead.pieces)[ahead.offset :]
        return await self._do(self._file.peek, size)


@delegate_to_executor(
    "flush", "isatty", "seekable", "tell", "truncate", "writable", "write", "writelines"
)
@proxy_method_directly("fileno", "readable")
@proxy_property_directly("closed", "name", "mode")
class AsyncFileIO(Buffered[bytes]):
    """A raw file: each call is one system call, and nothing is read ahead."""

    if TYPE_CHECKING:

        def readable(self) -> bool: ...  # noqa: D102

    def _known_classes(self) -> Any:
        return (io.FileIO,)

    def _reads_ahead(self) -> bool:
        return False

    async def readall(self) -> bytes:
        """Read to the end."""
        return await self.read(-1)

    async def readinto(self, buffer: Any, /) -> int:
        """Read into `buffer`; gives how many bytes."""
        return await self._do(self._file.readinto, buffer)


_INDIRECT = (
    "close",
    "flush",
    "isatty",
    "read",
    "readinto",
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


@delegate_to_executor(*_INDIRECT, "read1")
@proxy_method_directly("detach", "fileno", "readable")
@proxy_property_directly("closed", "raw", "name", "mode")
class AsyncIndirectBufferedIOBase(AsyncIndirectBase):
    """A buffered binary file that is looked up for each call."""


@delegate_to_executor("peek")
class AsyncIndirectBufferedReader(AsyncIndirectBufferedIOBase):
    """The same, for reading."""


@delegate_to_executor(*_INDIRECT, "readall")
@proxy_method_directly("fileno", "readable")
@proxy_property_directly("closed", "name", "mode")
class AsyncIndirectFileIO(AsyncIndirectBase):
    """A raw file that is looked up for each call."""

"""Spooled temporary files, and temporary folders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from offloop._hop import hop, settled, started
from offloop.aiofiles.base import AsyncBase
from offloop.aiofiles.threadpool.utils import (
    cond_delegate_to_executor,
    delegate_to_executor,
    proxy_property_directly,
)

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Executor


@delegate_to_executor("fileno", "rollover")
@cond_delegate_to_executor(
    "close", "flush", "isatty", "read", "readline", "readlines", "seek", "tell", "truncate"
)
@proxy_property_directly("closed", "encoding", "mode", "name", "newlines")
class AsyncSpooledTemporaryFile(AsyncBase):
    """A temporary file that is in memory until it is larger than `max_size`."""

    async def _check(self) -> None:
        if self._file._rolled:
            return
        max_size = self._file._max_size
        if max_size and self._file.tell() > max_size:
            await self.rollover()  # type: ignore[attr-defined]

    async def write(self, s: Any) -> Any:
        """Write, in memory as long as it fits."""
        if self._file._rolled:
            return await self._do(self._file.write, s)
        # The file below: the spooled file's own `write` would roll over in the loop's thread.
        written = self._file._file.write(s)
        await self._check()
        return written

    async def writelines(self, iterable: Any) -> Any:
        """Write lines, in memory as long as they fit."""
        if self._file._rolled:
            return await self._do(self._file.writelines, iterable)
        written = self._file._file.writelines(iterable)
        await self._check()
        return written


@proxy_property_directly("name")
class AsyncTemporaryDirectory:
    """A temporary folder."""

    def __init__(
        self, file: Any, loop: asyncio.AbstractEventLoop | None, executor: Executor | None
    ) -> None:
        self._file = file
        self._loop = loop
        self._executor = executor

    async def cleanup(self) -> None:
        """Remove the folder and what is in it."""
        await hop(self._file.cleanup, executor=self._executor)

    async def close(self) -> None:
        """Remove the folder and what is in it."""
        await settled(started(self._file.cleanup, executor=self._executor))

    async def _exit(self, *exc: object) -> None:
        del exc
        await self.close()

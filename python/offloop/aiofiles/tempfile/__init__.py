"""Temporary files and folders: `tempfile`, with files whose calls are made by threads."""

from __future__ import annotations

import functools
import io
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from offloop.aiofiles.base import AiofilesContextManager
from offloop.aiofiles.tempfile.temptypes import AsyncSpooledTemporaryFile, AsyncTemporaryDirectory
from offloop.aiofiles.threadpool import open_by_thread
from offloop.aiofiles.threadpool.binary import AsyncBufferedIOBase, AsyncBufferedReader, AsyncFileIO
from offloop.aiofiles.threadpool.text import AsyncTextIOWrapper

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Executor

__all__ = [
    "NamedTemporaryFile",
    "SpooledTemporaryFile",
    "TemporaryDirectory",
    "TemporaryFile",
]


def NamedTemporaryFile(  # noqa: N802 - tempfile's name
    mode: str = "w+b",
    buffering: int = -1,
    encoding: str | None = None,
    newline: str | None = None,
    suffix: str | None = None,
    prefix: str | None = None,
    dir: Any = None,  # noqa: A002 - tempfile's name
    delete: bool = True,
    delete_on_close: bool = True,
    loop: asyncio.AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> AiofilesContextManager[Any]:
    """Give a temporary file with a name; `delete_on_close` needs Python 3.12."""
    options: dict[str, Any] = {"delete": delete}
    if sys.version_info >= (3, 12):
        options["delete_on_close"] = delete_on_close
    elif not delete_on_close:
        raise TypeError("delete_on_close needs Python 3.12")
    opener = functools.partial(
        tempfile.NamedTemporaryFile,
        mode=mode,
        buffering=buffering,
        encoding=encoding,
        newline=newline,
        suffix=suffix,
        prefix=prefix,
        dir=dir,
        **options,
    )
    return AiofilesContextManager(_temporary_file(opener, loop, executor))


def TemporaryFile(  # noqa: N802 - tempfile's name
    mode: str = "w+b",
    buffering: int = -1,
    encoding: str | None = None,
    newline: str | None = None,
    suffix: str | None = None,
    prefix: str | None = None,
    dir: Any = None,  # noqa: A002 - tempfile's name
    loop: asyncio.AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> AiofilesContextManager[Any]:
    """Give a temporary file without a name."""
    opener = functools.partial(
        tempfile.TemporaryFile,
        mode=mode,
        buffering=buffering,
        encoding=encoding,
        newline=newline,
        suffix=suffix,
        prefix=prefix,
        dir=dir,
    )
    return AiofilesContextManager(_temporary_file(opener, loop, executor))


def SpooledTemporaryFile(  # noqa: N802 - tempfile's name
    max_size: int = 0,
    mode: str = "w+b",
    buffering: int = -1,
    encoding: str | None = None,
    newline: str | None = None,
    suffix: str | None = None,
    prefix: str | None = None,
    dir: Any = None,  # noqa: A002 - tempfile's name
    loop: asyncio.AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> AiofilesContextManager[Any]:
    """Give a temporary file that stays in memory up to `max_size` bytes."""
    opener = functools.partial(
        tempfile.SpooledTemporaryFile,
        max_size=max_size,
        mode=mode,
        buffering=buffering,
        encoding=encoding,
        newline=newline,
        suffix=suffix,
        prefix=prefix,
        dir=dir,
    )
    return AiofilesContextManager(_spooled(opener, loop, executor))


def TemporaryDirectory(  # noqa: N802 - tempfile's name
    suffix: str | None = None,
    prefix: str | None = None,
    dir: Any = None,  # noqa: A002 - tempfile's name
    loop: asyncio.AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> AiofilesContextManagerTempDir:
    """Give a temporary folder; entering it gives its path."""
    opener = functools.partial(tempfile.TemporaryDirectory, suffix, prefix, dir)
    return AiofilesContextManagerTempDir(_folder(opener, loop, executor))


class AiofilesContextManagerTempDir(AiofilesContextManager[Any]):
    """What `TemporaryDirectory` gives: entering it gives the path, as in `tempfile`."""

    async def __aenter__(self) -> Any:
        folder = await self
        return folder.name


async def _temporary_file(opener: Any, loop: Any, executor: Any) -> Any:
    file = await open_by_thread(opener, executor)
    if type(file) is not tempfile._TemporaryFileWrapper:
        return wrap(file, file, loop=loop, executor=executor)
    result = wrap(file.file, file, loop=loop, executor=executor)
    if sys.version_info >= (3, 12):
        result._closer = file._closer
    else:
        result.delete = file.delete
    return result


async def _spooled(opener: Any, loop: Any, executor: Any) -> Any:
    file = await open_by_thread(opener, executor)
    return AsyncSpooledTemporaryFile(file, loop=loop, executor=executor)


async def _folder(opener: Any, loop: Any, executor: Any) -> Any:
    folder = await open_by_thread(opener, executor)
    return AsyncTemporaryDirectory(folder, loop=loop, executor=executor)


def wrap(
    base_io_obj: Any,
    file: Any,
    *,
    loop: asyncio.AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> Any:
    """Give the asynchronous face of `file`, whose real file is `base_io_obj`."""
    return _wrap(base_io_obj, file, loop, executor)


@functools.singledispatch
def _wrap(base_io_obj: Any, file: Any, loop: Any, executor: Any) -> Any:
    del file, loop, executor
    raise TypeError(f"Unsupported IO type: {base_io_obj}")


@_wrap.register(io.TextIOBase)
def _(base_io_obj: Any, file: Any, loop: Any, executor: Any) -> Any:
    del base_io_obj
    return AsyncTextIOWrapper(file, loop=loop, executor=executor)


@_wrap.register(io.BufferedWriter)
def _(base_io_obj: Any, file: Any, loop: Any, executor: Any) -> Any:
    del base_io_obj
    return AsyncBufferedIOBase(file, loop=loop, executor=executor)


@_wrap.register(io.BufferedReader)
@_wrap.register(io.BufferedRandom)
def _(base_io_obj: Any, file: Any, loop: Any, executor: Any) -> Any:
    del base_io_obj
    return AsyncBufferedReader(file, loop=loop, executor=executor)


@_wrap.register(io.FileIO)
def _(base_io_obj: Any, file: Any, loop: Any, executor: Any) -> Any:
    del base_io_obj
    return AsyncFileIO(file, loop=loop, executor=executor)

"""`open`, and which class wraps which file of `io`."""

from __future__ import annotations

import asyncio
import functools
import io
import sys
import threading
from typing import TYPE_CHECKING, Any, Literal, overload

from offloop._hop import started
from offloop.aiofiles.base import AiofilesContextManager
from offloop.aiofiles.threadpool._buffered import Buffered
from offloop.aiofiles.threadpool.binary import (
    AsyncBufferedIOBase,
    AsyncBufferedReader,
    AsyncFileIO,
    AsyncIndirectBufferedIOBase,
)
from offloop.aiofiles.threadpool.text import AsyncTextIndirectIOWrapper, AsyncTextIOWrapper

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from _typeshed import (
        FileDescriptorOrPath,
        OpenBinaryMode,
        OpenBinaryModeReading,
        OpenBinaryModeUpdating,
        OpenBinaryModeWriting,
        OpenTextMode,
    )

sync_open = open

__all__ = (
    "open",
    "stderr",
    "stderr_bytes",
    "stdin",
    "stdin_bytes",
    "stdout",
    "stdout_bytes",
    "wrap",
)


@overload
def open(  # noqa: A001 - the builtin's name is the point
    file: FileDescriptorOrPath,
    mode: OpenTextMode = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Callable[[str, int], int] | None = None,
    *,
    loop: asyncio.AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> AiofilesContextManager[AsyncTextIOWrapper]: ...


@overload
def open(  # noqa: A001 - the builtin's name is the point
    file: FileDescriptorOrPath,
    mode: OpenBinaryMode,
    buffering: Literal[0],
    encoding: None = None,
    errors: None = None,
    newline: None = None,
    closefd: bool = True,
    opener: Callable[[str, int], int] | None = None,
    *,
    loop: asyncio.AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> AiofilesContextManager[AsyncFileIO]: ...


@overload
def open(  # noqa: A001 - the builtin's name is the point
    file: FileDescriptorOrPath,
    mode: OpenBinaryModeReading | OpenBinaryModeUpdating,
    buffering: Literal[-1, 1] = -1,
    encoding: None = None,
    errors: None = None,
    newline: None = None,
    closefd: bool = True,
    opener: Callable[[str, int], int] | None = None,
    *,
    loop: asyncio.AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> AiofilesContextManager[AsyncBufferedReader]: ...


@overload
def open(  # noqa: A001 - the builtin's name is the point
    file: FileDescriptorOrPath,
    mode: OpenBinaryModeWriting,
    buffering: Literal[-1, 1] = -1,
    encoding: None = None,
    errors: None = None,
    newline: None = None,
    closefd: bool = True,
    opener: Callable[[str, int], int] | None = None,
    *,
    loop: asyncio.AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> AiofilesContextManager[AsyncBufferedIOBase]: ...


@overload
def open(  # noqa: A001 - the builtin's name is the point
    file: FileDescriptorOrPath,
    mode: str,
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Callable[[str, int], int] | None = None,
    *,
    loop: asyncio.AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> AiofilesContextManager[Any]: ...


def open(  # noqa: A001 - the builtin's name is the point
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Callable[[str, int], int] | None = None,
    *,
    loop: asyncio.AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> AiofilesContextManager[Any]:
    """Give an asynchronous file; takes what the builtin `open` takes."""
    return AiofilesContextManager(
        _open(
            file,
            mode=mode,
            buffering=buffering,
            encoding=encoding,
            errors=errors,
            newline=newline,
            closefd=closefd,
            opener=opener,
            loop=loop,
            executor=executor,
        )
    )


async def _open(
    file: Any,
    *,
    loop: asyncio.AbstractEventLoop | None,
    executor: Executor | None,
    **options: Any,
) -> Any:
    opened = await open_by_thread(functools.partial(sync_open, file, **options), executor)
    wrapped = wrap(opened, loop=loop, executor=executor)
    if isinstance(wrapped, Buffered):
        wrapped._opened_with(options["buffering"], options["newline"])
    return wrapped


async def open_by_thread(opener: Callable[[], Any], executor: Executor | None = None) -> Any:
    """Open something by a thread. A cancel does not wait: what is opened too late is closed."""
    lock = threading.Lock()
    opened: list[Any] = []
    gone = False

    def open_unless_gone() -> None:
        if gone:
            return
        file = opener()
        with lock:
            if not gone:
                opened.append(file)
                return
        _close(file)

    future = started(open_unless_gone, executor=executor)
    try:
        await asyncio.shield(future)
    except BaseException:
        with lock:
            gone = True
            late = opened.pop() if opened else None
        if late is not None:
            _close(late)
        if not future.done():
            future.add_done_callback(_see)
        raise
    return opened.pop()


def _see(future: Any) -> None:
    if not future.cancelled():
        future.exception()


def _close(file: Any) -> None:
    close = getattr(file, "close", None) or file.cleanup
    close()


def wrap(
    file: Any,
    *,
    loop: asyncio.AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> Any:
    """Give the asynchronous face of a file of `io`."""
    return _wrap(file, loop, executor)


@functools.singledispatch
def _wrap(file: Any, loop: Any, executor: Any) -> Any:
    del loop, executor
    raise TypeError(f"Unsupported io type: {file}.")


@_wrap.register(io.TextIOBase)
def _(file: Any, loop: Any, executor: Any) -> Any:
    return AsyncTextIOWrapper(file, loop=loop, executor=executor)


@_wrap.register(io.BufferedWriter)
@_wrap.register(io.BufferedIOBase)
def _(file: Any, loop: Any, executor: Any) -> Any:
    return AsyncBufferedIOBase(file, loop=loop, executor=executor)


@_wrap.register(io.BufferedReader)
@_wrap.register(io.BufferedRandom)
def _(file: Any, loop: Any, executor: Any) -> Any:
    return AsyncBufferedReader(file, loop=loop, executor=executor)


@_wrap.register(io.FileIO)
def _(file: Any, loop: Any, executor: Any) -> Any:
    return AsyncFileIO(file, loop=loop, executor=executor)


stdin: AsyncTextIndirectIOWrapper = AsyncTextIndirectIOWrapper(
    "sys.stdin", None, None, indirect=lambda: sys.stdin
)
stdout: AsyncTextIndirectIOWrapper = AsyncTextIndirectIOWrapper(
    "sys.stdout", None, None, indirect=lambda: sys.stdout
)
stderr: AsyncTextIndirectIOWrapper = AsyncTextIndirectIOWrapper(
    "sys.stderr", None, None, indirect=lambda: sys.stderr
)
stdin_bytes: AsyncIndirectBufferedIOBase = AsyncIndirectBufferedIOBase(
    "sys.stdin.buffer", None, None, indirect=lambda: sys.stdin.buffer
)
stdout_bytes: AsyncIndirectBufferedIOBase = AsyncIndirectBufferedIOBase(
    "sys.stdout.buffer", None, None, indirect=lambda: sys.stdout.buffer
)
stderr_bytes: AsyncIndirectBufferedIOBase = AsyncIndirectBufferedIOBase(
    "sys.stderr.buffer", None, None, indirect=lambda: sys.stderr.buffer
)

"""What all asynchronous files share: one operation at a time, each a hop to a thread.

Runs on the loop's thread; the functions that `_do` is given run on a thread for files.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, TypeAlias, TypeVar

from offloop._hop import Turn, hop, settled, started

if TYPE_CHECKING:
    import types
    from concurrent.futures import Executor

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F")

Wrapped: TypeAlias = Callable[..., Coroutine[Any, Any, T]]
"""A function of `wrap`'s: it takes what the wrapped one takes, and ``loop`` and ``executor``."""


def wrap(func: Callable[..., T]) -> Wrapped[T]:
    """Make a coroutine function of a blocking one: each call is one hop to a thread."""

    @functools.wraps(func)
    async def run(
        *args: Any,
        loop: asyncio.AbstractEventLoop | None = None,
        executor: Executor | None = None,
        **kwargs: Any,
    ) -> T:
        del loop  # the call comes home to the loop that awaits it
        return await hop(func, *args, executor=executor, **kwargs)  # type: ignore[no-any-return]

    return run


class AsyncBase:
    """A file of `io` whose calls are made by threads, one after the other."""

    _waits = True
    """Whether a cancelled call is waited for: not where it may last forever, as on a pipe."""

    def __init__(
        self,
        file: Any,
        loop: asyncio.AbstractEventLoop | None,
        executor: Executor | None,
    ) -> None:
        self._file = file
        self._executor = executor
        self._ref_loop = loop
        self._turn = Turn()

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return self._ref_loop or asyncio.get_running_loop()

    def __aiter__(self) -> Self:
        """We are our own iterator."""
        return self

    async def __anext__(self) -> Any:
        """Give the next line."""
        if line := await self.readline():
            return line
        raise StopAsyncIteration

    async def readline(self, size: int | None = -1, /) -> Any:
        """Read a line."""
        return await self._do(self._file.readline, size)

    def __repr__(self) -> str:
        return f"{super().__repr__()} wrapping {self._file!r}"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._exit(*exc)

    async def _exit(self, *exc: object) -> None:
        await self._finish(functools.partial(self._file.__exit__, *exc))

    async def _do(self, function: Callable[..., T], *args: Any, **keywords: Any) -> T:
        """Call a blocking method of the file when its turn has come."""
        await self._turn.take()
        result: T = await self._call_in_turn(self._in_place, function, args, keywords)
        return result

    def _in_place(self, function: Callable[..., T], args: Any, keywords: Any) -> T:
        """Call a method by the thread, with the file where its user believes it to be."""
        return function(*args, **keywords)

    async def _call_in_turn(
        self,
        function: Callable[..., Any],
        *args: Any,
        then: Callable[[], Any] | None = None,
    ) -> Any:
        """Call a blocking function, then `then` at once; the turn ends with it.

        Also when the awaiter has gone: then `then` is left out, and where a call may last forever
        the turn ends without him.
        """
        if self._waits:
            try:
                result = await hop(function, *args, executor=self._executor)
                return result if then is None else then()
            finally:
                self._turn.release()
        future = started(function, *args, executor=self._executor)
        try:
            result = await asyncio.shield(future)
            return result if then is None else then()
        finally:
            if future.done():
                self._turn.release()
            else:
                future.add_done_callback(self._call_is_over)

    def _call_is_over(self, future: asyncio.Future[Any]) -> None:
        if not future.cancelled():
            future.exception()
        self._turn.release()

    async def _finish(self, function: Callable[[], T]) -> T:
        """Call what must not be left undone: a cancel is raised when it has been done."""

        async def in_turn() -> T:
            await self._turn.take()
            return await self._call_in_turn(function)  # type: ignore[no-any-return]

        task = asyncio.ensure_future(in_turn())
        return await (settled(task) if self._waits else asyncio.shield(task))


class AsyncIndirectBase(AsyncBase):
    """A file that is looked up anew for each call, as `sys.stdin` is."""

    _waits = False

    def __init__(
        self,
        name: str,
        loop: asyncio.AbstractEventLoop | None,
        executor: Executor | None,
        indirect: Callable[[], Any],
    ) -> None:
        self._indirect = indirect
        self._name = name
        super().__init__(None, loop, executor)

    @property
    def _file(self) -> Any:
        return self._indirect()

    @_file.setter
    def _file(self, value: Any) -> None:
        """Nothing: the file is wherever `indirect` finds it."""


class AiofilesContextManager(Awaitable[F], AbstractAsyncContextManager[F, None], Generic[F]):
    """What `open` gives: await it for the file, or enter it."""

    __slots__ = ("_coro", "_obj")

    def __init__(self, coro: Coroutine[Any, Any, F]) -> None:
        self._coro = coro
        self._obj: F | None = None

    def __await__(self) -> Generator[Any, Any, F]:
        if self._obj is None:
            self._obj = yield from self._coro.__await__()
        return self._obj

    def close(self) -> None:
        """Give it up, if it was never awaited."""
        if self._obj is None:
            self._coro.close()

    async def __aenter__(self) -> F:
        return await self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: types.TracebackType | None,
    ) -> None:
        file: Any = self._obj
        try:
            await file._exit(exc_type, exc_val, exc_tb)
        finally:
            self._obj = None

"""What a transport needs of the library whose request it carries: httpx's classes, or httpx2's.

Both have the same names. Bodies run in the loop's thread, those of the synchronous kind in the
thread that reads them.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from offloop import exceptions
from offloop._loop_thread import call as call_in_loop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from offloop._offloop import ByteStream, Response

LIBRARIES = ("httpx", "httpx2")


class Library:
    """One of the libraries: `response`, `content` (a body in memory) and so on are its classes."""

    def __init__(self, module: Any) -> None:
        self.response = module.Response
        self.content = module.ByteStream
        self.unsupported = module.UnsupportedProtocol
        self.body = _body_class(module, self)
        self.sync_body = _sync_body_class(module, self)
        self._by_kind: dict[type[exceptions.OffloopError], Any] = {
            exceptions.PoolTimeout: module.PoolTimeout,
            exceptions.ConnectTimeout: module.ConnectTimeout,
            exceptions.WriteTimeout: module.WriteTimeout,
            exceptions.FetchTimeout: module.ReadTimeout,
            exceptions.ProxyError: module.ProxyError,
            exceptions.InvalidURL: module.ConnectError,
            exceptions.InvalidHeader: module.LocalProtocolError,
            exceptions.ProtocolError: module.RemoteProtocolError,
        }
        self._by_phase = {
            "send": module.WriteError,
            "head": module.ReadError,
            "body": module.ReadError,
        }
        self._otherwise = module.ConnectError

    def failure(self, error: exceptions.OffloopError, request: Any) -> BaseException:
        """Return what the library's users expect in the place of `error`."""
        if type(error) is exceptions.FetchError and error.__cause__ is not None:
            return error.__cause__  # the source of the request's body raised it
        kind = self._class_for(error)
        if kind is None:
            return error
        made: BaseException = kind(str(error), request=request)
        return made

    def _class_for(self, error: exceptions.OffloopError) -> Any:
        """Return the library's class, or None where it has none: a bug, a fork, a closed client."""
        if not isinstance(error, exceptions.FetchError):
            return None
        for kind in type(error).__mro__:
            if (found := self._by_kind.get(kind)) is not None:
                return found
        return self._by_phase.get(error.phase or "", self._otherwise)


_libraries: dict[type, Library] = {}


def library_of(request: object) -> Library:
    """Return the library that made `request`."""
    found = _libraries.get(type(request))
    if found is not None:
        return found
    for kind in type(request).__mro__:
        name = kind.__module__.partition(".")[0]
        if name in LIBRARIES:
            # Two threads may make the same: one is forgotten.
            found = _libraries[type(request)] = Library(sys.modules[name])
            return found
    kind = type(request)
    raise TypeError(f"request must be a Request of httpx or httpx2, not {kind.__name__}")


def _body_class(module: Any, library: Library) -> Callable[[Response, Any], Any]:
    class Body(module.AsyncByteStream):  # type: ignore[misc]
        """The body as it comes over the wire."""

        def __init__(self, response: Response, request: Any) -> None:
            self._response = response
            # One for all who iterate: SDKs come back for what they have left. Nothing is read
            # before the first one asks, so that an open response keeps its connection.
            self._pieces = response.aiter_raw()
            self._request = request

        async def __aiter__(self) -> AsyncIterator[bytes]:
            try:
                async for piece in self._pieces:
                    yield piece
            except exceptions.OffloopError as error:
                raise library.failure(error, self._request) from error

        async def aclose(self) -> None:
            self._response.close()

    return Body


def _sync_body_class(module: Any, library: Library) -> Callable[[Response, Any], Any]:
    class SyncBody(module.SyncByteStream):  # type: ignore[misc]
        """The same for those who cannot await."""

        def __init__(self, response: Response, request: Any) -> None:
            self._response = response
            self._pieces = response.aiter_raw()
            self._request = request

        def __iter__(self) -> Iterator[bytes]:
            try:
                while (piece := call_in_loop(_next, self._pieces)) is not None:
                    yield piece
            except exceptions.OffloopError as error:
                raise library.failure(error, self._request) from error

        def close(self) -> None:
            self._response.close()

    return SyncBody


async def _next(pieces: ByteStream) -> bytes | None:
    try:
        return await anext(pieces)
    except StopAsyncIteration:
        return None

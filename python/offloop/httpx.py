"""`Transport`: what httpx and httpx2 send goes through offloop; nothing else of them changes.

::

    client = httpx.AsyncClient(transport=offloop.httpx.Transport())

The library keeps what is its own: building requests, redirects, authentication, cookies, decoding
of bodies. offloop carries what stands in the request, to the letter, and hands back what came over
the wire. Failures are those of the library, with their `request`; the offloop error, which says
more, is their ``__cause__``.

`Transport` runs in the loop's thread. `SyncTransport` has a thread with a loop of its own, one for
the process (`offloop._loop_thread`), and may be used from any other thread.
"""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING, Any, overload

from offloop import _offloop, exceptions
from offloop._httpx import LIBRARIES, Library, library_of
from offloop._httpx_trace import NetworkStream, events
from offloop._loop_thread import call as call_in_loop
from offloop.fetch import Client
from offloop.options import Limits

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Callable
    from typing import TypeAlias, TypedDict, Unpack

    import httpx
    import httpx2

    AnyLimits: TypeAlias = Limits | httpx.Limits | httpx2.Limits
    AnyProxy: TypeAlias = str | httpx.URL | httpx.Proxy | httpx2.URL | httpx2.Proxy
    StrPath: TypeAlias = str | os.PathLike[str]

    class _AsyncBase(httpx.AsyncBaseTransport, httpx2.AsyncBaseTransport):  # type: ignore[misc]
        pass

    class _SyncBase(httpx.BaseTransport, httpx2.BaseTransport):  # type: ignore[misc]
        pass

    class TransportOptions(TypedDict, total=False):
        """The options of a transport: httpx's own, and the whole of an offloop client."""

        client: Client | None
        verify: bool | StrPath
        cert: StrPath | tuple[StrPath, StrPath] | None
        trust_env: bool
        http1: bool
        http2: bool
        limits: AnyLimits | None
        proxy: AnyProxy | None
        uds: StrPath | None
        retries: int


__all__ = ["SyncTransport", "Transport"]

_UNSUPPORTED = ("sni_hostname", "target")
"""Extensions of a request that would change what is sent, or to whom."""


def _bases(name: str) -> type:
    """Return a class that every installed library takes for its own kind of `name`."""
    found = []
    for library in LIBRARIES:
        try:
            found.append(getattr(importlib.import_module(library), name))
        except ModuleNotFoundError as error:
            if error.name != library:
                raise
    if not found:
        raise ModuleNotFoundError("offloop.httpx needs httpx or httpx2", name="httpx")
    # With `alias_httpx` both names stand for one module.
    return type(name, tuple(dict.fromkeys(found)), {})


if not TYPE_CHECKING:
    _AsyncBase = _bases("AsyncBaseTransport")
    _SyncBase = _bases("BaseTransport")


class _Carrier:
    """What both transports have in common: a client, and how a request becomes a Job."""

    def __init__(self, **options: Unpack[TransportOptions]) -> None:
        shared = options.pop("client", None)
        self._retries = options.pop("retries", 0)
        if shared is not None and options:
            raise TypeError(f"with client, {', '.join(sorted(options))} are the client's")
        if isinstance(self._retries, bool) or not isinstance(self._retries, int):
            raise TypeError(f"retries must be an int, not {type(self._retries).__name__}")
        self._owned = shared is None
        self._client = shared if shared is not None else _client(options)

    def _job(
        self, request: Any, library: Library, source: Callable[[Any], AsyncIterator[bytes]]
    ) -> _offloop.Job[_offloop.Response]:
        for name in _UNSUPPORTED:
            if name in request.extensions:
                text = f"offloop's transport does not know the extension {name!r}"
                raise library.unsupported(text, request=request)
        url = request.url
        if url.scheme not in ("http", "https") or not url.host:
            text = f"Request URL has an unsupported protocol '{url.scheme}://'."
            raise library.unsupported(text, request=request)
        content, body, length = None, None, None
        if isinstance(request.stream, library.content):
            content = b"".join(request.stream)
        else:
            body = source(request.stream)
            announced = request.headers.get("content-length")
            length = int(announced) if announced is not None else None
        try:
            return _offloop.relay(
                self._client,
                request.method,
                str(url),
                request.headers.raw,
                content,
                body,
                length,
                _seconds(request),
            )
        except exceptions.FetchError as error:
            raise library.failure(error, request) from error

    async def _send(
        self, request: Any, library: Library, source: Callable[[Any], AsyncIterator[bytes]]
    ) -> _offloop.Response:
        for attempt in range(self._retries + 1):
            try:
                return await self._job(request, library, source)
            except exceptions.ConnectError as error:
                again = error.phase == "connect" and attempt < self._retries
                if not again or not isinstance(request.stream, library.content):
                    raise library.failure(error, request) from error
            except exceptions.OffloopError as error:
                raise library.failure(error, request) from error
            # As httpcore: at once, then after 0.5, 1, 2, … seconds.
            await asyncio.sleep(0.0 if attempt == 0 else 0.25 * 2**attempt)
        raise AssertionError  # the last attempt returns or raises


class Transport(_Carrier, _AsyncBase):
    """Carries the requests of an ``httpx.AsyncClient`` or ``httpx2.AsyncClient``.

    The parameters are those of ``httpx.AsyncHTTPTransport``.

    Parameters (all keyword-only)
        client: an `offloop.Client` whose connections, limits, proxies, TLS and guard are used; its
            headers, cookies, auth and retries are not. It is not closed with the transport.
        verify: True, False, or the path of root certificates; an ``ssl.SSLContext`` cannot be
            used. cert: path of a PEM file, or of certificate and key.
        trust_env: take proxies and root certificates from the environment; default True.
        http1, http2: what may be spoken; default both, where httpx has HTTP/2 off.
        limits: ``httpx.Limits``, of which ``max_keepalive_connections`` does not count, or
            `offloop.Limits`.
        proxy: URL, or ``httpx.Proxy`` without headers and ssl_context of its own.
        uds: path of a unix socket. retries: how often connecting is tried again; default 0.

    Raises TypeError and ValueError for options it cannot honour. A request raises what the
    library's own transport raises; the offloop error is the ``__cause__``.

    Cancellation: the request is dropped at once and its connection closed.

    Thread safety: as `offloop.Client`: any threads and loops, at once or one after another.

    >>> async with httpx.AsyncClient(transport=Transport()) as client:
    ...     response = await client.get(server + "/1k")
    >>> response.status_code, len(response.content)
    (200, 1024)
    """

    @overload
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response: ...
    @overload
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response: ...
    async def handle_async_request(self, request: Any) -> Any:
        """Await the library's response, whose body is read from the connection."""
        library = library_of(request)
        response = await self._send(request, library, _awaited)
        made, stream = _response(library, response, library.body(response, request))
        if (trace := request.extensions.get("trace")) is not None:
            for name, info in events(response, request, stream):
                await trace(name, info)
        return made

    async def aclose(self) -> None:
        """Let all idle connections go."""
        if self._owned:
            self._client.close()


class SyncTransport(_Carrier, _SyncBase):
    """Carries the requests of an ``httpx.Client`` or ``httpx2.Client``: see `Transport`.

    Meant for code that cannot be made asynchronous: each step makes a trip to another thread.

    Thread safety: any threads, at once. Not from inside a coroutine: it blocks the loop.

    >>> httpx.Client(transport=SyncTransport()).get(server + "/1k").status_code
    200
    """

    @overload
    def handle_request(self, request: httpx.Request) -> httpx.Response: ...
    @overload
    def handle_request(self, request: httpx2.Request) -> httpx2.Response: ...
    def handle_request(self, request: Any) -> Any:
        """Return the library's response, whose body is read from the connection."""
        library = library_of(request)
        response = call_in_loop(self._send, request, library, _pulled)
        made, stream = _response(library, response, library.sync_body(response, request))
        if (trace := request.extensions.get("trace")) is not None:
            for name, info in events(response, request, stream):
                trace(name, info)
        return made

    def close(self) -> None:
        """Let all idle connections go."""
        if self._owned:
            self._client.close()


def _response(
    library: Library, response: _offloop.Response, body: object
) -> tuple[Any, NetworkStream]:
    stream = NetworkStream(response)
    extensions = {
        "http_version": response.http_version.encode("ascii"),
        "reason_phrase": response.reason_phrase.encode("latin-1"),
        "network_stream": stream,
    }
    headers = response._as_sent()
    made = library.response(
        response.status_code, headers=headers, stream=body, extensions=extensions
    )
    return made, stream


def _seconds(request: Any) -> tuple[float | None, float | None, float | None, float | None]:
    timeout = request.extensions.get("timeout") or {}
    get = timeout.get
    return get("connect"), get("read"), get("write"), get("pool")


def _awaited(stream: Any) -> AsyncIterator[bytes]:
    pieces: AsyncIterator[bytes] = aiter(stream)
    return pieces


def _pulled(stream: Any) -> AsyncIterator[bytes]:
    """Have worker threads pull a body that blocks."""
    from offloop._content import encode

    source = encode(content=iter(stream)).source
    if source is None:
        raise TypeError("the stream of a request must be iterable")
    return source


_OPTIONS = frozenset({"cert", "http1", "http2", "limits", "proxy", "trust_env", "uds", "verify"})
"""What is left of the options of a transport when `client` and `retries` have been taken out."""


def _client(options: TransportOptions) -> Client:
    if unknown := options.keys() - _OPTIONS:
        raise TypeError(f"a transport has no option {min(unknown)!r}")
    verify = options.get("verify", True)
    if not isinstance(verify, (bool, str)) and not hasattr(verify, "__fspath__"):
        raise TypeError(
            f"verify must be True, False or the path of root certificates, not "
            f"{type(verify).__name__}: offloop's TLS is rustls, which takes no SSLContext"
        )
    return Client(
        verify=verify,
        cert=options.get("cert"),
        trust_env=options.get("trust_env", True),
        http1=options.get("http1", True),
        http2=options.get("http2", True),
        limits=_limits(options.get("limits")),
        proxy=_proxy(options.get("proxy")),
        uds=options.get("uds"),
    )


def _limits(given: Any) -> Limits | None:
    if given is None or isinstance(given, Limits):
        return given
    # httpx bounds the connections of the client and not those to a host.
    expiry = given.keepalive_expiry
    return Limits(
        connections=given.max_connections,
        per_host=None,
        idle=expiry if expiry is None or expiry > 0 else 1e-3,
    )


def _proxy(given: Any) -> str | None:
    if given is None or isinstance(given, str):
        return given
    url = getattr(given, "url", given)
    if getattr(given, "headers", None):
        raise TypeError("offloop sends no headers of their own to a proxy")
    if getattr(given, "ssl_context", None) is not None:
        raise TypeError("offloop's TLS is rustls, which takes no SSLContext, for a proxy neither")
    if (auth := getattr(given, "auth", None)) is not None:
        url = url.copy_with(username=auth[0], password=auth[1])
    return str(url)

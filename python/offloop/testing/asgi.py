"""`ASGITransport` and `asgi_client`: an ASGI app in the place of a server.

The app runs in the loop of the test, so it shares its fixtures, its context variables and its
debugger; the requests still cross a socket on 127.0.0.1, as in production. Connections and framing
are `_server`'s, the messages of ASGI `_asgi_call`'s and `_lifespan`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from offloop.testing._asgi_call import ASGICall, http_scope
from offloop.testing._lifespan import Lifespan
from offloop.testing._server import LoopbackServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType
    from typing import Self, Unpack

    from offloop.fetch import Client
    from offloop.options import ClientOptions
    from offloop.testing._exchange import Exchange
    from offloop.testing._lifespan import ASGIApp, LifespanMode

GRACE = 1.0
"""Seconds the app has, on leaving, to end requests whose client has left. Arbitrary."""


class ASGITransport:
    """Serves `app`. Give it as ``transport`` to a `Client`, within its ``async with``.

    ::

        async with ASGITransport(app) as transport:
            async with Client(transport=transport, base_url="http://testserver") as client:
                response = await client.get("/users/7")

    `asgi_client` is short for both. Any host is the app's; it finds it in its scope.

    Parameters (all but `app` keyword-only)
        app: an ASGI 3 application; it runs in the loop that enters the context.
        raise_app_exceptions: leaving the context raises the first exception of the app; default
            True. An error that leaves the block goes on as it is, with the app's as a note.
        lifespan: "auto" (default) for an app that may or may not take part, "on" for one that
            has to, "off" not to ask.
        root_path: where the app is said to be mounted; default "".
        scheme: "http" (default) or "https", for the scope: the connection has no TLS.

    `exceptions` lists what the app raised. The client got a 500, or a truncated answer where one
    had begun.

    Raises RuntimeError on entering when the app says that its startup failed, on leaving when its
    shutdown did.

    Thread safety: belongs to one loop; clients in other threads and loops may use it.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        raise_app_exceptions: bool = True,
        lifespan: LifespanMode = "auto",
        root_path: str = "",
        scheme: str = "http",
    ) -> None:
        self.exceptions: list[BaseException] = []
        self._app = app
        self._raises = raise_app_exceptions
        self._mode: LifespanMode = lifespan
        self._root_path = root_path
        self._scheme = scheme
        self._address: str | None = None
        self._lifespan: Lifespan | None = None
        self._server: LoopbackServer | None = None

    @property
    def address(self) -> str:
        """``"127.0.0.1:port"`` while it serves. Raises LifecycleError before and after."""
        if self._address is None:
            from offloop.exceptions import LifecycleError

            raise LifecycleError("the app is not served: use it in `async with transport:`")
        return self._address

    async def __aenter__(self) -> Self:
        self.exceptions = []
        self._lifespan = Lifespan(self._app, self._mode)
        await self._lifespan.startup()
        self._server = LoopbackServer(self._serve)
        self._address = await self._server.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._address = None
        if self._server is not None:
            await self._server.stop(GRACE)
        problems = list(self.exceptions) if self._raises else []
        lifespan, self._lifespan = self._lifespan, None
        try:
            if lifespan is not None:
                await lifespan.shutdown()
        except Exception as error:  # noqa: BLE001 - it is raised below, unless there is an earlier one
            problems.append(error)
        if exc_value is None and problems:
            raise problems[0]
        if exc_value is not None:
            for problem in problems:
                exc_value.add_note(f"the app raised {problem!r}")

    async def _serve(self, exchange: Exchange) -> None:
        """Have the app answer one request."""
        state = {} if self._lifespan is None else self._lifespan.state
        scope = http_scope(exchange, scheme=self._scheme, root_path=self._root_path, state=state)
        call = ASGICall(exchange)
        try:
            await self._app(scope, call.receive, call.send)
            if not call.complete and not exchange.gone:
                raise RuntimeError("the app ended before its answer did")  # noqa: TRY301
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        # What fails a test must reach it, and pytest.fail raises no Exception.
        except BaseException as error:  # noqa: BLE001 - it is kept for `__aexit__`
            self.exceptions.append(error)
            if exchange.started:
                exchange.cut()
            else:
                await exchange.send_text(500, "Internal Server Error\n")


@contextlib.asynccontextmanager
async def asgi_client(
    app: ASGIApp,
    *,
    raise_app_exceptions: bool = True,
    lifespan: LifespanMode = "auto",
    root_path: str = "",
    **options: Unpack[ClientOptions],
) -> AsyncIterator[Client]:
    """Give a `Client` whose every request is answered by `app`.

    ::

        async with asgi_client(app) as client:
            response = await client.get("/users/7")

    `options` are those of `Client`; its `base_url` is "http://testserver" by default, and gives the
    app's scope its scheme. The other parameters are those of `ASGITransport`.
    """
    from offloop.fetch import Client

    settings: ClientOptions = {"base_url": "http://testserver", **options}
    serving = ASGITransport(
        app,
        raise_app_exceptions=raise_app_exceptions,
        lifespan=lifespan,
        root_path=root_path,
        scheme=str(settings["base_url"]).partition("://")[0].lower(),
    )
    async with serving as transport:
        settings["transport"] = transport
        async with Client(**settings) as client:
            yield client

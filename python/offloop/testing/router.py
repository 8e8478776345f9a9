"""`MockRouter`: an HTTP server for tests that answers what it was told and remembers what it got.

It runs in a daemon thread of its own, so it serves any event loop, several at once, and plain
synchronous fixtures alike. Routes are matched in that thread, without a lock: see `route`. All
checks are made when the context ends, in the thread of the test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from offloop.testing._pattern import NOTHING, Conditions, URLPattern, parameters
from offloop.testing._request import read_request
from offloop.testing._server import ServerThread
from offloop.testing.route import Route

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from offloop.fetch import Client
    from offloop.options import ClientOptions
    from offloop.testing._exchange import Exchange
    from offloop.testing._pattern import Params
    from offloop.testing._request import MockRequest


class Wanted(TypedDict, total=False):
    """The conditions of `MockRouter.route`."""

    params: Params
    headers: Mapping[str, str | re.Pattern[str]] | None
    json: Any
    content: bytes | str | None


class MockRouter:
    """A server for tests. Give it as ``transport`` to a `Client`, or take one from `client`.

    ::

        async with MockRouter() as router:
            route = router.get("https://api.example.com/users/{id}").respond(json={"name": "Ada"})
            async with router.client() as client:
                response = await client.get("https://api.example.com/users/7")
            assert response.json() == {"name": "Ada"}
            assert route.calls[0].path_params == {"id": "7"}

    Patterns
        ``"https://api.example.com/users/7"``: this URL. http and https are the same to a mock.
        ``{name}``: one segment of a path, or a part of one; found in `MockRequest.path_params`.
        ``*``: anything; in a host not the port, in a path slashes too. ``"*"`` is every URL.
        ``"/users/7"``: this path on any host.
        a query, or ``params=``: those parameters must be there; others may be.
        a compiled regex: searched in the whole URL, once with http and once with https.

    The first route that matches answers, in the order they were added. A request that no route
    takes gets a 501 that says why, and leaving the context raises AssertionError.

    Parameters (all keyword-only)
        assert_all_mocked: leaving the context raises AssertionError for requests without a route;
            default True.
        assert_all_called: it also does so for routes without a request; default False.

    `calls` lists all requests, `unexpected` those without a route, oldest first.

    Both ``with`` and ``async with`` start and end it. An error that leaves the block goes on as it
    is, with what the checks would have said as a note.

    Thread safety: routes may be added and calls be read in any thread while it serves.
    """

    def __init__(self, *, assert_all_mocked: bool = True, assert_all_called: bool = False) -> None:
        self.calls: list[MockRequest] = []
        self.unexpected: list[MockRequest] = []
        self._must_mock_all = assert_all_mocked
        self._must_call_all = assert_all_called
        self._routes: list[Route] = []
        self._misses: list[str] = []
        self._errors: list[BaseException] = []
        self._clients: list[Client] = []
        self._server: ServerThread | None = None
        self._address = ""

    @property
    def address(self) -> str:
        """``"127.0.0.1:port"`` while it runs. Raises LifecycleError before and after."""
        if self._server is None:
            from offloop.exceptions import LifecycleError

            raise LifecycleError("the mock router is not running: use it in `with router:`")
        return self._address

    def client(self, **options: Unpack[ClientOptions]) -> Client:
        """Give a `Client` with these options whose every connection comes here.

        It is closed with the router, if not before.
        """
        from offloop.fetch import Client

        settings: ClientOptions = {**options, "transport": self}
        client = Client(**settings)
        self._clients.append(client)
        return client

    def route(  # noqa: PLR0913 - each is one condition a request may have to meet
        self,
        method: str | None,
        pattern: str | re.Pattern[str],
        *,
        params: Params = (),
        headers: Mapping[str, str | re.Pattern[str]] | None = None,
        json: Any = NOTHING,
        content: bytes | str | None = None,
    ) -> Route:
        """Add a route; `get`, `post` and the others are short for it.

        Parameters (all but the first two keyword-only)
            method: None for any.
            pattern: see `MockRouter`.
            params: parameters of the query; a list for one that comes more than once.
            headers: values that must be there, or regexes to search in them.
            json: what the body must be, parsed.
            content: what the body must be, to the byte.

        Raises ValueError for what is no pattern.
        """
        body = content.encode() if isinstance(content, str) else content
        verb = None if method is None else method.upper()
        wanted = dict(headers or {})
        url = URLPattern(pattern)
        route = Route(Conditions(verb, url, parameters(params), wanted, body, json))
        self._routes = [*self._routes, route]
        return route

    def get(self, pattern: str | re.Pattern[str], **conditions: Unpack[Wanted]) -> Route:
        """Add a route for GET; the conditions are those of `route`."""
        return self.route("GET", pattern, **conditions)

    def post(self, pattern: str | re.Pattern[str], **conditions: Unpack[Wanted]) -> Route:
        """Add a route for POST; the conditions are those of `route`."""
        return self.route("POST", pattern, **conditions)

    def put(self, pattern: str | re.Pattern[str], **conditions: Unpack[Wanted]) -> Route:
        """Add a route for PUT; the conditions are those of `route`."""
        return self.route("PUT", pattern, **conditions)

    def patch(self, pattern: str | re.Pattern[str], **conditions: Unpack[Wanted]) -> Route:
        """Add a route for PATCH; the conditions are those of `route`."""
        return self.route("PATCH", pattern, **conditions)

    def delete(self, pattern: str | re.Pattern[str], **conditions: Unpack[Wanted]) -> Route:
        """Add a route for DELETE; the conditions are those of `route`."""
        return self.route("DELETE", pattern, **conditions)

    def head(self, pattern: str | re.Pattern[str], **conditions: Unpack[Wanted]) -> Route:
        """Add a route for HEAD; the conditions are those of `route`."""
        return self.route("HEAD", pattern, **conditions)

    def options(self, pattern: str | re.Pattern[str], **conditions: Unpack[Wanted]) -> Route:
        """Add a route for OPTIONS; the conditions are those of `route`."""
        return self.route("OPTIONS", pattern, **conditions)

    def assert_all_called(self) -> None:
        """Raise AssertionError unless every route was called, and as often as `times` says."""
        missing = [text for route in self._routes if (text := route._shortfall())]
        if missing:
            raise AssertionError("\n".join(missing))

    def reset(self) -> None:
        """Forget all requests and start the routes' sequences anew; the routes stay."""
        self.calls, self.unexpected, self._misses, self._errors = [], [], [], []
        for route in self._routes:
            route._forget()

    def _start(self) -> None:
        if self._server is not None:
            raise RuntimeError("the mock router is running already")
        self.reset()
        server = ServerThread(self._serve)
        self._address = server.start()
        self._server = server

    def _end(self, error: BaseException | None) -> None:
        clients, self._clients = self._clients, []
        for client in clients:
            client.close()
        server, self._server = self._server, None
        if server is not None:
            server.stop()
        if error is None:
            self._verify()
            return
        for note in [*(f"a handler of the mock raised {e!r}" for e in self._errors), *self._misses]:
            error.add_note(note)

    def _verify(self) -> None:
        if self._errors:
            raise self._errors[0]
        if self._must_mock_all and self._misses:
            raise AssertionError("\n".join(self._misses))
        if self._must_call_all:
            self.assert_all_called()

    async def _serve(self, exchange: Exchange) -> None:
        """Answer one request; runs in the thread of the server."""
        request = await read_request(exchange)
        misses = [f"unexpected request {request.method} {request.url}"]
        for route in self._routes:
            refusal = route._refusal(request)
            if refusal is None:
                request, step = route._accept(request)
                self.calls.append(request)
                try:
                    await route._answer(exchange, request, step)
                except (ConnectionError, EOFError):
                    raise
                except Exception as error:  # noqa: BLE001 - it is raised again by `_verify`
                    await self._fail(exchange, error.__cause__ or error)
                return
            misses.append(f"    {route}: {refusal}")
        self.calls.append(request)
        self.unexpected.append(request)
        self._misses.append("\n".join(misses))
        await exchange.send_text(501, "offloop.testing: " + "\n".join([*misses, ""]))

    async def _fail(self, exchange: Exchange, error: BaseException) -> None:
        self._errors.append(error)
        if exchange.started:
            exchange.cut()
        else:
            await exchange.send_text(500, f"offloop.testing: a handler raised {error!r}\n")

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end(exc_value)

    async def __aenter__(self) -> Self:
        self._start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end(exc_value)

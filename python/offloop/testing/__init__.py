"""Help for the test suites of programs that use offloop; no third-party mock is needed.

`MockRouter` answers as told, well or badly; `ASGITransport` puts an ASGI app in the server's
place. Both are real HTTP/1.1 servers on 127.0.0.1, so what is tested is what will run: sockets,
timeouts, retries and errors included. Nothing here is imported by ``import offloop``, and what is
exported is loaded when it is asked for: pytest imports this package in every run.

PYTEST_DONT_REWRITE: there is nothing to rewrite here.
"""

TYPE_CHECKING = False  # `typing` need not be imported
if TYPE_CHECKING:
    from offloop.testing._answers import Reply
    from offloop.testing._request import HeaderView, MockRequest
    from offloop.testing.asgi import ASGITransport, asgi_client
    from offloop.testing.route import Route
    from offloop.testing.router import MockRouter

__all__ = [
    "ASGITransport",
    "HeaderView",
    "MockRequest",
    "MockRouter",
    "Reply",
    "Route",
    "asgi_client",
]

_HOMES = {
    "ASGITransport": "asgi",
    "HeaderView": "_request",
    "MockRequest": "_request",
    "MockRouter": "router",
    "Reply": "_answers",
    "Route": "route",
    "asgi_client": "asgi",
}
"""The module of each exported name."""


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    found = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""`ASGITransport`: what becomes of an app's errors, and its lifespan."""

from __future__ import annotations

from typing import Any

import pytest
from asgi_apps import App, answering, raising, raw

import offloop
from conftest import Run
from offloop.testing import ASGITransport

# --- errors of the app


@pytest.mark.parametrize(
    ("when", "error", "answer"),
    [
        ("at once", ValueError, 500),
        ("after the start", ValueError, 500),
        ("in the body", ValueError, None),
        ("no answer", RuntimeError, 500),
        ("no end", RuntimeError, None),
        ("body first", RuntimeError, 500),
        ("two starts", RuntimeError, 500),
        ("too long", RuntimeError, None),
        ("too short", RuntimeError, None),
        ("not a header", ValueError, 500),
        ("pytest.fail", pytest.fail.Exception, 500),
    ],
)
def test_an_error_of_the_app_is_a_500_or_a_cut_and_raised_on_exit(
    run: Run[None], when: str, error: type[BaseException], answer: int | None
) -> None:
    async def main(raises: bool) -> None:
        options: Any = {"lifespan": "off", "raise_app_exceptions": raises}
        async with ASGITransport(raising(when), **options) as transport:
            received = await raw(transport)
            if answer is None:
                assert received.startswith(b"HTTP/1.1 200 OK\r\n")
                assert not received.endswith(b"0\r\n\r\n")
            else:
                assert received.startswith(b"HTTP/1.1 500 ")
            assert [type(one) for one in transport.exceptions] == [error]

    run(main(raises=False))
    with pytest.raises(error):
        run(main(raises=True))


def test_an_error_of_the_test_is_kept_and_has_the_apps_as_a_note(run: Run[None]) -> None:
    async def main() -> None:
        async with ASGITransport(raising("at once"), lifespan="off") as transport:
            assert b" 200 OK" in await raw(transport)

    with pytest.raises(AssertionError) as caught:
        run(main())
    assert "the app raised ValueError('from the app')" in caught.value.__notes__


# --- lifespan


class WithLifespan:
    """Takes part in the lifespan, and may fail in it."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing
        self.events: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.events.append(f"request {scope['state']}")
            scope["state"]["own"] = True
            await answering()(scope, receive, send)
            return
        for phase in ("startup", "shutdown"):
            assert await receive() == {"type": f"lifespan.{phase}"}
            self.events.append(phase)
            if self.failing == phase:
                await send({"type": f"lifespan.{phase}.failed", "message": "no database"})
                raise OSError("no database")
            if self.failing == f"raise in {phase}":
                raise OSError("no database")
            scope["state"]["database"] = "open"
            await send({"type": f"lifespan.{phase}.complete"})


def test_the_app_starts_before_and_ends_after_its_requests(run: Run[None]) -> None:
    app = WithLifespan()

    async def main() -> None:
        async with ASGITransport(app, lifespan="on") as transport:
            for _ in range(2):
                assert (await raw(transport)).startswith(b"HTTP/1.1 200 OK\r\n")

    run(main())
    # Each request has a state of its own, with what the startup left.
    request = "request {'database': 'open'}"
    assert app.events == ["startup", request, request, "shutdown"]


@pytest.mark.parametrize("phase", ["startup", "shutdown"])
def test_a_failed_lifespan_is_an_error(run: Run[None], phase: str) -> None:
    async def main() -> None:
        async with ASGITransport(WithLifespan(phase)) as transport:
            assert phase == "shutdown"
            await raw(transport)

    with pytest.raises(RuntimeError, match=f"the app's {phase} failed: no database") as caught:
        run(main())
    assert isinstance(caught.value.__cause__, OSError)


def test_an_app_without_a_lifespan_is_served_unless_it_has_to_have_one(run: Run[None]) -> None:
    async def serve(app: App, mode: Any) -> None:
        async with ASGITransport(app, lifespan=mode) as transport:
            assert b" 200 OK\r\n" in await raw(transport)

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await answering()(scope, receive, send)

    for app in (answering(), silent, WithLifespan("raise in startup")):
        run(serve(app, "auto"))
        with pytest.raises(RuntimeError, match="does not take part"):
            run(serve(app, "on"))
    with pytest.raises(OSError, match="no database"):
        run(serve(WithLifespan("raise in shutdown"), "auto"))


def test_it_has_an_address_only_while_it_serves(run: Run[None]) -> None:
    async def main() -> None:
        transport = ASGITransport(answering())
        for _ in range(2):
            with pytest.raises(offloop.LifecycleError):
                _ = transport.address
            async with transport:
                assert b" 200 OK\r\n" in await raw(transport)

    run(main())

"""`asgi_client`: an offloop client that talks to an app."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgi_apps import answering, raising

import offloop
from conftest import Run
from offloop.testing import ASGITransport, asgi_client

# --- with offloop's own client


async def echo(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    start = {"type": "http.response.start", "status": 200, "headers": []}
    await send({**start, "headers": [(b"x-path", scope["raw_path"])]})
    more = True
    while more:
        message = await receive()
        more = message["more_body"]
        await send({"type": "http.response.body", "body": message["body"], "more_body": more})


def test_a_client_talks_to_the_app(run: Run[None]) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"abc"

    async def main() -> None:
        async with asgi_client(echo) as client:
            answer = await client.post("/x", content=b"hello")
            assert (answer.text, answer.headers["x-path"]) == ("hello", "/x")
            assert answer.url == "http://testserver/x"
            answer = await client.post("/x", content=parts())
            assert answer.content == b"abcabcabc"
            answers = await asyncio.gather(
                *(client.post(f"/{n}", content=bytes(100_000)) for n in range(20))
            )
            assert {len(answer.content) for answer in answers} == {100_000}

    run(main())


def test_a_client_made_by_hand_streams_from_the_app(run: Run[None]) -> None:
    async def main() -> None:
        go_on = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"one\n", "more_body": True})
            await go_on.wait()
            await send({"type": "http.response.body", "body": b"two\n"})

        async with (
            ASGITransport(app, lifespan="off") as transport,
            offloop.Client(transport=transport, base_url="http://testserver") as client,
            client.stream("GET", "/") as answer,
        ):
            lines = []
            async for line in answer.aiter_lines():
                lines.append(line)
                go_on.set()
            assert lines == ["one", "two"]

    run(main())


def test_cancelling_a_fetch_disconnects_the_app(run: Run[None]) -> None:
    async def main() -> None:
        begun, left = asyncio.Event(), asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            begun.set()
            while (await receive())["type"] != "http.disconnect":
                pass
            left.set()

        async with asgi_client(app, lifespan="off") as client:
            fetching = asyncio.ensure_future(client.get("/"))
            await begun.wait()
            fetching.cancel()
            await left.wait()

    run(main())


def test_a_client_sees_the_apps_errors_as_a_server_would_send_them(run: Run[None]) -> None:
    async def main() -> None:
        options: Any = {"lifespan": "off", "raise_app_exceptions": False}
        async with asgi_client(raising("at once"), **options) as client:
            assert (await client.get("/")).status_code == 500
        async with asgi_client(raising("in the body"), **options) as client:
            with pytest.raises(offloop.ProtocolError):
                await client.get("/")
        async with asgi_client(answering(), base_url="https://testserver", **options) as client:
            assert (await client.get("/")).text == "hello"

    run(main())

"""One request by a client of its own, and the credentials that a server got with it."""

from __future__ import annotations

import asyncio
import base64
from typing import Any
from urllib.parse import quote

import offloop
from servers import Server

ANN = ("ann", "open:sesame")


def get(url: str, *, client: dict[str, Any] | None = None, **options: Any) -> offloop.Response:
    async def main() -> offloop.Response:
        async with offloop.Client(timeout=10, trust_env=False, **(client or {})) as made:
            return await made.request(options.pop("method", "GET"), url, **options)

    return asyncio.run(main())


def authorization(response: offloop.Response) -> str | None:
    """The Authorization that the server got."""
    value: str | None = dict(response.json()["headers"]).get("authorization")
    return value


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def moved(server: Server, location: str, status: int = 302) -> str:
    return f"{server.url}/told?status={status}&header={quote('location: ' + location, safe='')}"

"""What tests say to the server `told`, and what it has seen."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from typing import Any
from urllib.parse import quote

import offloop
from servers import Server


def seen(server: Server) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{server.url}/seen", timeout=10) as answer:
        log: list[dict[str, Any]] = json.load(answer)
        return log


def answering(server: Server, body: bytes | str, *headers: str, **told: str) -> str:
    """The URL of an answer with this body."""
    data = body.encode() if isinstance(body, str) else body
    told["hex"] = data.hex()
    pairs = [f"{name}={quote(value, safe='')}" for name, value in told.items()]
    pairs += [f"header={quote(header, safe='')}" for header in headers]
    return f"{server.url}/told?{'&'.join(pairs)}"


def get(url: str, **options: Any) -> offloop.Response:
    async def main() -> offloop.Response:
        return await offloop.fetch(url, timeout=10, **options)

    return asyncio.run(main())


def headers_of(response: offloop.Response) -> dict[str, str]:
    """What the server got."""
    return dict(response.json()["headers"])

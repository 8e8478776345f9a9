"""Clients that know that their servers speak HTTP/2, and what those servers say they saw."""

from __future__ import annotations

import gc
import time
from typing import Any

import offloop
from servers import Server

READ = 1.0
QUICK = offloop.Timeout(total=6, pool=3, read=READ, write=READ)


def knowing(**options: Any) -> offloop.Client:
    """A client that speaks HTTP/2 at once."""
    options.setdefault("timeout", QUICK)
    return offloop.Client(http1=False, trust_env=False, **options)


async def report(server: Server) -> dict[str, Any]:
    """What the server saw, asked on a connection that is closed at once."""
    async with knowing() as client:
        seen: dict[str, Any] = (await client.get(f"{server.url}/report")).json()
        return seen


async def settles(server: Server, name: str, value: int) -> None:
    give_up = time.monotonic() + 3
    async with knowing() as client:
        while (seen := (await client.get(f"{server.url}/report")).json())[name] != value:
            assert time.monotonic() < give_up, seen
            gc.collect()  # a response in the traceback of its own error

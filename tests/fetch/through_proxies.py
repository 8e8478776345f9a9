"""Clients that use proxies, here and in processes of their own, and what the servers saw."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import offloop
from servers import Server

LOGIN = "ann:pass-canary"
TOKEN = base64.b64encode(LOGIN.encode()).decode()

SCRIPT = """
import asyncio, sys, offloop
async def main():
{code}
asyncio.run(main())
"""

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD")


def seen(server: Server, ca: Path | None = None) -> list[Any]:
    """What the server logged since it was asked last."""
    context = ssl.create_default_context(cafile=str(ca)) if ca else None
    direct = urllib.request.ProxyHandler({})
    opener = urllib.request.build_opener(direct, urllib.request.HTTPSHandler(context=context))
    with opener.open(f"{server.url}/seen", timeout=10) as answer:
        log: list[Any] = json.load(answer)
        return log


def through(server: Server, scheme: str = "http", login: str = "", **options: Any) -> Any:
    """A client of which everything goes through this proxy."""
    credentials = f"{login}@" if login else ""
    options.setdefault("timeout", 8)
    return offloop.Client(proxy=f"{scheme}://{credentials}127.0.0.1:{server.port}", **options)


def get(client: offloop.Client, *urls: str, **options: Any) -> list[offloop.Response]:
    async def main() -> list[offloop.Response]:
        async with client:
            return [await client.get(url, **options) for url in urls]

    return asyncio.run(main())


def fails(client: offloop.Client, url: str, error: type[Any] = offloop.ProxyError) -> Any:
    with pytest.raises(offloop.FetchError) as caught:
        get(client, url)
    assert type(caught.value) is error, repr(caught.value)
    shown = repr(caught.value) + str(caught.value) + repr(caught.value.attempts)
    assert "canary" not in shown
    assert TOKEN not in shown
    return caught.value


def everything(server: Server, ca: Path | None = None) -> str:
    return json.dumps(seen(server, ca)).lower()


def process(code: str, *arguments: str, **environment: str) -> list[str]:
    """Run the code in a process with this environment and no other proxies; gives its lines."""
    cleared = {name: value for name, value in os.environ.items() if name.upper() not in VARIABLES}
    lines = [f"    {line[8:]}" for line in code.strip("\n").splitlines()]
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(code="\n".join(lines)), *arguments],
        env={**cleared, **environment},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ended.stderr == ""
    return ended.stdout.splitlines()

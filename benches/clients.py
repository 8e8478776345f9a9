"""The clients that are compared, each behind one signature.

A measured process opens one of them and gets two functions: one that fetches a URL and reads the
body, which is what is measured, and one that says which HTTP was spoken, which is asked once.

All have their defaults, apart from what would make a comparison one of defaults: each may open
1,000 connections, to one host as well, and none gives up before a minute. Over TLS each is told
the certificate authority to trust by its own option; none is told to skip the check.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CONNECTIONS = 1_000
"""Connections that every client may open; arbitrary, above every load."""
HTTP2 = ("offloop", "ry", "wreq", "pyreqwest", "httpx")
"""Those that speak HTTP/2; httpx does with the package h2."""
POLICY = "offloop, policy"
"""offloop with its policy switched on, as a client of its own."""


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a client beyond its defaults."""

    url: str
    authority: Path | None = None
    http2: bool = False


@dataclass(frozen=True)
class Fetcher:
    """What an open client does: `get` gives the size of the body, `version` the HTTP spoken."""

    get: Callable[[str], Awaitable[int]]
    version: Callable[[str], Awaitable[str]]


def open_client(name: str, wanted: Wanted) -> contextlib.AbstractAsyncContextManager[Fetcher]:
    """Open a client by its name for the length of an ``async with`` block."""
    return {**CLIENTS, POLICY: _offloop_with_policy}[name](wanted)


def _spoken(version: object) -> str:
    """Give the HTTP of a response in one spelling: others write HTTP/2.0, HTTP_2 or HTTP_11."""
    digits = re.findall(r"\d", str(version))
    return "HTTP/2" if digits[:1] == ["2"] else "HTTP/" + ".".join(digits)


def _offloop_options(wanted: Wanted) -> dict[str, Any]:
    import offloop

    options: dict[str, Any] = {}
    if hasattr(offloop, "Limits"):  # builds without limits have no such class
        options["limits"] = offloop.Limits(connections=CONNECTIONS, per_host=CONNECTIONS)
    if wanted.authority is not None:
        options["verify"] = str(wanted.authority)
    return options


def _offloop_fetcher(client: Any) -> Fetcher:
    async def get(url: str) -> int:
        response = await client.get(url)
        return len(response.content)

    async def version(url: str) -> str:
        return _spoken((await client.get(url)).http_version)

    return Fetcher(get, version)


@contextlib.asynccontextmanager
async def _offloop(wanted: Wanted) -> AsyncIterator[Fetcher]:
    import offloop

    async with offloop.Client(**_offloop_options(wanted)) as client:
        yield _offloop_fetcher(client)


@contextlib.asynccontextmanager
async def _offloop_with_policy(wanted: Wanted) -> AsyncIterator[Fetcher]:
    """Have retries, a jar with a cookie in it, a guard, limits, timeouts, auth and headers."""
    import offloop

    server = urlsplit(wanted.url)
    options = _offloop_options(wanted) | {
        "retries": 3,
        "cookies": True,
        "guard": offloop.Guard(ports=(server.port or 80,), allow=("127.0.0.1/32",)),
        "timeout": offloop.Timeout(
            total=60, pool=10, connect=5, read=10, write=10, stall=(1024, 30)
        ),
        "auth": ("u", "p"),
        "headers": {"user-agent": "offloop-bench", "accept": "*/*", "x-source": "bench"},
    }
    async with offloop.Client(**options) as client:
        echo = f"{server.scheme}://{server.netloc}/policy"
        await client.get(echo)  # sets the cookie
        sent = (await client.get(echo)).text
        if sent != "Basic dTpw session=0123456789abcdef":
            message = f"the policy is not on: the server was sent {sent!r}"
            raise RuntimeError(message)
        yield _offloop_fetcher(client)


@contextlib.asynccontextmanager
async def _ry(wanted: Wanted) -> AsyncIterator[Fetcher]:
    import ry

    options: dict[str, Any] = {}
    if wanted.authority is not None:
        options["tls_certs_only"] = [ry.Certificate.from_pem(wanted.authority.read_bytes())]
    client = ry.Client(**options)

    async def get(url: str) -> int:
        response = await client.get(url)
        return len(await response.bytes())

    async def version(url: str) -> str:
        response = await client.get(url)
        await response.bytes()
        return _spoken(response.http_version)

    yield Fetcher(get, version)


@contextlib.asynccontextmanager
async def _wreq(wanted: Wanted) -> AsyncIterator[Fetcher]:
    import wreq

    options: dict[str, Any] = {}
    if wanted.authority is not None:
        options["tls_verify"] = wanted.authority
    client = wreq.Client(**options)

    async def get(url: str) -> int:
        response = await client.get(url)
        return len(await response.bytes())

    async def version(url: str) -> str:
        response = await client.get(url)
        await response.bytes()
        return _spoken(response.version)

    yield Fetcher(get, version)


@contextlib.asynccontextmanager
async def _pyreqwest(wanted: Wanted) -> AsyncIterator[Fetcher]:
    from pyreqwest.client import ClientBuilder

    builder = ClientBuilder().http2(wanted.http2)
    if wanted.authority is not None:
        builder = builder.add_root_certificate_pem(wanted.authority.read_bytes())
    async with builder.build() as client:

        async def get(url: str) -> int:
            response = await client.get(url).build().send()
            return len(await response.bytes())

        async def version(url: str) -> str:
            response = await client.get(url).build().send()
            await response.bytes()
            return _spoken(response.version)

        yield Fetcher(get, version)


@contextlib.asynccontextmanager
async def _aiohttp(wanted: Wanted) -> AsyncIterator[Fetcher]:
    import ssl

    import aiohttp

    tls: Any = True
    if wanted.authority is not None:
        tls = ssl.create_default_context(cafile=wanted.authority)
    connector = aiohttp.TCPConnector(limit=CONNECTIONS, ssl=tls)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def get(url: str) -> int:
            async with session.get(url) as response:
                return len(await response.read())

        async def version(url: str) -> str:
            async with session.get(url) as response:
                await response.read()
                spoken = response.version
            return _spoken(f"HTTP/{spoken.major}.{spoken.minor}" if spoken else None)

        yield Fetcher(get, version)


@contextlib.asynccontextmanager
async def _httpx(wanted: Wanted) -> AsyncIterator[Fetcher]:
    import ssl

    import httpx

    options: dict[str, Any] = {"http2": wanted.http2}
    if wanted.authority is not None:
        options["verify"] = ssl.create_default_context(cafile=wanted.authority)
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    # The default of 5 s would also count the wait for a slow loop; the others allow minutes.
    async with httpx.AsyncClient(limits=limits, timeout=60, **options) as client:

        async def get(url: str) -> int:
            response = await client.get(url)
            return len(response.content)

        async def version(url: str) -> str:
            return _spoken((await client.get(url)).http_version)

        yield Fetcher(get, version)


CLIENTS = {
    "offloop": _offloop,
    "ry": _ry,
    "wreq": _wreq,
    "pyreqwest": _pyreqwest,
    "aiohttp": _aiohttp,
    "httpx": _httpx,
}

"""Digest authentication towards a proxy (RFC 7616), in absolute form and for a tunnel.

The proxy is `tests/servers/proxy.py`, which checks each answer by arithmetic of its own.
"""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from certified import certify

import offloop
from servers import Server, serve

LOGIN = "ann:pass-canary"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certify(tmp_path_factory.mktemp("proxies"))


@pytest.fixture(scope="module")
def origin() -> Iterator[Server]:
    with serve("told") as running:
        yield running


@pytest.fixture(scope="module")
def secure(folder: Path) -> Iterator[Server]:
    with serve("told", str(folder / "leaf.pem"), scheme="https") as running:
        yield running


@pytest.fixture
def proxy() -> Iterator[Server]:
    """A proxy whose nonces serve three times."""
    with serve("proxy", f"login={LOGIN}", "digest=3") as running:
        yield running


def seen(server: Server) -> list[Any]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{server.url}/seen", timeout=10) as answer:
        log: list[Any] = json.load(answer)
        return log


def through(server: Server, login: str = LOGIN, **options: Any) -> offloop.Client:
    return offloop.Client(proxy=f"http://{login}@127.0.0.1:{server.port}", timeout=20, **options)


def kinds(log: list[Any]) -> list[str]:
    """The scheme of each Proxy-Authorization that the proxy saw."""
    lines = [line for _, _, head in log for line in head.lower().split("\r\n")]
    return [line.split(" ")[1] for line in lines if line.startswith("proxy-authorization: ")]


def test_a_request_in_absolute_form_answers_the_challenge(proxy: Server, origin: Server) -> None:
    async def main() -> None:
        async with through(proxy) as client:
            url = f"{origin.url}/told?a=b,c"
            first = await client.get(url)
            assert [attempt.status for attempt in first.attempts] == [407, 200]
            assert kinds(seen(proxy)) == ["basic", "digest"]
            for _ in range(2):
                assert len((await client.get(url)).attempts) == 1
            assert kinds(seen(proxy)) == ["digest", "digest"]
            # The nonce has served: it is stale, and the new one is answered at once.
            posted = await client.post(url, content=b"x" * 1000)
            assert len(posted.json()["body"]) == 1000
            assert kinds(seen(proxy)) == ["digest", "digest"]
            many = await asyncio.gather(*(client.get(url) for _ in range(2)))
            told = json.dumps([one.json() for one in [first, posted, *many]]).lower()
            assert "canary" not in told
            assert "proxy-authorization" not in told

    asyncio.run(main())


def test_a_tunnel_answers_the_challenge(proxy: Server, secure: Server, folder: Path) -> None:
    async def main() -> None:
        limits = offloop.Limits(idle=0.001)
        async with through(proxy, verify=str(folder / "ca.pem"), limits=limits) as client:
            for _ in range(5):
                answer = await client.get(f"{secure.url}/told")
                assert answer.status_code == 200
                assert "proxy-authorization" not in answer.text.lower()
                await asyncio.sleep(0.01)

    asyncio.run(main())
    log = seen(proxy)
    assert {how for how, _, _ in log} == {"connect"}
    # Basic is refused; three tunnels with a nonce; the fourth is stale; two more with the next.
    assert kinds(log) == ["basic", *["digest"] * 6]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_wrong_password_is_refused_after_one_answer_each_time(
    proxy: Server, origin: Server, secure: Server, folder: Path, scheme: str
) -> None:
    target = origin if scheme == "http" else secure

    async def main() -> None:
        async with through(proxy, "ann:canary", verify=str(folder / "ca.pem")) as client:
            for _ in range(2):
                with pytest.raises(offloop.ProxyError) as refused:
                    await client.get(f"{target.url}/told")
                assert "canary" not in f"{refused.value!r}{refused.value.attempts}"
                assert len(kinds(seen(proxy))) == 2

    asyncio.run(main())


def test_a_body_that_cannot_be_sent_again_is_the_proxys_error(
    proxy: Server, origin: Server
) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"once"

    async def main() -> None:
        async with through(proxy) as client:
            with pytest.raises(offloop.FetchError):
                await client.post(f"{origin.url}/told", content=pieces())
            # The challenge is known from now on.
            answer = await client.post(f"{origin.url}/told", content=b"again")
            assert answer.status_code == 200

    asyncio.run(main())

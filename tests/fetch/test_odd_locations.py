"""Redirect mazes: loops, endless chains, and `Location`s that are no honest URLs (P9, S8)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

import offloop
from servers import Server, serve

CODES = (301, 302, 303, 307, 308)

# What a Location leads to; HOST stands for the server's own host and port.
FOLLOWED = {
    "/mine/x": "/mine/x",
    "../mine/x": "/mine/x",
    "//HOST/mine/x": "/mine/x",
    "http://HOST/mine/x": "/mine/x",
    "HTTP://HOST/mine/x": "/mine/x",
    "http://HOST/a/../mine/./x": "/mine/x",
    "  /mine/x\t": "/mine/x",
    "/mine/x#part": "/mine/x",
    "/mine/x?a=b&c=%20": "/mine/x?a=b&c=%20",
    "/mine/%2e%2e%2Fx": None,
    "/mine/%ff": "/mine/%ff",
    "/mine/x:y@z": "/mine/x:y@z",
    "/mine/x?next=https://b.invalid/y": "/mine/x?next=https://b.invalid/y",
    "../mine/x?next=http://0x7f.1/": "/mine/x?next=http://0x7f.1/",
    "/mine/http://b.invalid/y": "/mine/http://b.invalid/y",
    "/mine/a b?c d": "/mine/a%20b?c%20d",
}
REFUSED = [
    "ftp://HOST/mine/x",
    "file:///etc/passwd",
    "gopher://HOST/",
    "ws://HOST/mine/x",
    "javascript:alert(1)",
    "data:text/plain,hello",
    "mailto:nobody@example.invalid",
    "about:blank",
    "http://",
    "//",
    "///",
    "http:///mine/x",
    "http://:80/",
    "http://u:p@HOST/mine/x",
    "http://u@HOST/mine/x",
    "//u:p@HOST/mine/x",
    "http://0x7f.1/",
    "http://127.1/",
    "http://2130706433/",
    "http://0177.0.0.1/",
    "http://1.2.3.256/",
    "http://a..b/",
    "http://[::1",
    "http://::1/",
    "http://[1::2::3]/",
    "http://HOST:port/",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:-1/",
    "http://127.0.0.1:80:80/",
    "http:\\\\HOST\\mine\\x",
    "\\\\HOST\\mine\\x",
    "http://ho st/",
    "http://%31%32%37.0.0.1/",
    "http://a%00b/",
    "http://exa<mple/",
    "http://exa\tmple/",
]
# Relative to the same page, whatever one calls that; some standards say these are no URLs at all.
LOOPS = ["?", "#part", ".", "http:", "http:/"]


@pytest.fixture(scope="module")
def broken() -> Iterator[Server]:
    with serve("broken") as running:
        yield running


def located(server: Server, code: int, location: str) -> str:
    location = location.replace("HOST", f"127.0.0.1:{server.port}")
    return f"{server.url}/to/{code}?{quote(location, safe='')}"


async def outcome(client: offloop.Client, url: str, **options: Any) -> Any:
    try:
        return await client.get(url, **options)
    except offloop.FetchError as error:
        return error


@pytest.mark.parametrize("code", CODES)
def test_an_odd_but_honest_location_is_followed(broken: Server, code: int) -> None:
    async def main() -> None:
        async with offloop.Client() as client:
            for location, path in FOLLOWED.items():
                got = await outcome(client, located(broken, code, location))
                assert isinstance(got, offloop.Response), (location, got)
                assert got.status_code == 200
                assert [step.status_code for step in got.history] == [code]
                if path:
                    assert got.url.partition("#")[0] == broken.url + path

    asyncio.run(main())


@pytest.mark.parametrize("code", CODES)
def test_a_location_that_is_no_honest_url_is_refused(broken: Server, code: int) -> None:
    async def main() -> None:
        async with offloop.Client() as client:
            wrong = {}
            for location in REFUSED:
                got = await outcome(client, located(broken, code, location))
                if type(got) is not offloop.InvalidRedirect:
                    wrong[location] = got
            assert wrong == {}
            assert (await client.get(f"{broken.url}/mine/own")).content == b"own"

    asyncio.run(main())


@pytest.mark.parametrize("code", CODES)
def test_a_location_that_leads_nowhere_else_ends(broken: Server, code: int) -> None:
    async def main() -> None:
        async with offloop.Client() as client:
            for location in LOOPS:
                got = await outcome(client, located(broken, code, location))
                # Some drop the query or the path, and with it the Location of the next answer.
                if isinstance(got, offloop.Response):
                    assert location in {"?", ".", "http:/"}
                else:
                    assert isinstance(got, offloop.TooManyRedirects | offloop.InvalidRedirect)

    asyncio.run(main())


def test_without_following_every_location_is_just_a_header(broken: Server) -> None:
    async def main() -> None:
        async with offloop.Client(follow_redirects=False) as client:
            for location in [*FOLLOWED, *REFUSED, *LOOPS]:
                for code in CODES:
                    got = await client.get(located(broken, code, location))
                    assert (got.status_code, got.content) == (code, b"moved")

    asyncio.run(main())


def test_an_endless_chain_ends_with_its_history(broken: Server) -> None:
    async def main() -> None:
        async with offloop.Client() as client:
            with pytest.raises(offloop.TooManyRedirects) as caught:
                await client.get(f"{broken.url}/maze/")
            assert len(caught.value.history) in {10, 11}
            assert (await client.get(f"{broken.url}/mine/own")).content == b"own"
        async with offloop.Client(max_redirects=3) as client:
            with pytest.raises(offloop.TooManyRedirects) as caught:
                await client.get(f"{broken.url}/maze/")
            assert len(caught.value.history) in {3, 4}

    asyncio.run(main())


@pytest.mark.parametrize("code", [300, 304, 305, 306, 399])
def test_a_3xx_that_is_no_redirect_is_a_plain_response(broken: Server, code: int) -> None:
    async def main() -> None:
        async with offloop.Client() as client:
            got = await client.get(located(broken, code, "/mine/x"))
            assert got.status_code == code
            assert (await client.get(f"{broken.url}/mine/own")).content == b"own"

    asyncio.run(main())


@pytest.mark.parametrize("code", CODES)
def test_a_redirect_without_location_or_with_an_empty_one_is_a_plain_response(
    broken: Server, code: int
) -> None:
    async def main() -> None:
        async with offloop.Client() as client:
            for url in (f"{broken.url}/bare/{code}", located(broken, code, "")):
                got = await client.get(url)
                assert (got.status_code, got.content, got.history) == (code, b"moved", [])

    asyncio.run(main())

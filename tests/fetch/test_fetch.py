"""Requests and responses as a user of httpx expects them."""

from __future__ import annotations

import asyncio
import base64
import datetime
import json
import pickle
import time
from typing import Any
from urllib.parse import quote

import pytest

import offloop
from conftest import Run
from servers import Server


def get(url: str, **options: Any) -> offloop.Response:
    async def main() -> offloop.Response:
        return await offloop.fetch(url, **options)

    return asyncio.run(main())


def echo(url: str, **options: Any) -> dict[str, Any]:
    report: dict[str, Any] = get(url, **options).json()
    return report


def test_a_response_has_everything_at_once(server: Server) -> None:
    response = get(f"{server.url}/1k")
    assert response.status_code == response.status == 200
    assert response.reason_phrase == "OK"
    assert response.http_version == "HTTP/1.1"
    assert response.content == b"x" * 1024
    assert response.content is response.content
    assert response.text == "x" * 1024
    assert response.url == f"{server.url}/1k"
    assert response.is_success
    assert not response.is_error
    assert isinstance(response.elapsed, datetime.timedelta)
    assert response.raise_for_status() is response
    assert repr(response) == "<Response [200 OK]>"


def test_what_is_asked_for_is_what_is_sent(server: Server) -> None:
    report = echo(
        f"{server.url}/echo?a=1",
        method="post",
        params={"b": "2 3", "c": 4},
        headers={"X-Own": "yes", "user-agent": "mine"},
        content="grün",
    )
    assert report["method"] == "POST"
    assert report["target"] == "/echo?a=1&b=2+3&c=4"
    assert report["headers"]["x-own"] == "yes"
    assert report["headers"]["user-agent"] == "mine"
    assert report["headers"]["host"] == server.url.removeprefix("http://")
    assert report["body"].encode("latin-1").decode() == "grün"


@pytest.mark.parametrize(("method", "length"), [("POST", "0"), ("PUT", "0"), ("DELETE", None)])
def test_methods_that_usually_have_a_body_say_that_there_is_none(
    server: Server, method: str, length: str | None
) -> None:
    """RFC 9110, 8.6: some servers answer 411 to a POST that does not."""
    sent = echo(f"{server.url}/echo", method=method)
    assert sent["headers"].get("content-length") == length
    assert "transfer-encoding" not in sent["headers"]


def test_a_client_adds_its_base_url_and_headers(server: Server) -> None:
    async def main() -> None:
        async with offloop.Client(
            base_url=f"{server.url}/echo", headers=[("x-common", "1")]
        ) as client:
            report = (await client.get("more", headers={"x-own": "2"})).json()
            assert report["target"] == "/echo/more"
            assert (report["headers"]["x-common"], report["headers"]["x-own"]) == ("1", "2")
            assert report["headers"]["user-agent"].startswith("offloop/")
            report = (await client.request("PUT", f"{server.url}/echo", content=b"\x00\xff")).json()
            assert (report["method"], report["body"]) == ("PUT", "\x00\xff")

    asyncio.run(main())


def test_user_info_becomes_basic_auth_and_leaves_the_url(server: Server) -> None:
    url = f"{server.url}/echo".replace("//", "//us%40er:pa%3Ass@")
    response = get(url)
    expected = base64.b64encode(b"us@er:pa:ss").decode()
    assert response.json()["headers"]["authorization"] == f"Basic {expected}"
    assert response.url == f"{server.url}/echo"


def test_headers_are_a_case_insensitive_multi_mapping(server: Server) -> None:
    headers = get(f"{server.url}/headers").headers
    assert headers["X-TWO"] == "1, 2"
    assert headers.get_list("x-two") == ["1", "2"]
    assert headers.get("absent", "default") == "default"
    assert "x-TWO" in headers
    assert "absent" not in headers
    assert headers["x-latin"] == "gr\xfcn"
    assert ("x-two", "2") in headers.multi_items()
    assert dict(headers)["content-length"] == "0"
    assert len(headers) == len(list(headers))
    with pytest.raises(KeyError):
        headers["absent"]
    assert "hunter2" not in repr(headers)


@pytest.mark.parametrize("charset", ["utf-8", "latin-1", "utf-16", "cp1252"])
def test_text_follows_the_charset_of_the_server(server: Server, charset: str) -> None:
    assert get(f"{server.url}/text/{charset}").text == "grün"


@pytest.mark.parametrize(
    "document",
    [
        '{"a": [1, 2.5, null, true, "\\u00fc"]}',
        "123456789012345678901234567890",
        '"\\ud83d\\ude00"',
        "NaN",
        " [] ",
    ],
)
def test_json_is_what_the_standard_library_reads(server: Server, document: str) -> None:
    value = get(f"{server.url}/json?{quote(document)}").json()
    assert repr(value) == repr(json.loads(document))


@pytest.mark.parametrize("document", ["", "{", "[1,]", "nope"])
def test_json_fails_as_the_standard_library_does(server: Server, document: str) -> None:
    response = get(f"{server.url}/json?{document}")
    with pytest.raises(json.JSONDecodeError):
        response.json()


def test_json_takes_the_options_of_json_loads(server: Server) -> None:
    assert get(f"{server.url}/json?1.5").json(parse_float=str) == "1.5"


def test_raise_for_status_carries_the_response(server: Server) -> None:
    for status in (404, 503):
        response = get(f"{server.url}/status/{status}?token=hunter2")
        with pytest.raises(offloop.StatusError, match=str(status)) as caught:
            response.raise_for_status()
        assert caught.value.response is response
        assert "hunter2" not in str(caught.value)
        again = pickle.loads(pickle.dumps(caught.value))
        assert (str(again), again.url, again.response) == (
            str(caught.value),
            caught.value.url,
            None,
        )


def test_connections_are_kept_and_shared(own_server: Server) -> None:
    async def main() -> None:
        async with offloop.Client() as client:
            for _ in range(50):
                await client.get(f"{own_server.url}/1k")
            assert own_server.stats()["connections"] == 2  # stats() came by one of its own

    asyncio.run(main())
    give_up = time.monotonic() + 2
    while own_server.stats()["open"]:
        assert time.monotonic() < give_up


def test_a_client_closed_twice_says_so_when_it_is_used(server: Server) -> None:
    async def main() -> None:
        client = offloop.Client()
        client.close()
        await client.aclose()
        assert client.is_closed
        with pytest.raises(offloop.Closed):
            client.get(server.url)

    asyncio.run(main())


def test_one_client_survives_two_loops(server: Server) -> None:
    client = offloop.Client()

    async def main() -> int:
        return (await client.get(f"{server.url}/1k")).status_code

    assert [asyncio.run(main()) for _ in range(3)] == [200] * 3


@pytest.mark.parametrize("size", [0, 1, 65_536, 262_144, 262_145, 5_000_000])
def test_bodies_of_every_size_arrive_whole(run: Run[Any], server: Server, size: int) -> None:
    async def main() -> None:
        responses = await asyncio.gather(
            *(offloop.fetch(f"{server.url}/bytes/{size}") for _ in range(3))
        )
        for response in responses:
            assert response.content == b"y" * size
            assert response.headers["content-length"] == str(size)

    run(main())


def test_a_body_above_the_limit_is_refused(server: Server) -> None:
    assert len(get(f"{server.url}/bytes/1000", max_body=1000).content) == 1000
    with pytest.raises(offloop.BodyTooLarge, match="max_body, 999 bytes") as caught:
        get(f"{server.url}/bytes/1000", max_body=999)
    assert caught.value.phase == "body"
    assert len(get(f"{server.url}/bytes/1000", max_body=None).content) == 1000


def test_a_thousand_fetches_at_once(run: Run[Any], server: Server) -> None:
    async def main() -> None:
        async with offloop.Client() as client:
            responses = await asyncio.gather(*(client.get(f"{server.url}/1k") for _ in range(1000)))
            assert all(response.content == b"x" * 1024 for response in responses)

    run(main())


def test_a_server_that_closes_kept_connections_is_no_error(server: Server) -> None:
    async def main() -> None:
        async with offloop.Client() as client:
            for _ in range(100):
                assert (await client.get(f"{server.url}/close")).content == b"closing"

    asyncio.run(main())

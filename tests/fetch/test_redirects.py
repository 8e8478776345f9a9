"""Redirects: followed hop by hop, and what must not travel along does not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import offloop
from servers import Server, serve


def get(url: str, **options: Any) -> offloop.Response:
    async def main() -> offloop.Response:
        return await offloop.fetch(url, **options)

    return asyncio.run(main())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_and_keeps_headers_at_home(server: Server, status: int) -> None:
    response = get(
        f"{server.url}/to/{status}?/echo", headers={"authorization": "Bearer hunter2", "x-key": "k"}
    )
    assert response.url == f"{server.url}/echo"
    assert response.json()["headers"]["authorization"] == "Bearer hunter2"
    assert response.json()["headers"]["x-key"] == "k"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_secrets_do_not_travel_to_a_foreign_origin(server: Server, status: int) -> None:
    with serve("plain") as foreign:
        secrets = {
            "authorization": "hunter2",
            "cookie": "hunter2",
            "proxy-authorization": "hunter2",
            "x-api-key": "hunter2",
            "accept": "text/plain",
        }
        url = f"{server.url}/to/{status}?{foreign.url}/echo".replace("//", "//user:hunter2@", 1)
        response = get(url, headers=secrets)
        assert response.url == f"{foreign.url}/echo"
        assert "hunter2" not in response.text
        assert response.json()["headers"]["accept"] == "text/plain"
        assert response.json()["headers"]["host"] == foreign.url.removeprefix("http://")
        # There and back again: what was dropped stays dropped.
        response = get(f"{server.url}/to?{foreign.url}/to%3F{server.url}/echo", headers=secrets)
        assert response.url == f"{server.url}/echo"
        assert "hunter2" not in response.text


def test_other_methods_are_not_followed(server: Server) -> None:
    response = get(f"{server.url}/to/307?/echo", method="POST", content=b"x")
    assert response.status_code == 307
    assert response.is_redirect


def test_following_can_be_turned_off(server: Server) -> None:
    assert get(f"{server.url}/to?/echo", follow_redirects=False).status_code == 302


def test_an_endless_maze_ends(server: Server) -> None:
    with pytest.raises(offloop.TooManyRedirects, match="more than 10 times"):
        get(f"{server.url}/loop")


@pytest.mark.parametrize(
    "location", ["ftp://example.org/", "http://u:p@127.0.0.1/", "http://0x7f.1/", "//"]
)
def test_a_location_that_is_no_honest_url_is_an_error(server: Server, location: str) -> None:
    with pytest.raises(offloop.InvalidRedirect):
        get(f"{server.url}/to?{location}")

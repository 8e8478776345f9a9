"""Who the client says it is, and to whom: basic, bearer, user info of URLs, functions.

Credentials belong to the origin they were given for: no redirect takes them elsewhere. Digests are
in `test_digest.py`, functions and hooks in `test_hooks.py`. FAULTS S1, S3, S14.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asking import authorization, basic, get, moved
from telling import seen

import offloop
from servers import Server, serve


@pytest.fixture(scope="module")
def foreign() -> Iterator[Server]:
    with serve("told") as running:
        yield running


@pytest.mark.parametrize("place", ["client", "request"])
@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        (("ann", "pass"), basic("ann", "pass")),
        (offloop.BasicAuth("grün", "größer:"), basic("grün", "größer:")),
        (offloop.BasicAuth("ann", ""), basic("ann", "")),
        (offloop.BearerAuth("t0ken"), "Bearer t0ken"),
    ],
)
def test_auth_is_sent(told: Server, auth: Any, expected: str | None, place: str) -> None:
    if place == "client":
        response = get(f"{told.url}/told", client={"auth": auth})
    else:
        response = get(f"{told.url}/told", auth=auth)
    assert authorization(response) == expected


def test_a_function_of_the_client_gives_headers(told: Server) -> None:
    url = f"{told.url}/told"
    mine = get(url, client={"auth": lambda request: {"Authorization": f"Mine {request.method}"}})
    assert authorization(mine) == "Mine GET"
    assert authorization(get(url, client={"auth": lambda _: None})) is None


def test_a_function_can_be_given_with_one_request(told: Server) -> None:
    response = get(f"{told.url}/told", auth=lambda request: {"x-auth": request.method})
    assert dict(response.json()["headers"])["x-auth"] == "GET"


def test_the_auth_of_a_request_outranks_that_of_the_client(told: Server) -> None:
    url = f"{told.url}/told"
    response = get(url, client={"auth": ("a", "b")}, auth=offloop.BearerAuth("mine"))
    assert authorization(response) == "Bearer mine"
    response = get(url, client={"auth": lambda _: {"authorization": "f"}}, auth=("c", "d"))
    assert authorization(response) == basic("c", "d")
    assert authorization(get(url, client={"auth": ("a", "b")}, auth=None)) is None
    assert authorization(get(url, client={"auth": lambda _: {"a": "b"}}, auth=None)) is None


def test_user_info_in_the_url_becomes_auth_and_leaves_the_url(told: Server) -> None:
    url = f"http://ann:p%40ss%3Aw@127.0.0.1:{told.port}/told"
    response = get(url)
    assert authorization(response) == basic("ann", "p@ss:w")
    assert response.url == f"{told.url}/told" == response.request.url
    assert response.json()["target"] == "/told"
    assert authorization(get(f"http://only@127.0.0.1:{told.port}/told")) == basic("only", "")
    assert authorization(get("/told", client={"base_url": url.removesuffix("/told")})) == basic(
        "ann", "p@ss:w"
    )


@pytest.mark.parametrize(
    "options",
    [
        {"auth": ("ann", "canary")},
        {"auth": offloop.BearerAuth("canary")},
        {"headers": {"authorization": "canary", "x-api-key": "canary"}},
        {"cookies": {"id": "canary"}},
    ],
)
@pytest.mark.parametrize("place", ["client", "request", "function"])
def test_auth_never_travels_to_another_origin(
    told: Server, foreign: Server, options: dict[str, Any], place: str
) -> None:
    if place == "function":
        options = {"auth": lambda _: {"authorization": "canary", "x-key": "canary"}}
    for status in (301, 302, 303, 307, 308):
        seen(foreign), seen(told)
        url = moved(told, moved(foreign, f"{told.url}/told"), status)
        response = get(url, **options) if place == "request" else get(url, client=options)
        assert response.status_code == 200
        first, back = seen(told)
        assert carries_canary(first)
        assert not carries_canary(seen(foreign))
        assert not carries_canary(back)  # stripped for good, also on the way back


def carries_canary(requests: Any) -> bool:
    text = json.dumps(requests)
    return "canary" in text or basic("ann", "canary") in text


def test_auth_stays_within_its_origin(told: Server) -> None:
    for auth in (("a", "b"), lambda _: {"authorization": basic("a", "b")}):
        response = get(moved(told, "/told"), client={"auth": auth})
        assert authorization(response) == basic("a", "b")


def test_user_info_of_a_url_stays_with_its_origin(told: Server, foreign: Server) -> None:
    seen(foreign)
    url = moved(told, f"{foreign.url}/told").replace("http://", "http://ann:canary@", 1)
    assert authorization(get(url)) is None
    with pytest.raises(offloop.InvalidRedirect) as caught:
        get(moved(told, f"http://ann:canary@127.0.0.1:{foreign.port}/told"))
    assert "canary" not in str(caught.value) + repr(caught.value) + str(caught.value.url)


@pytest.mark.parametrize(
    "auth",
    [
        offloop.BasicAuth("u", "canary"),
        offloop.BearerAuth("canary"),
        offloop.DigestAuth("u", "canary"),
    ],
)
def test_auth_objects_show_nothing_and_are_pickled(auth: Any) -> None:
    assert "canary" not in repr(auth) + str(auth) + f"{auth}"
    assert pickle.loads(pickle.dumps(auth)) == auth


@pytest.mark.parametrize(
    "make",
    [
        lambda: offloop.BasicAuth("a:b", "c"),
        lambda: offloop.BasicAuth("a\n", "c"),
        lambda: offloop.BearerAuth("a b"),
        lambda: offloop.BearerAuth(""),
        lambda: offloop.BearerAuth("a\r\nx: y"),
        lambda: offloop.DigestAuth("a", "b\0"),
    ],
)
def test_what_no_header_can_carry_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError):
        make()


@pytest.mark.parametrize("pair", [("a", "b\r\n"), ("a:b", "c")])
def test_a_pair_is_checked_as_basic_auth_is(pair: tuple[str, str]) -> None:
    with pytest.raises(ValueError):
        offloop.Client(auth=pair)


@pytest.mark.parametrize("auth", ["text", 5, ("only",), ("a", "b", "c"), (1, 2), ["a", "b"]])
def test_what_is_no_auth_is_a_type_error(auth: Any) -> None:
    with pytest.raises(TypeError):
        offloop.Client(auth=auth)
    with pytest.raises(TypeError):
        offloop.Client().get("http://127.0.0.1/", auth=auth)

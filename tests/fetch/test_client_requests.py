"""What requests of a client are made of, and what is said of them."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Any

import pytest
from telling import answering, get, headers_of, seen

import offloop
from servers import Server

# What requests are made of.


def test_params_headers_and_base_url_are_joined(told: Server) -> None:
    async def main() -> None:
        async with offloop.Client(
            base_url=f"{told.url}/told/v1/",
            params={"key": "k", "many": [1, 2]},
            headers={"X-A": "client", "X-B": "client"},
            timeout=10,
        ) as client:
            response = await client.get(
                "users?fixed=1",
                params=[("a", "b c&d"), ("flag", True), ("none", None), ("n", 1.5)],
                headers={"x-b": "request", "X-C": "request"},
            )
            expected = "fixed=1&key=k&many=1&many=2&a=b+c%26d&flag=true&none=&n=1.5"
            assert response.url == f"{told.url}/told/v1/users?{expected}"
            got = headers_of(response)
            assert (got["x-a"], got["x-b"], got["x-c"]) == ("client", "request", "request")
            assert got["user-agent"].startswith("offloop/")
            assert (await client.get("/top")).url.startswith(f"{told.url}/told/v1/top?")
            assert (await client.get("")).url.startswith(f"{told.url}/told/v1/")
            other = await client.get(f"{told.url}/told", params="raw=%2F")
            assert other.url == f"{told.url}/told?key=k&many=1&many=2&raw=%2F"
            plain = await client.get("x", headers={"user-agent": "mine", "accept": "a/b"})
            assert headers_of(plain)["user-agent"] == "mine"
            assert headers_of(plain)["accept"] == "a/b"

    asyncio.run(main())


@pytest.mark.parametrize("url", ["/path", "path", "", "//127.0.0.1/"])
def test_a_path_needs_a_base_url(url: str) -> None:
    with pytest.raises(offloop.InvalidURL):
        offloop.Client().get(url)


def test_a_range_asks_for_identity(told: Server) -> None:
    plain = headers_of(get(f"{told.url}/told"))
    assert "gzip" in plain["accept-encoding"]
    part = headers_of(get(f"{told.url}/told", headers={"Range": "bytes=0-9"}))
    assert (part["range"], part["accept-encoding"]) == ("bytes=0-9", "identity")
    own = headers_of(
        get(f"{told.url}/told", headers={"range": "bytes=0-", "accept-encoding": "br"})
    )
    assert own["accept-encoding"] == "br"


def test_a_range_of_the_client_asks_for_identity_too(told: Server) -> None:
    async def main() -> None:
        async with offloop.Client(headers={"Range": "bytes=0-9"}, timeout=10) as client:
            got = headers_of(await client.get(f"{told.url}/told"))
            assert (got["range"], got["accept-encoding"]) == ("bytes=0-9", "identity")

    asyncio.run(main())


@pytest.mark.parametrize("method", ["get", "head", "options", "post", "put", "patch", "delete"])
def test_each_method_has_its_name(told: Server, method: str) -> None:
    async def main() -> None:
        seen(told)
        async with offloop.Client(timeout=10) as client:
            assert (await getattr(client, method)(answering(told, ""))).status_code == 200
            assert (await client.request("PURGE", answering(told, ""))).status_code == 200
        assert [request["method"] for request in seen(told)] == [method.upper(), "PURGE"]

    asyncio.run(main())


ODD_OPTIONS = [
    ({"timeout": "soon"}, TypeError),
    ({"timeout": -1}, ValueError),
    ({"timeout": math.nan}, ValueError),
    ({"headers": {"a b": "c"}}, offloop.InvalidHeader),
    ({"headers": {"a": "b\r\nc: d"}}, offloop.InvalidHeader),
    ({"max_body": "x"}, TypeError),
    ({"retries": -1}, ValueError),
    ({"retries": "3"}, TypeError),
]


@pytest.mark.parametrize(("options", "error"), ODD_OPTIONS)
def test_what_cannot_be_is_refused_at_the_call(options: dict[str, Any], error: type[Any]) -> None:
    with pytest.raises(error):
        offloop.Client().get("http://127.0.0.1/", **options)


@pytest.mark.parametrize(("options", "error"), ODD_OPTIONS)
def test_what_cannot_be_is_refused_when_the_client_is_made(
    options: dict[str, Any], error: type[Any]
) -> None:
    with pytest.raises(error):
        offloop.Client(**options)


def test_an_option_that_no_request_has_is_a_type_error() -> None:
    options: dict[str, Any] = {"nonsense": 1}
    with pytest.raises(TypeError, match="nonsense"):
        offloop.Client().get("http://127.0.0.1/", **options)


def test_an_option_that_no_client_has_is_a_type_error() -> None:
    options: dict[str, Any] = {"nonsense": 1}
    with pytest.raises(TypeError, match="nonsense"):
        offloop.Client(**options)


def test_a_path_may_have_a_url_in_its_query(told: Server) -> None:
    async def main() -> None:
        async with offloop.Client(base_url=told.url, timeout=10) as client:
            response = await client.get("/told?next=https://example.org/")
            assert response.json()["target"] == "/told?next=https://example.org/"

    asyncio.run(main())


# Nothing said aloud.


def test_nothing_that_is_shown_holds_a_secret(
    told: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []

    def show(*things: object) -> None:
        shown.extend(f"{thing!r} {thing}" for thing in things)

    async def main() -> None:
        secret = {
            "headers": {"authorization": "Bearer canary", "x-api-key": "canary"},
            "cookies": {"session": "canary"},
            "params": {"token": "canary"},
        }
        client = offloop.Client(
            auth=("canary-user", "canary"),
            base_url=told.url.replace("//", "//canary:canary@"),
            timeout=offloop.Timeout(connect=0.5, read=0.5),
        )
        show(client, client.stats())
        job = client.get("/told", **secret)
        show(job)
        started = job.start()
        show(job, started)
        response = await started
        show(job, started, response, response.request, response.attempts, response.timings)
        show(response.headers, response.request.headers)
        hop = await client.get("/told?status=302&header=location:/told%3Fk%3Dcanary", **secret)
        show(hop, hop.history, hop.attempts)
        set_cookie = await client.get(answering(told, "canary", "set-cookie: id=canary; Path=/"))
        show(set_cookie, set_cookie.headers)
        port = told.port
        failing = [
            client.get("http://canary:canary@127.0.0.1:1/p?token=canary#canary", **secret),
            client.get("http://nowhere.invalid/?token=canary", **secret),
            client.get(f"https://127.0.0.1:{port}/?token=canary", **secret),
            client.get("/told?status=302&header=location:ftp:%2F%2Fx/%3Fcanary", **secret),
            client.get("/told?status=302&header=location:http:%2F%2Fa:canary@x/", **secret),
            client.get("/told?k=canary", max_body=1, **secret),
            client.get(f"{told.url}/told?status=503&k=canary", retries=1, **secret),
        ]
        for failed in failing:
            show(failed)
            try:
                (await failed).raise_for_status()
            except offloop.FetchError as error:
                show(error, error.url, error.request, error.attempts, error.history, error.args)
                show(*(value for value in vars(error).values()))
        for invalid in (
            "http://canary:canary@/",
            "http://h h/?canary",
            "http://canary:canary@[x]/?canary",
        ):
            try:
                client.get(invalid)
            except offloop.InvalidURL as error:
                show(error)
        try:
            client.get("/", headers={"x-key": "canary\r\n"})
        except offloop.InvalidHeader as error:
            show(error)
        stream = await client.stream("GET", "/told?k=canary", **secret)
        show(stream, stream.aiter_raw(), stream.aclose())
        client.close()

    asyncio.run(main())
    leaks = [text for text in [*shown, caplog.text] if "canary" in text or "Y2FuYXJ5" in text]
    assert leaks == []


def test_a_job_that_was_never_awaited_warns_without_secrets() -> None:
    with pytest.warns(RuntimeWarning, match="never awaited") as caught:
        offloop.fetch("http://ann:canary@127.0.0.1/path?token=canary")
    assert "canary" not in str(caught[0].message)


@pytest.mark.parametrize(
    ("option", "wanted"),
    [
        ("limits", "an offloop.Limits, not int"),
        ("guard", "a bool or an offloop.Guard, not int"),
        ("transport", "one of offloop.testing, not int"),
        ("retries", "int or Retry, not str"),
    ],
)
def test_an_option_of_a_wrong_type_is_told_by_its_name(option: str, wanted: str) -> None:
    value: Any = "3" if option == "retries" else 3
    options: Any = {option: value}
    with pytest.raises(TypeError, match=f"{option} must be {wanted}"):
        offloop.Client(**options)

"""Who the client says it is: basic, bearer, digest, functions; and hooks, which see it all.

Credentials belong to the origin they were given for: no redirect takes them elsewhere. The digest
is checked by `tests/servers/digest.py`, with arithmetic of its own. FAULTS S1, S3, S14.
"""

from __future__ import annotations

import asyncio
import base64
import json
import pickle
import threading
import traceback
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import offloop
from servers import Server, serve

ANN = ("ann", "open:sesame")


@pytest.fixture(scope="module")
def foreign() -> Iterator[Server]:
    with serve("told") as running:
        yield running


@pytest.fixture(scope="module")
def digest() -> Iterator[Server]:
    with serve("digest") as running:
        yield running


def seen(server: Server) -> list[Any]:
    with urllib.request.urlopen(f"{server.url}/seen", timeout=10) as answer:
        log: list[Any] = json.load(answer)
        return log


def get(url: str, *, client: dict[str, Any] | None = None, **options: Any) -> offloop.Response:
    async def main() -> offloop.Response:
        async with offloop.Client(timeout=10, trust_env=False, **(client or {})) as made:
            return await made.request(options.pop("method", "GET"), url, **options)

    return asyncio.run(main())


def authorization(response: offloop.Response) -> str | None:
    """The Authorization that the server got."""
    value: str | None = dict(response.json()["headers"]).get("authorization")
    return value


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def moved(server: Server, location: str, status: int = 302) -> str:
    return f"{server.url}/told?status={status}&header={quote('location: ' + location, safe='')}"


# Basic and bearer.


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


# Digest.


@pytest.mark.parametrize("qop", ["auth", "none", "auth,auth-int"])
@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "MD5-sess", "SHA-256-sess"])
def test_a_digest_is_right(digest: Server, algorithm: str, qop: str) -> None:
    if algorithm.endswith("sess") and qop == "none":
        pytest.skip("there is no cnonce without a qop")
    url = f"{digest.url}/plain/{algorithm}/{qop}/x?query=1&b=%20"
    if qop == "auth,auth-int":
        url = url.replace(qop, "auth")
    response = get(url, auth=offloop.DigestAuth(*ANN))
    assert response.status_code == 200, response.text
    fields = response.json()
    assert fields["uri"].endswith("/x?query=1&b=%20")
    assert fields["algorithm"] == algorithm
    assert "sesame" not in json.dumps(seen(digest))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_digest_is_for_the_method_and_sends_the_body_again(digest: Server, method: str) -> None:
    url = f"{digest.url}/plain/SHA-256/auth"
    response = get(url, method=method, content=b"body", auth=offloop.DigestAuth(*ANN))
    assert response.status_code == 200


def test_the_next_request_answers_before_it_is_asked(digest: Server) -> None:
    async def main() -> None:
        seen(digest)
        async with offloop.Client(auth=offloop.DigestAuth(*ANN)) as client:
            for _ in range(3):
                response = await client.get(f"{digest.url}/plain/SHA-256/auth")
                assert response.status_code == 200
            counts = [response.json()["nc"] for response in [response]]
        log = seen(digest)
        assert [entry[1] is None for entry in log] == [True, False, False, False]
        assert counts == ["00000003"]

    asyncio.run(main())


def test_a_stale_nonce_is_replaced_without_a_word(digest: Server) -> None:
    async def main() -> None:
        async with offloop.Client(auth=offloop.DigestAuth(*ANN)) as client:
            for _ in range(4):
                response = await client.get(f"{digest.url}/once/MD5/auth")
                assert response.status_code == 200

    asyncio.run(main())


def test_many_at_once_share_what_they_know(digest: Server) -> None:
    async def main() -> None:
        async with offloop.Client(auth=offloop.DigestAuth(*ANN)) as client:
            first = await client.get(f"{digest.url}/plain/MD5/none")
            assert first.status_code == 200
            jobs = [client.get(f"{digest.url}/plain/MD5/none") for _ in range(20)]
            assert {answer.status_code for answer in await asyncio.gather(*jobs)} == {200}

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["plain", "once", "never", "many", "both"])
def test_a_wrong_password_is_a_401_and_no_loop(digest: Server, kind: str) -> None:
    seen(digest)
    response = get(
        f"{digest.url}/{kind}/SHA-256/auth", auth=offloop.DigestAuth("ann", "wrong-canary")
    )
    assert (response.status_code, response.content) == (401, b"who?")
    log = seen(digest)
    assert 1 <= len(log) <= 3
    assert "canary" not in json.dumps(log)


def test_the_strongest_algorithm_is_taken(digest: Server) -> None:
    response = get(f"{digest.url}/many/x/auth", auth=offloop.DigestAuth(*ANN))
    assert response.json()["algorithm"] == "SHA-256"


def test_a_digest_is_found_among_other_challenges(digest: Server) -> None:
    response = get(f"{digest.url}/both/SHA-256/auth", auth=offloop.DigestAuth(*ANN))
    assert response.status_code == 200


@pytest.mark.parametrize("kind", ["unknown", "bad"])
def test_a_challenge_that_nobody_can_meet_is_a_401(digest: Server, kind: str) -> None:
    seen(digest)
    response = get(f"{digest.url}/{kind}/SHA-256/auth", auth=offloop.DigestAuth(*ANN))
    assert response.status_code == 401
    assert len(seen(digest)) == 1


def test_without_digest_auth_a_challenge_is_a_401(digest: Server) -> None:
    assert get(f"{digest.url}/plain/MD5/auth", auth=("ann", "x")).status_code == 401


def test_a_digest_is_not_for_another_origin(told: Server, digest: Server) -> None:
    seen(digest)
    url = moved(told, f"{digest.url}/plain/SHA-256/auth")
    response = get(url, auth=offloop.DigestAuth(*ANN))
    assert response.status_code == 401
    assert [entry[1] for entry in seen(digest)] == [None]


def test_a_digest_works_for_streams(digest: Server) -> None:
    async def main() -> None:
        async with offloop.Client(auth=offloop.DigestAuth(*ANN)) as client:
            async with client.stream("GET", f"{digest.url}/plain/SHA-256/auth") as response:
                assert response.status_code == 200
                assert b"nonce" in await response.aread()

    asyncio.run(main())


# Functions and hooks.


def test_a_function_sees_the_request_and_adds_headers(told: Server) -> None:
    asked: list[offloop.Request] = []

    def sign(request: offloop.Request) -> dict[str, str]:
        asked.append(request)
        return {"x-signature": f"{request.method} {request.url} {request.headers['x-mine']}"}

    headers = {"x-mine": "1", "X-Other": "2"}
    client = {"auth": sign}
    response = get(f"{told.url}/told?a=1", method="PUT", headers=headers, client=client)
    got = dict(response.json()["headers"])
    assert got["x-signature"] == f"PUT {told.url}/told?a=1 1"
    assert (got["x-mine"], got["x-other"]) == ("1", "2")
    assert len(asked) == 1


def test_a_function_keeps_the_pairs_of_the_request(told: Server) -> None:
    pairs = [("x-two", "1"), ("x-two", "2")]
    response = get(f"{told.url}/told", headers=pairs, client={"auth": lambda _: {"x-auth": "3"}})
    got = response.json()["headers"]
    assert [value for name, value in got if name in {"x-two", "x-auth"}] == ["1", "2", "3"]


def test_what_a_function_raises_is_the_error_of_the_request(told: Server) -> None:
    def refuse(request: object) -> None:
        raise LookupError("no key")

    with pytest.raises(LookupError, match="no key"):
        get(f"{told.url}/told", client={"auth": refuse})


def test_hooks_see_requests_and_responses_in_the_loop_s_thread(told: Server) -> None:
    events: list[tuple[str, str, int]] = []

    def before(request: offloop.Request) -> None:
        events.append(("request", request.method, threading.get_ident()))

    def after(response: offloop.Response) -> None:
        events.append(("response", str(response.status_code), threading.get_ident()))

    hooks = {"request": [before], "response": [after, after]}

    async def main() -> None:
        async with offloop.Client(hooks=hooks) as client:
            assert (await client.get(f"{told.url}/told?status=404")).status_code == 404
            await client.post(f"{told.url}/told")
            async with client.stream("GET", f"{told.url}/told") as response:
                await response.aread()
            jobs = [client.get(f"{told.url}/told").start() for _ in range(10)]
            await asyncio.gather(*jobs)

    asyncio.run(main())
    here = threading.get_ident()
    assert {thread for _, _, thread in events} == {here}
    assert [event[:2] for event in events[:6]] == [
        ("request", "GET"),
        ("response", "404"),
        ("response", "404"),
        ("request", "POST"),
        ("response", "200"),
        ("response", "200"),
    ]
    assert len(events) == 13 * 3


@pytest.mark.parametrize("kind", ["request", "response"])
@pytest.mark.parametrize("way", ["await", "start", "gather", "stream"])
def test_what_a_hook_raises_is_the_error_of_the_request(told: Server, kind: str, way: str) -> None:
    error = LookupError("the hook's own")

    def hook(_: object) -> None:
        raise error

    async def main() -> None:
        async with offloop.Client(hooks={kind: [hook]}) as client:
            url = f"{told.url}/told"
            with pytest.raises(LookupError) as caught:
                if way == "await":
                    await client.get(url)
                elif way == "start":
                    await client.get(url).start()
                elif way == "gather":
                    await asyncio.gather(client.get(url))
                else:
                    async with client.stream("GET", url):
                        pass
            assert caught.value is error

    asyncio.run(main())


def test_raise_for_status_makes_a_hook(told: Server) -> None:
    hooks = {"response": [offloop.Response.raise_for_status]}
    assert get(f"{told.url}/told", client={"hooks": hooks}).status_code == 200
    with pytest.raises(offloop.StatusError) as caught:
        get(f"{told.url}/told?status=500", client={"hooks": hooks})
    assert caught.value.response is not None
    assert caught.value.response.status_code == 500


def test_a_failed_request_calls_no_response_hook() -> None:
    called: list[object] = []

    async def main() -> None:
        async with offloop.Client(hooks={"response": [called.append]}) as client:
            with pytest.raises(offloop.ConnectError):
                await client.get("http://127.0.0.1:1/")

    asyncio.run(main())
    assert called == []


def test_what_is_no_hook_is_refused() -> None:
    with pytest.raises(TypeError):
        offloop.Client(hooks={"request": ["text"]})  # type: ignore[list-item]
    with pytest.raises(ValueError, match="wrong"):
        offloop.Client(hooks={"wrong": []})  # type: ignore[typeddict-unknown-key]


class Sub(offloop.Client):
    """A client of the user's own class."""


def test_a_client_with_functions_is_still_of_its_class_and_pickled(told: Server) -> None:
    for made in (
        Sub(auth=module_auth),
        Sub(hooks={"response": [offloop.Response.raise_for_status]}),
    ):
        again = pickle.loads(pickle.dumps(made))
        assert isinstance(made, Sub)
        assert isinstance(again, Sub)

    async def main() -> None:
        async with pickle.loads(pickle.dumps(Sub(auth=module_auth))) as again:
            response = await again.get(f"{told.url}/told")
            assert authorization(response) == "Module GET"

    asyncio.run(main())


def module_auth(request: offloop.Request) -> dict[str, str]:
    return {"authorization": f"Module {request.method}"}


def test_a_function_for_one_request_is_called_when_the_request_starts(told: Server) -> None:
    asked: list[tuple[str, str]] = []

    def auth(request: offloop.Request) -> dict[str, str]:
        asked.append((request.method, request.url))
        return {"authorization": f"Own {len(asked)}"}

    async def main() -> None:
        async with offloop.Client(auth=("user", "password"), headers={"x-own": "1"}) as client:
            url = f"{told.url}/told"
            job = client.get(url, auth=auth, headers={"x-two": "2"})
            assert asked == []
            assert authorization(await job) == "Own 1"
            assert authorization(await client.post(url, auth=auth, content=iter([b"x"]))) == "Own 2"
            async with client.stream("GET", url, auth=auth) as response:
                await response.aread()
                assert authorization(response) == "Own 3"
            # Neither what it gives nor what it hides is the client's auth.
            assert authorization(await client.get(url, auth=lambda _: None)) is None
            assert authorization(await client.get(url)) is not None
            assert asked == [("GET", url), ("POST", url), ("GET", url)]

    asyncio.run(main())


def test_what_a_function_for_one_request_raises_is_the_error_of_the_request(told: Server) -> None:
    def auth(_: offloop.Request) -> dict[str, str]:
        raise LookupError("no token")

    async def main() -> None:
        async with offloop.Client() as client:
            with pytest.raises(LookupError, match="no token"):
                await client.get(f"{told.url}/told", auth=auth)
            with pytest.raises(offloop.InvalidURL):
                client.get("no url", auth=auth)

    asyncio.run(main())


def test_no_frame_of_rust_is_below_a_function_of_the_users(told: Server) -> None:
    """What calls it is Python up to the loop; of a call from Rust the frames would end at `get`."""
    callers: list[str] = []

    def auth(_: offloop.Request) -> None:
        callers.extend(frame.name for frame in reversed(traceback.extract_stack()))

    async def main() -> None:
        async with offloop.Client() as client:
            await client.get(f"{told.url}/told", auth=auth)

    asyncio.run(main())
    assert callers[:2] == ["auth", "work"]
    assert "_run_once" in callers


@pytest.mark.parametrize("place", ["client", "request"])
def test_a_download_calls_a_function_that_is_auth(told: Server, tmp_path: Path, place: str) -> None:
    given: Any = {"auth": module_auth}

    async def main() -> None:
        async with offloop.Client(**(given if place == "client" else {})) as client:
            options = given if place == "request" else {}
            saved = await client.download(f"{told.url}/told", tmp_path / "told", **options)
            assert "Module GET" in saved.path.read_text()

    asyncio.run(main())

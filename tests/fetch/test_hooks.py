"""Functions of the user's around a request: auth that is computed, and hooks, which see it all.

Async ones are in `test_async_hooks.py`. FAULTS S3.
"""

from __future__ import annotations

import asyncio
import pickle
import threading
import traceback
from pathlib import Path
from typing import Any

import pytest
from asking import authorization, get

import offloop
from servers import Server


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

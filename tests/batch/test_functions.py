"""Functions of the user's around the requests of `fetch_all`: hooks, auth, and who observes."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import offloop
from batch.conftest import Counting
from conftest import Run
from offloop import _hooks
from servers import Server


def test_a_function_as_auth_is_asked_for_each_request_in_its_turn(
    run: Run[Any], server: Server
) -> None:
    asked: list[str] = []

    def auth(request: offloop.Request) -> dict[str, str]:
        asked.append(request.url)
        return {"authorization": f"Number {request.url.rpartition('?')[2]}"}

    async def main(client: offloop.Client, **options: Any) -> list[Any]:
        urls = [f"{server.url}/echo?{n}" for n in range(40)]
        async with client:
            results = client.fetch_all(urls, ordered=True, limit=4, **options)
            return [got.response and got.response.json()["headers"] async for got in results]

    for client, options in [(offloop.Client(auth=auth), {}), (offloop.Client(), {"auth": auth})]:
        asked.clear()
        got = run(main(client, **options))
        assert [_field(fields, "authorization") for fields in got] == [
            f"Number {n}" for n in range(40)
        ]
        assert sorted(asked) == sorted(f"{server.url}/echo?{n}" for n in range(40))


def _field(shown: Any, name: str) -> str:
    """A header as `/echo` shows it."""
    return str(shown[name])


def test_hooks_are_called_in_the_loops_thread_and_the_callers_context(
    run: Run[Any], server: Server
) -> None:
    mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="none")
    places = set()
    seen = Counter[str]()

    def before(request: offloop.Request) -> None:
        places.add((threading.get_ident(), mark.get()))
        seen["before"] += 1

    async def also_before(request: offloop.Request) -> None:
        await asyncio.sleep(0.001)
        seen["also before"] += 1

    async def after(response: offloop.Response) -> None:
        await asyncio.sleep(0.001)
        places.add((threading.get_ident(), mark.get()))
        seen[f"after {response.status_code}"] += 1

    async def main(hooks: Any) -> int:
        mark.set("mine")
        async with offloop.Client(hooks=hooks) as client:
            urls = (f"{server.url}/1k?{n}" for n in range(50))
            async for got in client.fetch_all(urls, limit=8):
                assert got.error is None
                assert got.response is not None
                assert len(got.response.content) == 1024
        return threading.get_ident()

    thread = run(main({"request": [before, also_before], "response": [after]}))
    assert places == {(thread, "mine")}
    assert seen == {"before": 50, "also before": 50, "after 200": 50}


def test_what_a_function_raises_is_the_result_of_its_request(server: Server) -> None:
    def before(request: offloop.Request) -> None:
        if request.url.endswith("?2"):
            raise LookupError("not this one")

    async def after(response: offloop.Response) -> None:
        if response.url.endswith("?4"):
            raise asyncio.CancelledError

    async def main() -> list[offloop.Fetched]:
        hooks: Any = {"request": [before], "response": [after]}
        async with offloop.Client(hooks=hooks, base_url=server.url) as client:
            urls = [f"/1k?{n}" for n in range(6)] + ["http://no port:1x/"]
            return [got async for got in client.fetch_all(urls, ordered=True)]

    kinds = [type(got.error) for got in asyncio.run(main())]
    right = type(None)
    cancelled = offloop.LifecycleError
    assert kinds == [right, right, LookupError, right, cancelled, right, offloop.InvalidURL]


def test_the_schedule_holds_for_requests_with_functions(counting: Counting) -> None:
    def auth(_request: offloop.Request) -> None:
        return None

    async def main() -> list[offloop.Fetched]:
        async with offloop.Client(auth=auth, retries=2) as client:
            urls = [
                f"{counting.host(host)}/hold/0.02/{host}-{n}"
                for n in range(20)
                for host in range(1, 5)
            ]
            # Tried again, without a place meanwhile, and redirected, to a place at the other host.
            urls += [f"{counting.host(5)}/flaky/f-{n}/1/503" for n in range(4)]
            urls += [
                f"{counting.host(6)}/to/t-{n}?{counting.host(1)}/hold/0.02/to-{n}" for n in range(8)
            ]
            return [got async for got in client.fetch_all(urls, limit=9, per_host=3)]

    got = asyncio.run(main())
    assert [one.error for one in got] == [None] * 92
    assert {one.response.status_code for one in got if one.response} == {200}
    peak = counting.report()["peak"]
    assert peak.pop("all") == 9
    assert max(peak.values()) <= 3


def test_requests_keep_their_own_headers_and_method(server: Server) -> None:
    def auth(request: offloop.Request) -> dict[str, str]:
        return {"x-seen": request.headers["x-own"] + request.method}

    async def main() -> Any:
        request = offloop.Request("GET", f"{server.url}/echo", headers={"x-own": "mine"})
        async for got in offloop.fetch_all([request], auth=auth):
            assert got.response is not None
            assert got.request is not None
            return got.response.json()["headers"]

    fields = asyncio.run(main())
    assert _field(fields, "x-seen") == "mineGET"
    assert _field(fields, "x-own") == "mine"


def test_leaving_early_waits_for_the_cleaning_up_of_hooks(counting: Counting) -> None:
    cleaned = Counter[str]()

    async def before(request: offloop.Request) -> None:
        if "slow" in request.url:
            try:
                await asyncio.sleep(30)
            finally:
                await asyncio.sleep(0.02)
                cleaned["slow"] += 1

    async def main() -> None:
        urls = [f"{counting.url}/hold/0/quick"]
        urls += [f"{counting.url}/hold/0/slow-{n}" for n in range(5)]
        urls += [f"{counting.url}/flood/long-{n}" for n in range(5)]
        async with offloop.Client(hooks={"request": [before]}) as client:
            async with client.fetch_all(urls, max_body=None) as results:
                async for got in results:
                    assert got.index == 0
                    break
            assert cleaned["slow"] == 5
            counting.wait_until_left()

    asyncio.run(asyncio.wait_for(main(), 20))


def test_bodies_go_to_files_with_functions_too(server: Server, tmp_path: Path) -> None:
    async def main() -> list[offloop.Fetched]:
        async with offloop.Client(hooks={"response": [lambda response: None]}) as client:
            urls = [f"{server.url}/1k?{n}" for n in range(3)]
            return [got async for got in client.fetch_all(urls, save_to=tmp_path)]

    paths = {got.path for got in asyncio.run(main())}
    assert len(paths) == 3
    assert [path.read_bytes() for path in paths if path] == [b"x" * 1024] * 3


def test_who_observes_requests_sees_those_of_fetch_all(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    over: list[int] = []

    class Observer:
        def begin(self, request: offloop.Request, answer: Any) -> Any:
            return {"x-trace": "1"}, lambda job: over.append(answer(job).status_code)

    monkeypatch.setattr(_hooks, "observer", Observer())

    async def main() -> list[str]:
        async with offloop.Client() as client:
            urls = [f"{server.url}/echo"] * 3
            return [
                _field(got.response.json()["headers"], "x-trace")
                async for got in client.fetch_all(urls)
                if got.response
            ]

    assert asyncio.run(main()) == ["1"] * 3
    assert over == [200] * 3

"""`MockRouter.client`: what users' tests do with it, and the fixture."""

from __future__ import annotations

import asyncio
import threading
from importlib.metadata import entry_points
from typing import Any

import pytest
from router_asks import API

import offloop
from conftest import Run
from offloop.testing import MockRouter, Reply

# --- with offloop's own client


def test_all_connections_of_a_client_lead_to_the_router(run: Run[None]) -> None:
    async def main() -> None:
        async with MockRouter() as router, router.client(base_url=API) as client:
            route = router.get(f"{API}/users/{{id}}").respond(json={"name": "Ada"})
            router.post("http://other.example:8080/").respond(201)
            answer = await client.get("/users/7", params={"a": 1})
            assert (answer.json(), answer.url) == ({"name": "Ada"}, f"{API}/users/7?a=1")
            assert route.calls[0].params == {"a": "1"}
            answer = await client.post("http://other.example:8080/", json=[1])
            assert answer.status_code == 201
            assert router.calls[1].json() == [1]
        assert client.is_closed

    run(main())


def test_a_client_may_be_made_by_hand_and_outlive_its_requests(run: Run[None]) -> None:
    async def main() -> None:
        async with MockRouter() as router:
            router.get("*").respond(content=[b"one\n", b"two\n"])
            async with offloop.Client(transport=router) as client:
                async with client.stream("GET", f"{API}/lines") as answer:
                    assert [line async for line in answer.aiter_lines()] == ["one", "two"]

    run(main())


def test_redirects_between_hosts_stay_with_the_router(run: Run[None]) -> None:
    async def main() -> None:
        async with MockRouter(assert_all_called=True) as router, router.client() as client:
            router.get(f"{API}/a").respond(302, headers={"location": "https://b.example/b"})
            end = router.get("https://b.example/b").respond(text="there")
            answer = await client.get(f"{API}/a", headers={"authorization": "secret"})
            assert (answer.text, answer.url) == ("there", "https://b.example/b")
            assert "authorization" not in end.calls[0].headers

    run(main())


def test_retries_can_be_tested(run: Run[None]) -> None:
    async def main() -> None:
        # Without `retry_stale`, which replays on a fresh connection and calls it one attempt.
        options: Any = {"retries": offloop.Retry(attempts=4, backoff=0.001), "retry_stale": False}
        async with MockRouter() as router, router.client(**options) as client:
            route = router.get(API).reset().too_many_requests(retry_after=0).close().respond(200)
            answer = await client.get(API)
            assert answer.status_code == 200
            assert route.call_count == 4
            assert [attempt.status for attempt in answer.attempts] == [None, 429, None, 200]

    run(main())


@pytest.mark.parametrize("fault", ["reset", "close", "garbage", "truncate", "stall", "stall body"])
def test_each_fault_is_its_error(run: Run[None], fault: str) -> None:
    broken = (offloop.ConnectError, offloop.ProtocolError)

    async def main() -> None:
        async with MockRouter() as router, router.client(timeout=0.5) as client:
            route = router.get(API)
            expected: Any = offloop.FetchTimeout
            if fault == "stall body":
                route.stall(after=5)
            elif fault == "truncate":
                route.truncate(after=5, content=b"0123456789")
                expected = offloop.TruncatedBody
            else:
                getattr(route, fault)()
                expected = {"stall": expected, "garbage": offloop.ProtocolError}.get(fault, broken)
            route.respond(200)
            with pytest.raises(expected) as caught:
                await client.get(API)
            if fault == "truncate":
                assert (caught.value.received, caught.value.expected) == (5, 10)
            assert (await client.get(API)).status_code == 200

    run(main())


def test_one_router_serves_several_loops_at_once() -> None:
    async def main(router: MockRouter) -> list[int]:
        async with router.client() as client:
            answers = await asyncio.gather(*(client.get(f"{API}/{n}") for n in range(20)))
            return [answer.json() for answer in answers]

    results: list[list[int]] = []
    with MockRouter() as router:
        route = router.get("/{n}").handle(lambda request: Reply(json=int(request.path_params["n"])))
        threads = [
            threading.Thread(target=lambda: results.append(asyncio.run(main(router))))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [list(range(20))] * 4
        assert route.call_count == 80


# --- the pytest plugin

pytest_plugins = ["pytester"]
SUITE = """
    import urllib.request

    def ask(router, path):
        with urllib.request.urlopen(f"http://{router.address}{path}") as answer:
            return answer.read()

    def test_good(offloop_router):
        offloop_router.get("/x").respond(text="hello")
        assert ask(offloop_router, "/x") == b"hello"

    def test_unexpected(offloop_router):
        try:
            ask(offloop_router, "/y")
        except OSError as error:
            error.close()
"""


def test_the_fixture_is_verified_when_the_test_has_ended(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    registered = "offloop" in entry_points(group="pytest11").names
    named = [] if registered else ["-p", "offloop.testing.pytest_plugin"]
    result = pytester.runpytest_subprocess(*named)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*AssertionError: unexpected request GET http://*/y*"])

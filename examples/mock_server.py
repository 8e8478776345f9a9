"""Test code that fetches, without a network: answers, failures, and what was asked.

usage: python mock_server.py, or: pytest mock_server.py
"""

# ruff: noqa: PT017, S101 - these are tests, and run without pytest, too

import asyncio

import offloop
from offloop.testing import MockRouter


async def names(client: offloop.Client, numbers: list[int]) -> list[str]:
    """Look up the names of some users: the code that is to be tested."""
    urls = [f"https://api.example/users/{number}" for number in numbers]
    responses = await asyncio.gather(*(client.get(url, retries=2) for url in urls))
    return [response.raise_for_status().json()["name"] for response in responses]


def test_names_come_in_the_order_in_which_they_were_asked_for() -> None:
    """The slow answer does not change places with the quick one."""
    with MockRouter() as router:
        router.get("https://api.example/users/1").respond(json={"name": "Ada"}).latency(0.05)
        router.get("https://api.example/users/2").respond(json={"name": "Grace"})
        assert asyncio.run(names(router.client(), [1, 2])) == ["Ada", "Grace"]


def test_a_server_that_fails_twice_is_asked_three_times() -> None:
    """A reset connection and a 503 are both tried again."""
    with MockRouter() as router:
        user = router.get("/users/{id}").reset().respond(503).respond(json={"name": "Ada"})
        assert asyncio.run(names(router.client(), [7])) == ["Ada"]
    assert [call.path_params["id"] for call in user.calls] == ["7", "7", "7"]


def test_a_user_who_is_missing_is_an_error() -> None:
    """A 404 is not tried again, and the error has the response."""
    with MockRouter() as router:
        user = router.get("/users/{id}").respond(404, json={"error": "no such user"})
        try:
            asyncio.run(names(router.client(), [8]))
        except offloop.StatusError as error:
            assert error.response is not None
            assert error.response.json() == {"error": "no such user"}
        else:
            raise AssertionError("a 404 went unnoticed")
    assert user.call_count == 1


if __name__ == "__main__":
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            test()
            print(f"passed  {name}")

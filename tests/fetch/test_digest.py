"""Digest authentication: answers to challenges, right, few, and for their origin alone.

It is checked by `tests/servers/digest.py`, with arithmetic of its own. FAULTS S1.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest
from asking import ANN, get, moved
from telling import seen

import offloop
from servers import Server, serve


@pytest.fixture(scope="module")
def digest() -> Iterator[Server]:
    with serve("digest") as running:
        yield running


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

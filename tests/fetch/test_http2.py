"""HTTP/2: many requests on one connection, with an honest server: hypercorn."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from certified import certify
from knowing import knowing, settles

import offloop
from servers import Server, serve

pytest.importorskip("hypercorn")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certify(tmp_path_factory.mktemp("http2"))


@pytest.fixture(scope="module")
def tls(folder: Path) -> Iterator[Server]:
    with serve("meeting", str(folder / "leaf.pem"), "h2,http/1.1", scheme="https") as running:
        yield running


@pytest.fixture(scope="module")
def clear() -> Iterator[Server]:
    with serve("meeting", "clear", "") as running:
        yield running


def test_64_requests_share_one_connection(tls: Server, folder: Path) -> None:
    async def main() -> None:
        async with offloop.Client(verify=str(folder / "ca.pem")) as client:
            answers = await asyncio.gather(*(client.get(f"{tls.url}/meet/64") for _ in range(64)))
            assert {answer.http_version for answer in answers} == {"HTTP/2"}
            assert len({answer.content for answer in answers}) == 1
            stats = client.stats()
            assert (stats["opened"], stats["http2"], stats["reused"]) == (1, 64, 63)
            assert stats["connections"] == 1
            assert sum(answer.attempts[-1].reused for answer in answers) == 63

    asyncio.run(main())


def test_http2_needs_only_one_place_among_the_connections(tls: Server, folder: Path) -> None:
    async def main() -> None:
        limits = offloop.Limits(connections=1, per_host=1)
        async with offloop.Client(verify=str(folder / "ca.pem"), limits=limits) as client:
            await client.get(f"{tls.url}/any")
            await asyncio.gather(*(client.get(f"{tls.url}/any") for _ in range(300)))
            assert client.stats()["opened"] == 1

    asyncio.run(main())


def test_prior_knowledge_speaks_http2_in_the_clear(clear: Server) -> None:
    async def main() -> None:
        async with knowing() as client:
            answers = await asyncio.gather(*(client.get(f"{clear.url}/any") for _ in range(20)))
            assert {answer.http_version for answer in answers} == {"HTTP/2"}
            assert answers[0].headers.get_list("x-two") == ["1", "2"]
            assert (answers[0].reason_phrase, answers[0].status_code) == ("OK", 200)
            assert answers[0].json()["version"] == "2"
            assert client.stats()["opened"] == 1

    asyncio.run(main())


def test_http_without_tls_is_http1_unless_the_client_knows_better(clear: Server) -> None:
    async def main() -> None:
        async with offloop.Client() as client:
            assert (await client.get(f"{clear.url}/any")).http_version == "HTTP/1.1"

    asyncio.run(main())


def test_a_server_without_http2_is_spoken_to_in_http1(folder: Path) -> None:
    ca = str(folder / "ca.pem")

    async def main(url: str) -> None:
        async with offloop.Client(verify=ca) as client:
            answers = await asyncio.gather(*(client.get(f"{url}/meet/5") for _ in range(5)))
            assert {answer.http_version for answer in answers} == {"HTTP/1.1"}
            assert client.stats()["opened"] == 5
        async with knowing(verify=ca) as client:
            with pytest.raises(offloop.FetchError) as caught:
                await client.get(f"{url}/any")
            assert caught.value.phase == "connect"

    with serve("meeting", str(folder / "leaf.pem"), "http/1.1", scheme="https") as old:
        asyncio.run(main(old.url))
    with serve("plain", str(folder / "leaf.pem"), scheme="https") as older:  # no ALPN at all

        async def plain() -> None:
            async with offloop.Client(verify=ca) as client:
                assert (await client.get(f"{older.url}/1k")).http_version == "HTTP/1.1"

        asyncio.run(plain())


def test_http2_can_be_switched_off(tls: Server, folder: Path) -> None:
    async def main() -> None:
        async with offloop.Client(verify=str(folder / "ca.pem"), http2=False) as client:
            answer = await client.get(f"{tls.url}/any")
            assert (answer.http_version, client.stats()["http2"]) == ("HTTP/1.1", 0)

    asyncio.run(main())
    with pytest.raises(ValueError, match="http1 and http2"):
        offloop.Client(http1=False, http2=False)


def test_large_bodies_go_both_ways(tls: Server, folder: Path) -> None:
    size = 24 << 20
    payload = bytes(range(256)) * (size // 256)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, size, 1 << 20):
            yield payload[start : start + (1 << 20)]

    async def main() -> None:
        expected = [hashlib.sha256(payload).hexdigest(), size]
        async with offloop.Client(verify=str(folder / "ca.pem"), timeout=30) as client:
            sent = await asyncio.gather(
                client.post(f"{tls.url}/digest", content=payload),
                client.post(f"{tls.url}/digest", content=pieces()),
            )
            assert [answer.json() for answer in sent] == [expected, expected]
            got = await asyncio.gather(*(client.get(f"{tls.url}/bytes/{size}") for _ in range(2)))
            assert [answer.content == b"y" * size for answer in got] == [True, True]
            assert got[0].num_bytes_downloaded == size
            assert client.stats()["opened"] == 1
            assert client.stats()["bytes_sent"] == 2 * size

    asyncio.run(main())


def test_a_stream_is_read_as_it_comes(clear: Server) -> None:
    async def main() -> None:
        async with knowing() as client, client.stream("GET", f"{clear.url}/gate/read") as response:
            parts = response.aiter_bytes()
            assert await anext(parts) == b"half "
            await client.get(f"{clear.url}/open/read")
            assert b"".join([part async for part in parts]) == b"whole"

    asyncio.run(main())


def test_a_reader_that_rests_does_not_stop_the_other_streams(clear: Server) -> None:
    async def main() -> None:
        async with knowing(timeout=offloop.Timeout(total=20)) as client:
            async with client.stream("GET", f"{clear.url}/bytes/{3 << 20}") as resting:
                for _ in range(5):
                    answer = await client.get(f"{clear.url}/bytes/{1 << 20}")
                    assert len(answer.content) == 1 << 20
                assert len(await resting.aread()) == 3 << 20
            assert client.stats()["opened"] == 1

    asyncio.run(main())


def test_a_cancelled_stream_leaves_the_others_alone() -> None:
    async def main(clear: Server) -> None:
        async with knowing() as client:
            hanging = [client.get(f"{clear.url}/hang").start() for _ in range(5)]
            await settles(clear, "hanging", 5)
            async with client.stream("GET", f"{clear.url}/gate/on") as kept:
                for job in hanging:
                    job.cancel()
                results = await asyncio.gather(*hanging, return_exceptions=True)
                assert [type(each) for each in results] == [asyncio.CancelledError] * 5
                await settles(clear, "left", 5)
                await client.get(f"{clear.url}/open/on")
                assert await kept.aread() == b"half whole"
            assert client.stats()["opened"] == 1

    with serve("meeting", "clear", "") as own:
        asyncio.run(main(own))


def test_a_stream_left_early_gives_its_place_back(clear: Server) -> None:
    async def main() -> None:
        async with knowing() as client:
            for _ in range(150):  # more than there are streams at once
                async with client.stream("GET", f"{clear.url}/gate/never") as response:
                    assert await anext(response.aiter_bytes()) == b"half "
            assert (await client.get(f"{clear.url}/any")).status_code == 200
            assert client.stats()["opened"] == 1

    asyncio.run(main())


def test_headers_are_those_of_http2(clear: Server) -> None:
    async def main() -> None:
        async with knowing() as client:
            given = {"X-Mine": "1", "Connection": "close", "Host": "other.example"}
            answer = await client.get(f"{clear.url}/any", headers=given, cookies={"a": "b"})
            names = [name for name, _ in answer.json()["headers"]]
            assert "connection" not in names
            assert "transfer-encoding" not in names
            assert dict(answer.json()["headers"])["x-mine"] == "1"
            assert dict(answer.json()["headers"])["cookie"] == "a=b"

    asyncio.run(main())

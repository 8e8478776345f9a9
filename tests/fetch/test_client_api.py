"""The client and what it gives: pickles, threads, counts, texts, streams, and nothing said aloud.

The server is `tests/servers/told.py`, which answers what it is told. API.md §2; FAULTS B10, R7,
S14.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import datetime
import gc
import json
import logging
import math
import pickle
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

import offloop
from servers import Server, serve


@pytest.fixture(scope="module")
def told() -> Iterator[Server]:
    with serve("told") as running:
        yield running


def seen(server: Server) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{server.url}/seen", timeout=10) as answer:
        log: list[dict[str, Any]] = json.load(answer)
        return log


def answering(server: Server, body: bytes | str, *headers: str, **told: str) -> str:
    """The URL of an answer with this body."""
    data = body.encode() if isinstance(body, str) else body
    told["hex"] = data.hex()
    pairs = [f"{name}={quote(value, safe='')}" for name, value in told.items()]
    pairs += [f"header={quote(header, safe='')}" for header in headers]
    return f"{server.url}/told?{'&'.join(pairs)}"


def get(url: str, **options: Any) -> offloop.Response:
    async def main() -> offloop.Response:
        return await offloop.fetch(url, timeout=10, **options)

    return asyncio.run(main())


def headers_of(response: offloop.Response) -> dict[str, str]:
    """What the server got."""
    return dict(response.json()["headers"])


# Pickles.


class Own(offloop.Client):
    """A client of a class of the user's."""


def test_a_client_is_pickled_with_its_configuration(told: Server) -> None:
    async def main() -> None:
        made = Own(
            base_url=told.url,
            headers={"x-mine": "1"},
            params={"a": "1"},
            auth=offloop.BearerAuth("t0ken"),
            timeout=offloop.Timeout(connect=1),
            limits=offloop.Limits(connections=2, rate=1000),
            retries=offloop.Retry(attempts=1),
            cookies={"c": "2"},
            guard=offloop.Guard(allow=["127.0.0.0/8"], ports=[told.port]),
            resolve={"a.test": "127.0.0.1"},
        )
        await made.get("/told")
        again = pickle.loads(pickle.dumps(made))
        assert type(again) is Own
        assert again.stats()["requests"] == 0
        made.close()
        async with again:
            response = await again.get("/told")
            got = headers_of(response)
            assert (got["x-mine"], got["authorization"], got["cookie"]) == (
                "1",
                "Bearer t0ken",
                "c=2",
            )
            assert response.url == f"{told.url}/told?a=1"
        assert pickle.loads(pickle.dumps(made)).is_closed is False

    asyncio.run(main())


def test_errors_are_pickled_with_their_fields(told: Server) -> None:
    async def main() -> None:
        async with offloop.Client(timeout=offloop.Timeout(read=0.2)) as client:
            failing = [
                client.get("http://127.0.0.1:1/", headers={"x-mine": "1"}),
                client.get("http://nowhere.invalid/"),
                client.get(answering(told, "x" * 100), max_body=10),
                client.get(f"{told.url}/told?status=302&header=location:/told%3Fstatus", retries=1),
                client.get(f"{told.url}/told?status=302&header=location:ftp://x/"),
            ]
            errors = await asyncio.gather(*failing, return_exceptions=True)
            response = await client.get(f"{told.url}/told?status=404")
            with pytest.raises(offloop.StatusError) as caught:
                response.raise_for_status()
            errors.append(caught.value)
            for error in errors:
                if not isinstance(error, offloop.FetchError):
                    continue
                again = pickle.loads(pickle.dumps(error))
                assert type(again) is type(error)
                assert str(again) == str(error)
                fields = ("url", "phase", "history", "attempts")
                assert [getattr(again, name) for name in fields] == [
                    getattr(error, name) for name in fields
                ]
                assert (again.request is None) == (error.request is None)
                if error.request is not None:
                    assert again.request == error.request
            refused, unknown, large, *_ = errors
            assert pickle.loads(pickle.dumps(refused)).addresses == refused.addresses
            assert pickle.loads(pickle.dumps(refused)).errno == refused.errno
            assert refused.request.headers["x-mine"] == "1"
            assert (large.limit, pickle.loads(pickle.dumps(large)).limit) == (10, 10)
            assert isinstance(unknown, offloop.DNSError)

    asyncio.run(main())


def test_requests_headers_and_options_are_pickled(told: Server) -> None:
    request = get(f"{told.url}/told?a=1", headers={"X-Mine": "1"}).request
    again = pickle.loads(pickle.dumps(request))
    assert again == request
    assert (again.method, again.url, again.headers["x-mine"]) == ("GET", request.url, "1")
    for value in (
        offloop.Timeout(read=1),
        offloop.Limits(rate=5),
        offloop.Retry(),
        offloop.Guard(),
    ):
        assert pickle.loads(pickle.dumps(value)) == value


# Loops and threads.


def test_one_client_serves_two_threads_at_once(told: Server) -> None:
    client = offloop.Client(limits=offloop.Limits(connections=4), timeout=10)
    barrier = threading.Barrier(2)

    async def main() -> set[int]:
        barrier.wait(5)
        got = await asyncio.gather(*(client.get(f"{told.url}/told") for _ in range(100)))
        return {response.status_code for response in got}

    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        both = [threads.submit(asyncio.run, main()) for _ in range(2)]
        assert [each.result(20) for each in both] == [{200}, {200}]
    assert client.stats()["requests"] == 200
    assert client.stats()["opened"] <= 4
    client.close()


def test_one_client_survives_two_loops(told: Server) -> None:
    client = offloop.Client(timeout=10)

    async def main() -> bool:
        return (await client.get(f"{told.url}/told")).attempts[-1].reused

    assert [asyncio.run(main()) for _ in range(3)] == [False, True, True]
    client.close()


def test_a_stream_left_open_by_a_loop_that_ended_does_no_harm(told: Server) -> None:
    client = offloop.Client(timeout=10, limits=offloop.Limits(connections=1))

    async def leave() -> None:
        await client.stream("GET", f"{told.url}/told")

    async def main() -> int:
        return (await client.get(f"{told.url}/told")).status_code

    asyncio.run(leave())
    gc.collect()
    assert asyncio.run(main()) == 200
    client.close()


# Counts and times.


def test_stats_count_everything(told: Server) -> None:
    async def main() -> None:
        async with offloop.Client(timeout=10) as client:
            assert set(client.stats().values()) == {0}
            await client.post(answering(told, "12345"), content=b"z" * 1000)
            await client.get(f"{told.url}/told?status=302&header=location:/told")
            with pytest.raises(offloop.ConnectError):
                await client.get("http://127.0.0.1:1/")
            await client.get(f"{told.url}/told?status=503", retries=offloop.Retry(attempts=1))
            stats = client.stats()
            assert set(stats) == {
                "requests",
                "in_flight",
                "queued",
                "failed",
                "opened",
                "connections",
                "idle",
                "reused",
                "http2",
                "replayed",
                "retried",
                "redirected",
                "abandoned_lookups",
                "bytes_sent",
                "bytes_received",
                "bytes_decoded",
            }
            assert stats["requests"] == 4
            assert (stats["failed"], stats["redirected"], stats["retried"]) == (1, 1, 1)
            assert (stats["opened"], stats["connections"], stats["idle"]) == (1, 1, 1)
            assert (stats["in_flight"], stats["queued"], stats["reused"]) == (0, 0, 4)
            assert stats["bytes_sent"] == 1000
            # The bodies of a redirect and of a try that is repeated are never decoded.
            assert stats["bytes_received"] > stats["bytes_decoded"] > 5

    asyncio.run(main())


def test_stats_show_what_is_under_way(server: Server) -> None:
    async def main() -> None:
        async with offloop.Client(limits=offloop.Limits(connections=1)) as client:
            jobs = [client.get(f"{server.url}/hang").start() for _ in range(3)]
            give_up = time.monotonic() + 5
            while (client.stats()["in_flight"], client.stats()["queued"]) != (1, 2):
                assert time.monotonic() < give_up, client.stats()
                await asyncio.sleep(0.005)
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)
            names = ("in_flight", "queued", "connections")
            while any(client.stats()[name] for name in names):
                assert time.monotonic() < give_up, client.stats()
                await asyncio.sleep(0.005)

    asyncio.run(main())


def test_a_response_tells_how_it_came_about(told: Server) -> None:
    async def main() -> None:
        async with offloop.Client(timeout=10) as client:
            hop = f"{told.url}/told?status=302&header=location:/told%3Fb%3D2%26body%3Dhello"
            began = time.monotonic()
            response = await client.post(hop, follow_redirects=True, content=b"x")
            took = time.monotonic() - began
            assert set(response.timings) == {
                "queued",
                "dns",
                "connect",
                "tls",
                "first_byte",
                "body",
                "decode",
                "bridge",
            }
            assert all(0 <= seconds < 5 for seconds in response.timings.values())
            assert response.timings["connect"] > 0
            assert isinstance(response.elapsed, datetime.timedelta)
            assert 0 < response.elapsed.total_seconds() <= took
            assert (response.text, response.num_bytes_downloaded) == ("hello", 5)
            assert (response.request.method, response.request.url) == ("GET", response.url)
            assert response.url == f"{told.url}/told?b=2&body=hello"
            (before,) = response.history
            assert (before.status_code, before.url, before.request.method) == (302, hop, "POST")
            assert before.has_redirect_location
            assert before.history == []
            (attempt,) = response.attempts[-1:]
            assert (attempt.status, attempt.error, attempt.reused) == (200, None, True)
            assert 0 < attempt.took < 5
            assert (response.is_success, response.is_error, response.is_redirect) == (
                True,
                False,
                False,
            )

    asyncio.run(main())


# Texts and JSON.

TEXTS = [
    ("grün".encode(), "text/plain; charset=utf-8", "utf-8", "grün"),
    ("grün".encode("latin-1"), "text/plain; charset=ISO-8859-1", "iso-8859-1", "grün"),
    ("grün".encode("cp1252"), 'text/html; x=1; Charset="windows-1252"', "windows-1252", "grün"),
    ("日本".encode("shift_jis"), "text/plain; charset=Shift_JIS", "shift_jis", "日本"),
    ("grün".encode(), "text/plain", "utf-8", "grün"),
    ("grün".encode("utf-8-sig"), "text/plain", "utf-8-sig", "grün"),
    ("grün".encode("utf-16"), "text/plain", "utf-16", "grün"),
    (b"\xfe\xff" + "grün".encode("utf-16-be"), "text/plain", "utf-16", "grün"),
    ("grün".encode("utf-32"), "text/plain", "utf-32", "grün"),
    ("grün".encode(), "text/plain; charset=nonsense", "utf-8", "grün"),
    ("grün".encode(), "text/plain; charset=", "utf-8", "grün"),
    ("grün".encode(), "text/plain; charset=zlib", "utf-8", "grün"),
    (b"gr\xfcn", "text/plain", "utf-8", "gr\ufffdn"),
    (b"", "text/plain", "utf-8", ""),
    (b"\xef\xbb\xbf", "text/plain", "utf-8-sig", ""),
]


@pytest.mark.parametrize(("body", "content_type", "encoding", "text"), TEXTS)
def test_the_charset_is_the_header_s_else_the_mark_s_else_utf_8(
    told: Server, body: bytes, content_type: str, encoding: str, text: str
) -> None:
    response = get(answering(told, body, f"content-type: {content_type}"))
    assert response.encoding.lower() == encoding
    assert response.text == text
    assert response.content == body


def test_the_charset_can_be_set(told: Server) -> None:
    response = get(answering(told, "grün".encode("cp1250"), "content-type: text/plain"))
    response.encoding = "cp1250"
    assert (response.text, response.encoding) == ("grün", "cp1250")


EXACT = [
    "123456789012345678901234567890",
    "-9223372036854775809",
    '[1, 2.5, true, null, "gr\\u00fcn"]',
    '{"a": {"b": [1e400, -1e400]}}',
    "1e-400",
    '{"a": 1, "a": 2}',
    '"\\ud800"',
    "[1.0, 1]",
    " [ ] ",
    "-0",
    "-0.0",
    "0.1",
    "9007199254740993",
]


@pytest.mark.parametrize("text", EXACT)
def test_json_gives_what_json_loads_gives(told: Server, text: str) -> None:
    got, expected = get(answering(told, text)).json(), json.loads(text)
    assert (repr(got), type(got)) == (repr(expected), type(expected))


@pytest.mark.parametrize("text", ["NaN", "[Infinity, -Infinity]"])
def test_json_takes_the_numbers_that_json_loads_takes(told: Server, text: str) -> None:
    assert repr(get(answering(told, text)).json()) == repr(json.loads(text))
    if text == "NaN":
        assert math.isnan(get(answering(told, text)).json())


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-32-be"])
def test_json_finds_its_encoding(told: Server, encoding: str) -> None:
    assert get(answering(told, '{"a": "grün"}'.encode(encoding))).json() == {"a": "grün"}


def test_json_of_integers_of_any_size_is_that_of_json_loads(told: Server) -> None:
    async def main() -> None:
        most = sys.get_int_max_str_digits()
        async with offloop.Client(timeout=10) as client:
            response = await client.post(f"{told.url}/told", content=b"7" * most)
            big = json.loads(response.text)["body"]
            assert len(big) == most

    asyncio.run(main())
    assert get(answering(told, "7" * 4000)).json() == int("7" * 4000)


def test_an_integer_of_too_many_digits_is_a_value_error(told: Server) -> None:
    text = "7" * 5000
    with pytest.raises(ValueError, match="digits") as expected:
        json.loads(text)
    for shown in (text, f"[1, {text}]", f'{{"a": -{text}}}'):
        with pytest.raises(ValueError, match="digits") as caught:
            get(answering(told, shown)).json()
        assert type(caught.value) is type(expected.value)


@pytest.mark.parametrize("text", ["", "{", "[1,]", "nul", "{'a': 1}", '"\x01"', "[1] 2", "01"])
def test_what_is_no_json_is_the_error_of_json_loads(told: Server, text: str) -> None:
    response = get(answering(told, text))
    with pytest.raises(json.JSONDecodeError) as expected:
        json.loads(text)
    with pytest.raises(json.JSONDecodeError) as caught:
        response.json()
    assert str(caught.value) == str(expected.value)


def test_json_takes_the_options_of_json_loads(told: Server) -> None:
    import decimal

    response = get(answering(told, '{"a": 0.10}'))
    assert str(response.json(parse_float=decimal.Decimal)["a"]) == "0.10"
    assert response.json(object_pairs_hook=list) == [("a", 0.1)]


@pytest.mark.parametrize("start", ["[", '{"a":'])
def test_json_nested_too_deeply_is_a_recursion_error(server: Server, start: str) -> None:
    async def main() -> None:
        async with offloop.Client(timeout=20) as client:
            nested = start * 100_000
            async with await asyncio.start_server(deep(nested.encode()), "127.0.0.1", 0) as own:
                port = own.sockets[0].getsockname()[1]
                response = await client.get(f"http://127.0.0.1:{port}/")
            with pytest.raises(RecursionError):
                response.json()

    asyncio.run(main())


def deep(body: bytes) -> Any:
    async def answer(reader: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        out.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n")
        out.write(f"content-length: {len(body)}\r\n\r\n".encode() + body)
        await out.drain()
        out.close()

    return answer


# Reading, and its order.


def test_a_request_can_stand_in_an_async_with(told: Server) -> None:
    async def main() -> None:
        async with offloop.Client(timeout=10) as client:
            async with client.get(answering(told, "whole")) as response:
                assert response.text == "whole"
                assert response.is_closed
            async with offloop.fetch(answering(told, "fetched")) as response:
                assert response.content == b"fetched"
            async with client.post(f"{told.url}/told", content=b"x") as response:
                assert response.json()["body"] == "x"
            with pytest.raises(offloop.ConnectError):
                async with client.get("http://127.0.0.1:1/"):
                    pytest.fail("there is no response")

    asyncio.run(main())


def test_a_stream_has_no_content_before_it_is_read(told: Server) -> None:
    async def main() -> None:
        async with offloop.Client(timeout=10) as client:
            async with client.stream("GET", answering(told, '{"a": 1}')) as response:
                for read in (
                    lambda: response.content,
                    lambda: response.text,
                    lambda: response.json(),
                ):
                    with pytest.raises(offloop.LifecycleError, match="aread"):
                        read()
                assert not response.is_stream_consumed
                assert await response.aread() == b'{"a": 1}'
                assert await response.aread() == b'{"a": 1}'
                assert response.json() == {"a": 1}
                assert response.is_stream_consumed
                assert b"".join([part async for part in response.aiter_bytes()]) == b'{"a": 1}'
            assert response.text == '{"a": 1}'

    asyncio.run(main())


def test_a_stream_is_read_once(told: Server) -> None:
    async def main() -> None:
        async with offloop.Client(timeout=10) as client:
            async with client.stream("GET", answering(told, "once")) as response:
                assert [part async for part in response.aiter_bytes()] == [b"once"]
                for again in (response.aiter_bytes, response.aiter_raw):
                    with pytest.raises(offloop.LifecycleError):
                        again()
                with pytest.raises(offloop.LifecycleError):
                    await response.aread()

    asyncio.run(main())


def test_a_buffered_response_can_be_read_in_pieces(told: Server) -> None:
    async def main() -> None:
        response = await offloop.fetch(answering(told, "a\nb\n"))
        assert [line async for line in response.aiter_lines()] == ["a", "b"]
        assert [part async for part in response.aiter_bytes(3)] == [b"a\nb", b"\n"]
        assert await response.aread() == b"a\nb\n"
        assert response.is_closed

    asyncio.run(main())


def test_a_closed_client_refuses_and_lets_what_is_under_way_end(server: Server) -> None:
    async def main() -> None:
        client = offloop.Client()
        job = client.get(f"{server.url}/delay/0.2").start()
        late = client.get(f"{server.url}/1k")
        while not client.stats()["in_flight"]:
            await asyncio.sleep(0.005)
        await client.aclose()
        client.close()
        assert client.is_closed
        assert (await job).content == b"late"
        with pytest.raises(offloop.Closed):
            client.get(f"{server.url}/1k")
        with pytest.raises(RuntimeError):
            client.stream("GET", f"{server.url}/1k")
        late.close()

    asyncio.run(main())


def test_a_closed_stream_is_closed(server: Server) -> None:
    async def main() -> None:
        async with offloop.Client(limits=offloop.Limits(connections=1), timeout=10) as client:
            response = await client.stream("GET", f"{server.url}/slow-body")
            assert not response.is_closed
            await response.aclose()
            assert response.is_closed
            await response.aclose()
            assert (await client.get(f"{server.url}/1k")).status_code == 200

    asyncio.run(main())


# Lines, values, events.


def pieces(server: Server, *parts: str) -> str:
    return f"{server.url}/lines/x?" + "&".join(f"p={part.encode().hex()}" for part in parts)


def test_lines_come_whole_however_they_were_cut(told: Server) -> None:
    async def main() -> None:
        async with offloop.Client(timeout=10) as client:
            url = pieces(
                told, "on", "e\ntw", "o\r", "\nthr", "ee\rfo", "ur\n", "\n", "last gr\u00fcn"
            )
            async with client.stream("GET", url) as response:
                lines = [line async for line in response.aiter_lines()]
            assert lines == ["one", "two", "three", "four", "", "last grün"]

    asyncio.run(main())


def test_jsonl_gives_values(told: Server) -> None:
    async def main() -> None:
        async with offloop.Client(timeout=10) as client:
            url = pieces(told, '{"a": 1}\n\n[', "2]\n", " \r\n", "12345678901234567890123\nnull")
            async with client.stream("GET", url) as response:
                values = [value async for value in response.aiter_jsonl()]
            assert values == [{"a": 1}, [2], 12345678901234567890123, None]
            async with client.stream("GET", pieces(told, "1\nno\n3\n")) as response:
                got = []
                with pytest.raises(ValueError, match="line 2"):
                    async for value in response.aiter_jsonl():
                        got.append(value)
                assert got == [1]

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["aiter_lines", "aiter_jsonl", "aiter_sse"])
def test_an_endless_line_is_too_large(told: Server, kind: str) -> None:
    async def main() -> None:
        async with offloop.Client(timeout=10, max_body=1000) as client:
            async with client.stream("GET", pieces(told, *["data: " + "x" * 90] * 20)) as response:
                with pytest.raises(offloop.BodyTooLarge) as caught:
                    async for _ in getattr(response, kind)():
                        pass
                assert caught.value.limit == 1000

    asyncio.run(main())


def test_text_is_not_cut_within_a_character(told: Server) -> None:
    async def main() -> None:
        async with offloop.Client(timeout=10) as client:
            data = "grün日本🎉".encode()
            url = f"{told.url}/lines/x?" + "&".join(f"p={byte:02x}" for byte in data)
            async with client.stream("GET", url) as response:
                assert "".join([part async for part in response.aiter_text()]) == "grün日本🎉"

    asyncio.run(main())


def test_events_end_with_their_stream(told: Server) -> None:
    async def main() -> None:
        async with offloop.Client(timeout=10) as client:
            async with client.stream("GET", f"{told.url}/sse/ends") as response:
                events = [event async for event in response.aiter_sse()]
            assert [(event.event, event.data, event.id) for event in events] == [
                ("message", "one", "1"),
                ("turn", "two\nlines", "2"),
            ]

    asyncio.run(main())


def test_events_go_on_after_a_break_where_they_left_off(told: Server) -> None:
    async def main() -> None:
        seen(told)
        async with offloop.Client(timeout=10, headers={"x-mine": "1"}) as client:
            headers = {"accept": "text/event-stream"}
            url = f"{told.url}/sse/goes-on"
            async with client.stream("GET", url, headers=headers) as response:
                events = [event.data async for event in response.aiter_sse(reconnect=True)]
        assert events == ["one", "two\nlines", "three"]
        asked = [dict(request["headers"]) for request in seen(told)]
        assert [headers.get("last-event-id") for headers in asked] == [None, "2", "2"]
        assert {headers["accept"] for headers in asked} == {"text/event-stream"}
        assert {headers["x-mine"] for headers in asked} == {"1"}

    asyncio.run(main())


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

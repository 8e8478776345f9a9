"""What a response gives: texts, JSON, pieces, lines, values and events."""

from __future__ import annotations

import asyncio
import json
import math
import sys
from typing import Any

import pytest
from telling import answering, get, seen

import offloop
from servers import Server

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

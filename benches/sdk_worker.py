"""One measured process of the section `sdk`: answers streamed through httpx2, with and without SDK.

usage: sdk_worker.py READER TRANSPORT PORT CORE|- REQUESTS

READER is ``openai`` or ``anthropic`` (their SDKs, unchanged) or ``plain`` (httpx2 alone, reading
the lines that openai does).
TRANSPORT is httpx2, offloop, or memory: no network at all, what the reader itself costs. Prints
one JSON object with ``case.cpu_us`` per request; the answers are compared with what was sent.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2

import measure
import sse_server

CASES = {"one": (1, 0), "hundred": (100, 0), "paced": (100, 2)}
"""Events of an answer, and milliseconds between them."""
AT_ONCE = 8


class Memory(httpx2.AsyncBaseTransport):
    """Answers at once, out of memory, in as many pieces as there are events."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Give the events of the path."""
        pieces = sse_server.answer(request.url.path)

        class Body(httpx2.AsyncByteStream):
            async def __aiter__(self) -> AsyncIterator[bytes]:
                while pieces:
                    yield pieces.pop(0)

        headers = {"content-type": "text/event-stream"}
        return httpx2.Response(200, headers=headers, stream=Body())


def client(transport: str) -> httpx2.AsyncClient:
    """Make a client over one of the transports."""
    if transport == "offloop":
        from offloop.httpx import Transport

        return httpx2.AsyncClient(transport=Transport())
    return httpx2.AsyncClient(transport=Memory() if transport == "memory" else None)


def openai_reader(made: httpx2.AsyncClient) -> Callable[[str], Awaitable[str]]:
    """Read an answer with OpenAI's SDK."""
    import openai

    sdk = openai.AsyncOpenAI(api_key="k", base_url="http://unused", http_client=made)

    async def read(url: str) -> str:
        stream = await sdk.with_options(base_url=url).chat.completions.create(
            model="m", messages=[{"role": "user", "content": "hello"}], stream=True
        )
        return "".join([piece.choices[0].delta.content or "" async for piece in stream])

    return read


def anthropic_reader(made: httpx2.AsyncClient) -> Callable[[str], Awaitable[str]]:
    """Read an answer with Anthropic's SDK."""
    import anthropic

    sdk = anthropic.AsyncAnthropic(api_key="k", base_url="http://unused", http_client=made)

    async def read(url: str) -> str:
        stream = await sdk.with_options(base_url=url.removesuffix("/v1")).messages.create(
            model="m",
            max_tokens=10,
            messages=[{"role": "user", "content": "hello"}],
            stream=True,
        )
        deltas = [event.delta async for event in stream if event.type == "content_block_delta"]
        return "".join(delta.text for delta in deltas if delta.type == "text_delta")

    return read


def plain_reader(made: httpx2.AsyncClient) -> Callable[[str], Awaitable[str]]:
    """Read an answer line by line."""

    async def read(url: str) -> str:
        async with made.stream("POST", f"{url}/chat/completions", json={"a": 1}) as response:
            lines = [line async for line in response.aiter_lines() if line.startswith("data: {")]
        answers = [json.loads(line.removeprefix("data: ")) for line in lines]
        return "".join(answer["choices"][0]["delta"]["content"] for answer in answers)

    return read


READERS = {"openai": openai_reader, "anthropic": anthropic_reader, "plain": plain_reader}


async def measured(reader: str, transport: str, port: int, requests: int) -> dict[str, float]:
    """Measure every case once."""
    figures: dict[str, float] = {}
    async with client(transport) as made:
        read = READERS[reader](made)
        for case, (number, pause) in CASES.items():
            url = f"http://127.0.0.1:{port}/{number}/{pause}/v1"
            right = "".join(f"word{index} " for index in range(number))
            many = requests * (10 if number == 1 else 1)
            await read(url)
            with measure.Stopwatch() as watch:
                for _ in range(many // AT_ONCE):
                    got: list[Any] = await asyncio.gather(*(read(url) for _ in range(AT_ONCE)))
                    if got != [right] * AT_ONCE:
                        message = "an answer differs from what was sent"
                        raise RuntimeError(message)
            figures[f"{case}.cpu_us"] = watch.cpu / (many // AT_ONCE * AT_ONCE) * 1e6
    return figures


if __name__ == "__main__":
    reader, transport, port, core, requests = sys.argv[1:]
    measure.pin(None if core == "-" else int(core))
    print(json.dumps(asyncio.run(measured(reader, transport, int(port), int(requests)))))

"""Real SDKs, unchanged, stream through offloop what they stream through httpx2."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from offloop.httpx import Transport

pytestmark = pytest.mark.once
SERVER = Path(__file__).parents[2] / "benches" / "sse_server.py"
QUESTION = [{"role": "user", "content": "hello"}]


class OpenAI:
    """Each event is one of the server's."""

    around = 0

    def __init__(self, base: str, http: httpx2.AsyncClient, retries: int) -> None:
        openai = pytest.importorskip("openai")
        self.lost: type[Exception] = openai.APIConnectionError
        self.client = openai.AsyncOpenAI(
            api_key="key", base_url=f"{base}/v1", http_client=http, max_retries=retries
        )

    async def stream(self) -> Any:
        return await self.client.chat.completions.create(model="m", messages=QUESTION, stream=True)


class Anthropic:
    """Five events more: the message and its block begin and end."""

    around = 5

    def __init__(self, base: str, http: httpx2.AsyncClient, retries: int) -> None:
        anthropic = pytest.importorskip("anthropic")
        self.lost: type[Exception] = anthropic.APIConnectionError
        self.client = anthropic.AsyncAnthropic(
            api_key="key", base_url=base, http_client=http, max_retries=retries
        )

    async def stream(self) -> Any:
        return await self.client.messages.create(
            model="m", max_tokens=10, messages=QUESTION, stream=True
        )


@pytest.fixture(params=[OpenAI, Anthropic])
def sdk(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def service() -> Iterator[str]:
    command = [sys.executable, str(SERVER), "-"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        server.communicate(timeout=10)


async def events_of(stream: AsyncIterator[Any]) -> list[Any]:
    return [event.model_dump() async for event in stream]


@pytest.mark.parametrize("events", [1, 50])
def test_the_same_code_gets_the_same_events(service: str, sdk: Any, events: int):
    async def answer(transport: Any) -> list[Any]:
        async with httpx2.AsyncClient(transport=transport, timeout=10) as http:
            return await events_of(await sdk(f"{service}/{events}/1", http, 0).stream())

    theirs = asyncio.run(answer(None))
    ours = asyncio.run(answer(Transport()))
    assert len(ours) == events + sdk.around
    assert ours == theirs


def test_leaving_a_stream_early_leaves_nothing_open(service: str, sdk: Any):
    async def main() -> None:
        transport = Transport()
        async with httpx2.AsyncClient(transport=transport, timeout=10) as http:
            stream = await sdk(f"{service}/1000/5", http, 0).stream()
            async with stream:
                async for _ in stream:
                    break
            async with asyncio.timeout(5):
                while transport._client.stats()["in_flight"]:
                    await asyncio.sleep(0.01)

    asyncio.run(main())


def test_failures_reach_the_sdk_as_it_expects_them(sdk: Any):
    async def main() -> None:
        async with httpx2.AsyncClient(transport=Transport()) as http:
            made = sdk("http://127.0.0.1:1", http, 1)
            with pytest.raises(made.lost):
                await made.stream()

    asyncio.run(main())

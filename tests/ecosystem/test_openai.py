"""A real SDK, unchanged, streams through offloop what it streams through httpx2."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from offloop.httpx import Transport

pytestmark = pytest.mark.once
openai = pytest.importorskip("openai")
SERVER = Path(__file__).parents[2] / "benches" / "sse_server.py"


@pytest.fixture
def chat() -> Iterator[str]:
    command = [sys.executable, str(SERVER), "-"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        server.communicate(timeout=10)


async def answer(base: str, transport: Any) -> list[Any]:
    async with httpx2.AsyncClient(transport=transport, timeout=10) as http:
        client = openai.AsyncOpenAI(api_key="key", base_url=base, http_client=http)
        messages = [{"role": "user", "content": "hello"}]
        stream = await client.chat.completions.create(model="m", messages=messages, stream=True)
        return [piece.model_dump() async for piece in stream]


@pytest.mark.parametrize("events", [1, 50])
def test_the_same_code_gets_the_same_events(chat: str, events: int):
    base = f"{chat}/{events}/1/v1"
    theirs = asyncio.run(answer(base, None))
    ours = asyncio.run(answer(base, Transport()))
    assert len(ours) == events
    assert ours == theirs


def test_leaving_a_stream_early_leaves_nothing_open(chat: str):
    async def main() -> None:
        transport = Transport()
        async with httpx2.AsyncClient(transport=transport, timeout=10) as http:
            client = openai.AsyncOpenAI(
                api_key="key", base_url=f"{chat}/1000/5/v1", http_client=http, max_retries=0
            )
            messages = [{"role": "user", "content": "hello"}]
            stream = await client.chat.completions.create(model="m", messages=messages, stream=True)
            async with stream:
                async for _ in stream:
                    break
            async with asyncio.timeout(5):
                while transport._client.stats()["in_flight"]:
                    await asyncio.sleep(0.01)

    asyncio.run(main())


def test_failures_reach_the_sdk_as_it_expects_them():
    async def main() -> None:
        async with httpx2.AsyncClient(transport=Transport()) as http:
            client = openai.AsyncOpenAI(
                api_key="key", base_url="http://127.0.0.1:1", http_client=http, max_retries=1
            )
            with pytest.raises(openai.APIConnectionError):
                await client.models.list()

    asyncio.run(main())

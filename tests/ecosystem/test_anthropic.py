"""A second SDK, unchanged, streams through offloop what it streams through httpx2."""

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
anthropic = pytest.importorskip("anthropic")
SERVER = Path(__file__).parents[2] / "benches" / "sse_server.py"


@pytest.fixture
def service() -> Iterator[str]:
    command = [sys.executable, str(SERVER), "-"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        server.communicate(timeout=10)


async def answer(base: str, transport: Any) -> list[Any]:
    async with httpx2.AsyncClient(transport=transport, timeout=10) as http:
        client = anthropic.AsyncAnthropic(api_key="key", base_url=base, http_client=http)
        stream = await client.messages.create(
            model="m",
            max_tokens=10,
            messages=[{"role": "user", "content": "hello"}],
            stream=True,
        )
        return [event.model_dump() async for event in stream]


@pytest.mark.parametrize("events", [1, 50])
def test_the_same_code_gets_the_same_events(service: str, events: int):
    base = f"{service}/{events}/1"
    theirs = asyncio.run(answer(base, None))
    ours = asyncio.run(answer(base, Transport()))
    assert len(ours) == events + 5
    assert ours == theirs


def test_failures_reach_the_sdk_as_it_expects_them():
    async def main() -> None:
        async with httpx2.AsyncClient(transport=Transport()) as http:
            client = anthropic.AsyncAnthropic(
                api_key="key", base_url="http://127.0.0.1:1", http_client=http, max_retries=1
            )
            with pytest.raises(anthropic.APIConnectionError):
                await client.models.list()

    asyncio.run(main())

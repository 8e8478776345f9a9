"""The counting server, which knows what it was asked for, when, and how much at once."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from servers import Server, serve


class Counting:
    """`tests/servers/counting.py`; to it, 127.0.0.1 and its neighbours are one place."""

    def __init__(self, server: Server) -> None:
        self.url = server.url
        self.port = server.port

    def host(self, number: int) -> str:
        return f"http://127.0.0.{number}:{self.port}"

    def report(self, path: str = "report") -> Any:
        with urllib.request.urlopen(f"{self.url}/{path}", timeout=10) as answer:
            return json.load(answer)

    def wait_until_left(self) -> None:
        """All connections but the one that asks are closed within two seconds."""
        end = time.monotonic() + 2
        while (seen := self.report())["open"] > 1:
            assert time.monotonic() < end, seen
            time.sleep(0.02)


@pytest.fixture(scope="session")
def _counting() -> Iterator[Counting]:
    with serve("counting") as running:
        yield Counting(running)


@pytest.fixture
def counting(_counting: Counting) -> Counting:
    _counting.report("forget")
    return _counting

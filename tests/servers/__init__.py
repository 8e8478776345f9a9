"""Real loopback servers in processes of their own; each ends when its standard input closes."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass
class Server:
    """A running server; `stats` is its own view of what happened."""

    url: str

    def stats(self) -> dict[str, int]:
        with urllib.request.urlopen(f"{self.url}/stats", timeout=10) as answer:
            return json.load(answer)

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])


@contextlib.contextmanager
def serve(script: str, *arguments: str, scheme: str = "http") -> Iterator[Server]:
    """Run `tests/servers/<script>.py` and wait until it listens."""
    command = [sys.executable, str(FOLDER / f"{script}.py"), *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            line = process.stdout.readline()
            assert line, f"{script} did not start"
            yield Server(f"{scheme}://127.0.0.1:{int(line)}")
        finally:
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()

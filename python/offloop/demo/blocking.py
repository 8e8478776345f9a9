"""The blocking code of the stories: plain functions of the standard library, as many have them."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT = 30.0
"""Seconds without a byte; arbitrary, and never reached on loopback."""


def read(url: str) -> bytes:
    """Give the body at `url`; raises `urllib.error.HTTPError` for a status of 400 and more."""
    with _opener.open(url, timeout=TIMEOUT) as response:
        body: bytes = response.read()
    return body


def save(url: str, file: Path) -> Path:
    """Write the body at `url` to `file` and give `file`; nothing is written when `read` raises."""
    file.write_bytes(read(url))
    return file


def holds(file: Path, body: bytes) -> bool:
    """Say whether `file` is there and holds exactly `body`."""
    return file.exists() and file.read_bytes() == body


# Without proxies: the server is on loopback, whatever the environment says.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

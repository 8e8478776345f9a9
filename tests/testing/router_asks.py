"""Requests to a `MockRouter`, by the standard library alone."""

from __future__ import annotations

import contextlib
import http.client
import socket
from typing import Any
from urllib.parse import urlsplit

from offloop.testing import MockRouter

API = "https://api.example.com"


def connect(router: MockRouter) -> socket.socket:
    host, _, port = router.address.partition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def ask(
    router: MockRouter, method: str, url: str, body: Any = None, **headers: str
) -> http.client.HTTPResponse:
    """Ask as a client does whose connections all lead to the router."""
    asked = urlsplit(url)
    target = (asked.path or "/") + (f"?{asked.query}" if asked.query else "")
    sent = {"Host": asked.netloc, **{k.replace("_", "-"): v for k, v in headers.items()}}
    chunked = not isinstance(body, bytes)
    with contextlib.closing(http.client.HTTPConnection(router.address, timeout=10)) as connection:
        connection.request(method, target, body, sent, encode_chunked=chunked)
        with connection.getresponse() as answer:
            answer.content = answer.read()  # type: ignore[attr-defined]
            return answer


def status(router: MockRouter, method: str, url: str, body: Any = None, **headers: str) -> int:
    return ask(router, method, url, body, **headers).status


def raw(router: MockRouter, data: bytes) -> bytes:
    """Send bytes, and read until the server closes."""
    with connect(router) as connection:
        connection.sendall(data)
        received = b""
        while piece := connection.recv(65536):
            received += piece
        return received

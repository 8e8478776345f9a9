"""One HTTP request as an ASGI app sees it: the scope, `receive` and `send`.

https://asgi.readthedocs.io/en/latest/specs/www.html. Bodies are streamed both ways: nothing is
read before the app asks for it, and `send` waits while the client does not take what was sent.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from offloop.testing._wire import BadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from offloop.testing._exchange import Exchange
    from offloop.testing._lifespan import Message


def http_scope(
    exchange: Exchange, *, scheme: str, root_path: str, state: Mapping[str, Any]
) -> dict[str, Any]:
    """Give the scope of a request."""
    head = exchange.head
    target = head.target
    # The absolute form, which clients send to proxies, is reduced to its path.
    if b"://" in target.partition(b"?")[0]:
        target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
    raw_path, _, query = target.partition(b"?")
    host, _, port = b"".join(head.values(b"host")[:1]).decode("latin-1").rpartition(":")
    if not port.isdigit():
        host, port = host + ":" + port if host else port, ""
    default_port = 443 if scheme == "https" else 80
    return {
        "type": "http",
        # 2.3 as uvicorn: what is sent to a client that has left is dropped, not an error.
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": head.version,
        "method": head.method.upper(),
        "scheme": scheme,
        "path": unquote_to_bytes(raw_path).decode(errors="replace"),
        "raw_path": raw_path,
        "query_string": query,
        "root_path": root_path,
        "headers": list(head.headers),
        "client": exchange.peer,
        "server": (host.strip("[]"), int(port) if port else default_port),
        "state": dict(state),
        "extensions": {},
    }


class ASGICall:
    """Receives for the app what comes on an exchange, and sends what the app answers."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._received = False
        self._start: Message | None = None
        self.complete = False
        """Whether the app has sent the end of its answer."""

    async def receive(self) -> Message:
        """Give the next piece of the body; after its end wait until the exchange is over."""
        if not self._received and not self.complete:
            try:
                body = await self._exchange.read()
            except (BadRequest, EOFError, ConnectionError):
                self._received = True
                self._exchange.over.set()
            else:
                self._received = self._exchange.body_ended
                return {"type": "http.request", "body": body, "more_body": not self._received}
        await self._exchange.over.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Send what the app answers.

        Raises RuntimeError for what ASGI does not allow. A client that has left is no error.
        """
        # The client may live in the same loop, and an app that never waits would keep it from
        # reading, and from leaving.
        await asyncio.sleep(0)
        kind = message["type"]
        if kind == "http.response.start" and self._start is None:
            self._start = message
            return
        if kind != "http.response.body" or self._start is None or self.complete:
            after = "the end" if self.complete else "the start" if self._start else "nothing"
            raise RuntimeError(f"the app sent {kind!r} after {after} of its answer")
        if self._exchange.gone:
            self.complete = not message.get("more_body", False)
            return
        try:
            await self._send_body(bytes(message.get("body", b"")), message.get("more_body", False))
        except ConnectionError:
            self._exchange.over.set()

    async def _send_body(self, body: bytes, more: bool) -> None:
        exchange = self._exchange
        if not exchange.started and self._start is not None:
            # Only now, so that an error between the start and the first byte is still a 500.
            headers = [(bytes(k), bytes(v)) for k, v in self._start.get("headers", ())]
            await exchange.send_head(self._start["status"], headers)
        left = None if exchange.head.method == "HEAD" else exchange.left
        if left is not None and (len(body) > left or (not more and len(body) < left)):
            raise RuntimeError(f"the body is not as long as its content-length: {left} were left")
        await exchange.send(body)
        if not more:
            self.complete = True
            exchange.over.set()

"""How a mock answers: `Reply`, the well-behaved answer, and the faults.

Each function here makes a `Step`: a coroutine function that answers one request on its `Exchange`.
Steps know nothing of routes and counts. They run in the thread of the server.
"""

from __future__ import annotations

import asyncio
import inspect
import json as json_module
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

from offloop.testing._pattern import NOTHING, as_pairs

if TYPE_CHECKING:
    from offloop.testing._exchange import Exchange
    from offloop.testing._request import MockRequest

HeaderPairs = Mapping[str, str] | Iterable[tuple[str, str]]
Content = bytes | str | Iterable[bytes]

NOT_HTTP = b"\x00\x01\x02 this is not HTTP\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer for a mock to give.

    Parameters (all but `status` keyword-only)
        status: default 200.
        json: any value JSON can hold; None is ``null``.
        content: bytes, or str sent as UTF-8, or an iterable of bytes, each sent as a chunk of its
            own (``transfer-encoding: chunked``).
        text: str, sent as ``text/plain; charset=utf-8``.
        headers: mapping or pairs. They win over those offloop.testing would add, right or wrong:
            with a ``content-length`` of your own the body is as long as you like.

    At most one of json, content and text; raises TypeError otherwise.

    >>> Reply(404, json={"error": "no such user"}).status
    404
    """

    status: int = 200
    json: Any = field(default=NOTHING, kw_only=True)
    content: Content | None = field(default=None, kw_only=True)
    text: str | None = field(default=None, kw_only=True)
    headers: HeaderPairs = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        given = [self.json is not NOTHING, self.content is not None, self.text is not None]
        if sum(given) > 1:
            raise TypeError("at most one of json, content and text")

    def body(self) -> bytes | Iterable[bytes]:
        """Give the body: bytes, or an iterable of the chunks."""
        if self.json is not NOTHING:
            return json_module.dumps(self.json).encode()
        content = self.text if self.text is not None else self.content
        if content is None:
            return b""
        return content.encode() if isinstance(content, str) else content

    def header_pairs(self) -> list[tuple[bytes, bytes]]:
        """Give the headers as they are sent, a content-type included."""
        pairs = as_pairs(self.headers)
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]
        kind = None
        if self.json is not NOTHING:
            kind = b"application/json"
        elif self.text is not None:
            kind = b"text/plain; charset=utf-8"
        if kind is not None and all(name.lower() != b"content-type" for name, _ in encoded):
            encoded.append((b"content-type", kind))
        return encoded


Handler = Callable[["MockRequest"], Reply | Awaitable[Reply]]
Step = Callable[["Exchange", "MockRequest"], Awaitable[None]]


class HandlerError(Exception):
    """A function given to `Route.handle` raised; its error is the cause."""


def reply(answer: Reply) -> Step:
    """Give `answer`."""

    async def step(exchange: Exchange, _request: MockRequest) -> None:
        headers, body = answer.header_pairs(), answer.body()
        if isinstance(body, bytes):
            await exchange.send_all(answer.status, headers, body)
            return
        await exchange.send_head(answer.status, headers)
        for chunk in body:
            await exchange.send(chunk)

    return step


def handle(function: Handler) -> Step:
    """Give what `function` makes of the request."""

    async def step(exchange: Exchange, request: MockRequest) -> None:
        try:
            made = function(request)
            answer = await made if inspect.isawaitable(made) else made
            if not isinstance(answer, Reply):
                raise TypeError(f"a handler returns a Reply, not {answer!r}")  # noqa: TRY301
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        # What fails a test must reach it, and pytest.fail raises no Exception.
        except BaseException as error:
            raise HandlerError from error
        await reply(answer)(exchange, request)

    return step


def too_many_requests(retry_after: int | datetime | None) -> Step:
    """Give 429, with the seconds or the date to come back at."""
    headers = {}
    if isinstance(retry_after, datetime):
        headers["retry-after"] = format_datetime(retry_after.astimezone(UTC), usegmt=True)
    elif retry_after is not None:
        headers["retry-after"] = str(int(retry_after))
    return reply(Reply(429, text="too many requests", headers=headers))


def truncate(after: int, answer: Reply) -> Step:
    """Announce the whole of `answer` and close after `after` bytes of its body.

    A reply without a body gets one of 1,000 bytes more than are sent.
    """
    body = answer.body()
    content = (body if isinstance(body, bytes) else b"".join(body)) or b"x" * (after + 1000)
    if not 0 <= after < len(content):
        raise ValueError(f"after={after}: the body has {len(content)} bytes, cut within them")

    async def step(exchange: Exchange, _request: MockRequest) -> None:
        length = (b"content-length", str(len(content)).encode("ascii"))
        await exchange.send_head(answer.status, [*answer.header_pairs(), length])
        await exchange.send(content[:after])
        exchange.cut()

    return step


async def reset(exchange: Exchange, _request: MockRequest) -> None:
    """Reset the connection instead of answering."""
    exchange.abort()


async def garbage(exchange: Exchange, _request: MockRequest) -> None:
    """Send bytes that are not HTTP, and close."""
    await exchange.send_raw(NOT_HTTP)


async def close(_exchange: Exchange, _request: MockRequest) -> None:
    """Close the connection before any byte: what an exchange does when nothing was sent."""


def stall(after: int | None) -> Step:
    """Never answer; or send the head and `after` bytes of the body, and nothing more."""

    async def step(exchange: Exchange, _request: MockRequest) -> None:
        if after is not None:
            length = str(after + 1000).encode("ascii")
            await exchange.send_head(200, [(b"content-length", length)])
            await exchange.send(b"x" * after)
        await exchange.over.wait()
        exchange.cut()

    return step

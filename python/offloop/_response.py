"""The Python half of requests and responses: what the Rust side has Python do for them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from offloop import _content
from offloop.streams import reconnecting_sse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from offloop._offloop import Response, Upload
    from offloop.streams import ServerSentEvent


async def read(response: Response) -> bytes:
    """Read the rest of a streamed body; from then on it is the response's `content`."""
    job = response._read()
    if job is not None:
        await job
    return response.content


def feeder(upload: Upload, source: AsyncIterator[bytes]) -> Callable[[], object]:
    """Make what the loop calls when a request with a body from Python starts."""
    return functools.partial(_content.start, upload, source)


def resuming_sse(response: Response, limit: int | None) -> AsyncGenerator[ServerSentEvent, None]:
    """Yield the events of `response`, and where it breaks off those of its successors."""
    first = [response]

    async def open_stream(last_event_id: str | None) -> Response:
        if first:
            return first.pop()
        headers = {} if last_event_id is None else {"last-event-id": last_event_id}
        job = response._again(headers)
        if job is None:
            raise ValueError("this response was not streamed: it cannot be asked for once more")
        return await job

    return reconnecting_sse(open_stream, limit)

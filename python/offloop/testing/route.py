"""`Route`: what a `MockRouter` answers to the requests that match, and which those were.

A route is written by the test before requests arrive and read after; in between the thread of the
server counts. Its lists are only appended to or replaced as a whole, so no lock is needed.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from offloop.testing import _answers
from offloop.testing._answers import Reply
from offloop.testing._pattern import NOTHING

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Self

    from offloop.testing._answers import Content, Handler, HeaderPairs, Step
    from offloop.testing._exchange import Exchange
    from offloop.testing._pattern import Conditions
    from offloop.testing._request import MockRequest


class Route:
    """Made by `MockRouter.get` and its like; says how matching requests are answered.

    Every method that adds an answer, `respond`, `handle` and the faults alike, adds one to the
    end of a sequence: the first call gets the first, and the last is repeated. A route without
    any answers 200 with no body. All of them return the route, to be chained:

    >>> from offloop.testing import MockRouter
    >>> router = MockRouter()
    >>> route = router.get("https://api.example.com/users/{id}")
    >>> route.reset().too_many_requests(retry_after=1).respond(200, json={"id": 7})
    <Route GET https://api.example.com/users/{id}: called 0 times>

    `calls` lists the requests it got, oldest first.
    """

    def __init__(self, conditions: Conditions) -> None:
        self.calls: list[MockRequest] = []
        self._conditions = conditions
        self._steps: list[Step] = []
        self._latency = 0.0
        self._times: int | None = None

    def __repr__(self) -> str:
        return f"<Route {self}: called {_times(self.call_count)}>"

    def __str__(self) -> str:
        return f"{self._conditions.method or '*'} {self._conditions.url}"

    @property
    def called(self) -> bool:
        """Whether it got a request."""
        return bool(self.calls)

    @property
    def call_count(self) -> int:
        """How many requests it got."""
        return len(self.calls)

    def respond(
        self,
        status: int = 200,
        *,
        json: Any = NOTHING,
        content: Content | None = None,
        text: str | None = None,
        headers: HeaderPairs = (),
    ) -> Self:
        """Answer with this; the parameters are those of `Reply`.

        An iterable as `content` is sent chunk by chunk. Give a list, not a generator, where the
        answer is repeated.
        """
        made = Reply(status, json=json, content=content, text=text, headers=headers)
        return self._then(_answers.reply(made))

    def handle(self, function: Handler) -> Self:
        """Answer with the `Reply` that ``function(request)`` returns; it may be async.

        It runs in the thread and the loop of the mock, not of the test; a plain function that
        takes long keeps other requests waiting. What it raises is a 500 for the client, and is
        raised again when the router ends.
        """
        return self._then(_answers.handle(function))

    def too_many_requests(self, retry_after: int | datetime | None = None) -> Self:
        """Answer 429, with ``Retry-After`` in seconds or as a date where given."""
        return self._then(_answers.too_many_requests(retry_after))

    def reset(self) -> Self:
        """Reset the connection (TCP RST) once the request has been read."""
        return self._then(_answers.reset)

    def close(self) -> Self:
        """Close the connection before any byte of an answer.

        On a connection that has served before, this and `reset` look like a stale connection: a
        `Client` then asks once more by itself, unless it has ``retry_stale=False``.
        """
        return self._then(_answers.close)

    def garbage(self) -> Self:
        """Answer with bytes that are not HTTP, and close."""
        return self._then(_answers.garbage)

    def truncate(
        self,
        after: int,
        *,
        status: int = 200,
        content: Content | None = None,
        headers: HeaderPairs = (),
    ) -> Self:
        """Announce a whole body and close after `after` bytes of it.

        The body is `content`, or 1,000 bytes more than are sent. Raises ValueError when `after`
        is not within the body.
        """
        return self._then(_answers.truncate(after, Reply(status, content=content, headers=headers)))

    def stall(self, after: int | None = None) -> Self:
        """Never answer; with `after`, send the head and that many bytes of the body first."""
        return self._then(_answers.stall(after))

    def latency(self, seconds: float) -> Self:
        """Wait `seconds` before each answer of this route, whichever it is."""
        self._latency = seconds
        return self

    def times(self, count: int) -> Self:
        """Answer only the first `count` requests; later ones go to the routes that follow.

        `MockRouter.assert_all_called` then wants exactly that many.
        """
        self._times = count
        return self

    def _then(self, step: Step) -> Self:
        self._steps = [*self._steps, step]
        return self

    def _forget(self) -> None:
        self.calls = []

    def _refusal(self, request: MockRequest) -> str | None:
        """Say why this route does not answer `request`, or None if it does."""
        unmet = self._conditions.unmet(request)
        if unmet is None and self._times is not None and self.call_count >= self._times:
            return f"was to be called {_times(self._times)} and has been"
        return unmet

    def _accept(self, request: MockRequest) -> tuple[MockRequest, Step]:
        """Record `request`; gives it with what the pattern knows of it, and its answer."""
        url = self._conditions.url
        request = replace(
            request, path_params=url.match(request) or {}, scheme=url.scheme or request.scheme
        )
        steps = self._steps or [_answers.reply(Reply())]
        step = steps[min(self.call_count, len(steps) - 1)]
        self.calls.append(request)
        return request, step

    async def _answer(self, exchange: Exchange, request: MockRequest, step: Step) -> None:
        if self._latency:
            await asyncio.sleep(self._latency)
        await step(exchange, request)

    def _shortfall(self) -> str | None:
        """Say what is missing of the calls this route was made for, or None."""
        if self._times is not None and self.call_count != self._times:
            return f"{self} was called {_times(self.call_count)}, not {_times(self._times)}"
        return None if self.called else f"{self} was never called"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"

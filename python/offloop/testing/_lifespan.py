"""The lifespan protocol of ASGI: tells an app that serving begins and that it ends.

https://asgi.readthedocs.io/en/latest/specs/lifespan.html. An app need not take part: one that
raises or returns before it has answered is served without. The app's side of the conversation is
one task in the running loop, from startup to shutdown, so context managers held open across it
work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Literal

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

LifespanMode = Literal["auto", "on", "off"]


class Lifespan:
    """One conversation with `app`; `state` is what the app left for its requests."""

    def __init__(self, app: ASGIApp, mode: LifespanMode) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._mode = mode
        self._task: asyncio.Task[None] | None = None
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._answers: asyncio.Queue[Message] = asyncio.Queue()

    async def startup(self) -> None:
        """Have the app start.

        Raises RuntimeError when it says that it failed, or does not take part with mode "on".
        """
        if self._mode == "off":
            return
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        talk = self._app(scope, self._messages.get, self._answers.put)
        self._task = asyncio.ensure_future(_awaited(talk))
        answer = await self._ask("lifespan.startup")
        if answer is None:
            task, self._task = self._task, None
            error = task.exception()
            if self._mode == "on":
                raise RuntimeError("the app does not take part in the lifespan") from error
        elif answer["type"] != "lifespan.startup.complete":
            await self._fail("startup", answer)

    async def shutdown(self) -> None:
        """Have the app end. Raises RuntimeError when it says that it failed, or its own error."""
        if self._task is None:
            return
        answer = await self._ask("lifespan.shutdown")
        if answer is not None and answer["type"] != "lifespan.shutdown.complete":
            await self._fail("shutdown", answer)
        task, self._task = self._task, None
        await task

    async def _ask(self, kind: str) -> Message | None:
        """Give the app's answer, or None when it ends without one."""
        if self._task is None:
            return None
        await self._messages.put({"type": kind})
        answer = asyncio.ensure_future(self._answers.get())
        try:
            await asyncio.wait({answer, self._task}, return_when=asyncio.FIRST_COMPLETED)
            # Both may have happened: an app answers and ends in one step.
            return answer.result() if answer.done() else None
        except asyncio.CancelledError:
            self._task.cancel()
            raise
        finally:
            answer.cancel()

    async def _fail(self, phase: str, answer: Message) -> None:
        task, self._task = self._task, None
        error = None
        if task is not None:
            # An app that says so ends, mostly by raising what failed; another is made to.
            await asyncio.wait({task}, timeout=1.0)
            task.cancel()
            (error,) = await asyncio.gather(task, return_exceptions=True)
        raise RuntimeError(f"the app's {phase} failed: {answer.get('message', '')}") from error


async def _awaited(awaitable: Awaitable[None]) -> None:
    await awaitable

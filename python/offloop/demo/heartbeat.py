"""A heartbeat on the event loop: shows for how long the loop stood still."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

BEAT = 0.01
"""Seconds between two ticks on a loop that is free."""


class Heartbeat:
    """Ticks every 10 ms while its ``async with`` lasts; `longest` tells of the gaps."""

    longest: float = 0.0
    """The longest gap between two ticks so far, in seconds."""

    async def __aenter__(self) -> Self:
        """Begin to tick."""
        self._task = asyncio.create_task(self._beat())
        await asyncio.sleep(0)  # the first gap begins here
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait for the tick that ends the last gap, then stop."""
        try:
            await asyncio.sleep(2 * BEAT)
        finally:
            self._task.cancel()

    async def _beat(self) -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(BEAT)
            now = time.perf_counter()
            self.longest = max(self.longest, now - last)
            last = now

"""How each server here lives: as long as its standard input is open."""

from __future__ import annotations

import asyncio
import sys
import threading


def listening(port: int) -> asyncio.Event:
    """Print the port; give what is set when standard input ends, as it does with the parent."""
    print(port, flush=True)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def watch() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=watch, daemon=True).start()
    return ended

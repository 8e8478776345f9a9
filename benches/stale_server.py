"""The server of the section `stale`: it closes connections that clients mean to use again.

usage: stale_server.py CORE|-

Every answer promises to keep the connection (HTTP/1.1, no `Connection: close`), and 0 to 5 ms
later the server closes it, unless the next request has come by then. A request that has arrived
is always answered, so whatever goes wrong is the race of RFC 9112, 9.3.1: the client sends while
the server closes.

A coin decides how it closes. With `close` a request that comes too late meets a reset. With
`shutdown` the client sees the end of the stream alone, and the server stays to count such
requests. Prints its port; at the end of stdin it prints what it counted, as one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from dataclasses import asdict, dataclass
from typing import cast

import measure

LONGEST = 0.005
"""Most seconds between an answer and the close; arbitrary: about the wait of a busy connection."""
BODY = bytes(1024)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)


@dataclass
class Counted:
    """What the server has seen."""

    connections: int = 0
    answers: int = 0
    closes: int = 0
    late: int = 0
    """Requests that came after a `shutdown`; after a `close` nobody is there to see them."""


class Closing(asyncio.Protocol):
    """One connection."""

    def __init__(self, counted: Counted, chance: random.Random) -> None:
        self.counted, self.chance = counted, chance
        self.received = b""
        self.timer: asyncio.TimerHandle | None = None
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.counted.connections += 1

    def data_received(self, data: bytes) -> None:
        self._stop_timer()
        if self.ended:
            self.counted.late += 1
            self.transport.close()
            return
        requests = (self.received + data).split(b"\r\n\r\n")  # GETs have no body
        self.received = requests.pop()
        for _ in requests:
            self.counted.answers += 1
            self.transport.write(ANSWER)
        if not self.received:
            wait = self.chance.uniform(0, LONGEST)
            self.timer = asyncio.get_running_loop().call_later(wait, self._close)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._stop_timer()

    def _stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()

    def _close(self) -> None:
        self.counted.closes += 1
        if self.chance.random() < 0.5:
            self.transport.close()
        else:
            self.ended = True
            self.transport.write_eof()


async def main() -> None:
    """Serve until stdin ends."""
    counted, chance = Counted(), random.Random(1)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Closing(counted, chance), "127.0.0.1", 0, backlog=4096
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    print(json.dumps(asdict(counted)), flush=True)
    server.close()


if __name__ == "__main__":
    measure.pin(None if sys.argv[1] == "-" else int(sys.argv[1]))
    asyncio.run(main())

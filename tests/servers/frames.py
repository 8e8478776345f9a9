"""A server of HTTP/2 in the clear that writes each frame itself, the forbidden ones too.

It needs the package `hpack` to read requests; what it sends is written by hand (RFC 9113, RFC
7541). Paths: /ok/TEXT answers TEXT once the whole request is in; /goaway/KEY, /refused/KEY/TIMES
and /processed/KEY turn the first tries away, each in its own words; /half/CODE resets the stream
in the middle of its body; /early, /late and /none end it elsewhere than Content-Length says;
/silent never answers; /closed reads the request and opens no window; /gate/KEY waits for
/open/KEY; /flood/KIND never stops; /odd/KIND breaks a rule; /last/KEY answers, and says GOAWAY.
/bye/KEY answers and hangs up. /report gives the tries by key, the most streams that were open at
once, and the connections open now and made so far. Arguments: `window=BYTES`, the size of a
stream's window for uploads; `streams=N`, how many a client may have open.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter, defaultdict

import hpack
import stdin

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, ACK = 1, 4, 1
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, REFUSED, CANCEL = 0, 1, 2, 7, 8
STATUS_200, STATUS_103 = b"\x88", b"\x08\x03103"

tries: Counter[str] = Counter()
counts = {"open": 0, "made": 0, "most": 0}
gates: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
window = 65_535
streams = 100


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
    return head + payload


def content_length(size: int) -> bytes:
    """Literal without indexing, name 28 of the static table (RFC 7541 §6.2.2)."""
    text = str(size).encode()
    return b"\x0f\x0d" + bytes([len(text)]) + text


def word(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(4, "big") for number in numbers)


class Connection:
    def __init__(self, reader: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        self.reader, self.out = reader, out
        self.decoder = hpack.Decoder()
        self.works: dict[int, asyncio.Task[None]] = {}
        self.paths: dict[int, str] = {}
        self.bodies: dict[int, int] = {}

    def send(self, kind: int, flags: int, stream: int, payload: bytes = b"") -> None:
        self.out.write(frame(kind, flags, stream, payload))

    def head(self, stream: int, length: int | None = None) -> None:
        block = STATUS_200 + (b"" if length is None else content_length(length))
        self.send(HEADERS, END_HEADERS, stream, block)

    def whole(self, stream: int, body: bytes) -> None:
        self.head(stream, len(body))
        self.send(DATA, END_STREAM, stream, body)

    async def run(self) -> None:
        await self.reader.readexactly(24)
        self.send(SETTINGS, 0, 0, b"\0\x04" + word(window) + b"\0\x03" + word(streams))
        while True:
            head = await self.reader.readexactly(9)
            size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            stream = int.from_bytes(head[5:], "big")
            payload = await self.reader.readexactly(size)
            if kind == SETTINGS and not flags & ACK:
                self.send(SETTINGS, ACK, 0)
            elif kind == PING and not flags & ACK:
                self.send(PING, ACK, 0, payload)
            elif kind == RST and stream in self.works:
                self.works.pop(stream).cancel()
            elif kind == HEADERS:
                block = payload[5:] if flags & 0x20 else payload
                self.paths[stream] = dict(self.decoder.decode(block))[":path"]
                self.bodies[stream] = 0
                if not self.paths[stream].startswith("/ok") or flags & END_STREAM:
                    self.begin(stream)
            elif kind == DATA:
                self.bodies[stream] = self.bodies.get(stream, 0) + size
                if self.paths[stream].startswith("/ok"):
                    if size and not flags & END_STREAM:
                        self.send(WINDOW, 0, 0, word(size))
                        self.send(WINDOW, 0, stream, word(size))
                    if flags & END_STREAM:
                        self.begin(stream)

    def begin(self, stream: int) -> None:
        self.works[stream] = asyncio.ensure_future(self.guarded(stream))
        self.works[stream].add_done_callback(lambda _: self.works.pop(stream, None))
        counts["most"] = max(counts["most"], len(self.works))

    async def guarded(self, stream: int) -> None:
        try:
            await self.answer(stream, *self.paths[stream].removeprefix("/").split("/"))
            await self.out.drain()
        except OSError:
            pass

    async def answer(self, stream: int, kind: str, key: str = "", rest: str = "") -> None:
        tries[key] += 1
        if kind == "ok":
            self.whole(
                stream, (key if not self.bodies[stream] else str(self.bodies[stream])).encode()
            )
        elif kind == "report":
            self.whole(stream, json.dumps({"tries": tries, **counts}).encode())
        elif kind == "goaway" and tries[key] == 1:
            self.send(GOAWAY, 0, 0, word(stream - 2 if stream > 1 else 0, NO_ERROR))
            await self.out.drain()
            self.out.close()
        elif kind == "processed" and tries[key] == 1:
            # The stream is not among those that were not processed: nobody may send it again.
            self.send(GOAWAY, 0, 0, word(stream, NO_ERROR))
            await self.out.drain()
            self.out.close()
        elif kind == "refused" and tries[key] <= int(rest):
            self.send(RST, 0, stream, word(REFUSED))
        elif kind == "wait":
            await asyncio.sleep(0.005)
            self.whole(stream, key.encode())
        elif kind == "bye":
            self.whole(stream, b"bye")
            await self.out.drain()
            self.out.close()
        elif kind == "last":
            self.send(GOAWAY, 0, 0, word(stream, NO_ERROR))
            self.whole(stream, b"last")
        elif kind in {"goaway", "processed", "refused"}:
            self.whole(stream, str(tries[key]).encode())
        elif kind == "half":
            self.head(stream, 10)
            self.send(DATA, 0, stream, b"half ")
            self.send(RST, 0, stream, word(int(key)))
        elif kind == "cut":
            self.head(stream, None if key == "unsaid" else 10)
            self.send(DATA, 0, stream, b"half ")
            await self.out.drain()
            self.out.close()
        elif kind == "early":
            self.head(stream, 10)
            self.send(DATA, END_STREAM, stream, b"half ")
        elif kind == "late":
            self.head(stream, 3)
            self.send(DATA, END_STREAM, stream, b"too much")
        elif kind == "none":
            self.send(HEADERS, END_HEADERS | END_STREAM, stream, STATUS_200 + content_length(9))
        elif kind == "gate":
            self.head(stream, 10)
            self.send(DATA, 0, stream, b"half ")
            await self.out.drain()
            await gates[key].wait()
            self.send(DATA, END_STREAM, stream, b"whole")
        elif kind == "open":
            gates[key].set()
            self.whole(stream, b"open")
        elif kind == "flood":
            await self.flood(stream, key)
        elif kind == "odd":
            self.odd(stream, key)

    async def flood(self, stream: int, kind: str) -> None:
        if kind in {"empty-data", "padding"}:
            self.head(stream)
        if kind == "continuation":
            self.send(HEADERS, 0, stream, STATUS_200)
        if kind == "reset":
            self.send(RST, 0, stream, word(CANCEL))
        pieces = {
            "settings": frame(SETTINGS, 0, 0, b"\0\x04" + word(65_535)),
            "ping": frame(PING, 0, 0, b"12345678"),
            "empty-data": frame(DATA, 0, stream),
            "padding": frame(DATA, 8, stream, b"\xff" + bytes(255)),
            "continuation": frame(CONTINUATION, 0, stream, b"\0\x01a\x01b" * 100),
            "reset": frame(RST, 0, stream, word(CANCEL)),
            "window": frame(WINDOW, 0, 0, word(1)),
            "priority": frame(PRIORITY, 0, stream, word(0) + b"\0"),
            "unknown": frame(0xBE, 0, stream, b"?"),
            "informational": frame(HEADERS, END_HEADERS, stream, STATUS_103),
        }
        batch = pieces[kind] * 64
        while True:
            self.out.write(batch)
            await self.out.drain()
            await asyncio.sleep(0)

    def odd(self, stream: int, kind: str) -> None:
        if kind == "data-on-0":
            self.send(DATA, 0, 0, b"x")
        elif kind == "data-first":
            self.send(DATA, END_STREAM, stream, b"x")
        elif kind == "no-status":
            self.send(HEADERS, END_HEADERS | END_STREAM, stream, content_length(0))
        elif kind == "upper-case":
            self.send(HEADERS, END_HEADERS | END_STREAM, stream, STATUS_200 + b"\0\x01A\x01b")
        elif kind == "bad-hpack":
            self.send(HEADERS, END_HEADERS | END_STREAM, stream, b"\xff\xff\xff\xff\xff\xff")
        elif kind == "push":
            block = word(stream + 1) + b"\x82\x84\x86\x41\x01a"
            self.send(PUSH, END_HEADERS, stream, block)
        elif kind == "too-long":
            self.out.write(b"\xff\xff\xff\0\0" + word(stream) + bytes(65_536))
        elif kind == "window-overflow":
            self.send(WINDOW, 0, 0, word(2**31 - 1))
            self.send(WINDOW, 0, 0, word(2**31 - 1))
        elif kind == "half-block":
            self.send(HEADERS, 0, stream, STATUS_200)
            self.send(PING, 0, 0, b"12345678")
        elif kind == "http1":
            self.out.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno")
        elif kind == "connection-header":
            self.send(HEADERS, END_HEADERS, stream, STATUS_200 + b"\0\x0aconnection\x05close")
            self.send(DATA, END_STREAM, stream, b"x")
        elif kind == "hang-up":
            self.out.close()
        elif kind == "angry":
            self.send(GOAWAY, 0, 0, word(stream, INTERNAL_ERROR))
            self.out.close()


async def converse(reader: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
    counts["open"] += 1
    counts["made"] += 1
    connection = Connection(reader, out)
    try:
        await connection.run()
    except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
        pass
    finally:
        for work in connection.works.values():
            work.cancel()
        out.close()
        counts["open"] -= 1


async def main(arguments: list[str]) -> None:
    global window, streams
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name == "window":
            window = int(value)
        else:
            streams = int(value)
    server = await asyncio.start_server(converse, "127.0.0.1", 0, backlog=1024)
    await stdin.listening(server.sockets[0].getsockname()[1]).wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))

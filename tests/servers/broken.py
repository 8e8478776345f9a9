"""A server that breaks HTTP, one path per fault, on raw sockets: every byte and every FIN is meant.

Paths: /answer/NAME, /split/NAME (in small writes), /forged/NAME (followed by a forged second
response) from `broken_answers.ANSWERS`; /cut/NAME/N (the first N bytes, then close);
/coded/CODING/CHANGE/N; /byte/name|value/N; /endless/KIND; /stall/KIND; /upload/KIND;
/to/CODE?LOCATION, /bare/CODE, /maze, /second/KIND; /mine/TEXT (an honest answer), /ports, /stats.
Besides the main port, those of /ports misbehave before any request is read.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from urllib.parse import unquote

import stdin
from broken_answers import ANSWERS, CODED, CUTTABLE, FORGED, coded_body, head

open_peers: set[Peer] = set()
uploads: dict[str, int] = {}


class Peer:
    """One connection, its unread bytes, and the ways to end it."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = connection
        self.buffer = b""
        self.requests = 0

    async def receive(self) -> bool:
        more = await asyncio.get_running_loop().sock_recv(self.connection, 65_536)
        self.buffer += more
        return bool(more)

    async def send(self, data: bytes, piece: int = 0) -> None:
        loop = asyncio.get_running_loop()
        if not piece:
            await loop.sock_sendall(self.connection, data)
        for start in range(0, len(data) if piece else 0, piece or 1):
            await loop.sock_sendall(self.connection, data[start : start + piece])
            await asyncio.sleep(0)

    async def head(self) -> tuple[str, str, dict[str, str]]:
        while b"\r\n\r\n" not in self.buffer:
            if not await self.receive():
                raise ConnectionError
        block, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        first, *lines = block.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        fields = [line.partition(":") for line in lines]
        self.requests += 1
        return method, target, {name.lower(): value.strip() for name, _, value in fields}

    async def body(self, fields: dict[str, str]) -> bytes:
        if "chunked" in fields.get("transfer-encoding", ""):
            while b"0\r\n\r\n" not in self.buffer:
                if not await self.receive():
                    raise ConnectionError
            body, self.buffer = self.buffer.split(b"0\r\n\r\n", 1)
            return body
        length = int(fields.get("content-length", 0))
        while len(self.buffer) < length:
            if not await self.receive():
                raise ConnectionError
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return body

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    async def finish(self) -> None:
        """FIN, then wait for the peer's, so that no unread byte turns it into a reset."""
        self.connection.shutdown(socket.SHUT_WR)
        await self.gone()

    async def gone(self) -> None:
        self.buffer = b""
        while await self.receive():
            self.buffer = b""


async def end(peer: Peer, then: str) -> bool:
    """End a connection as `then` says; True when it is kept."""
    if then == "close":
        await peer.finish()
    elif then == "reset":
        # What has been sent is read first; without this the reset may overtake it.
        await asyncio.sleep(0.02)
        peer.reset()
    elif then == "hang":
        await peer.gone()
    return then == "keep"


def honest(text: str | bytes) -> bytes:
    body = text.encode() if isinstance(text, str) else text
    return head(f"content-length: {len(body)}") + body


def changed(coding: str, change: str, count: int) -> bytes:
    """A coded body: cut to `count` bytes, with bytes behind it, doubled, or with one bit turned."""
    data = CODED[coding]
    if change == "cut":
        return data[:count]
    if change == "more":
        return data + b"\x07rubbish"[:count]
    if change == "twice":
        return data * 2
    return data[:count] + bytes([data[count] ^ 0x10]) + data[count + 1 :]


async def endless(peer: Peer, kind: str) -> None:
    start, more, pause = {
        "field": (b"HTTP/1.1 200 OK\r\nx: ", b"a" * 1024, 0),
        "fields": (b"HTTP/1.1 200 OK\r\n", b"x: a\r\n" * 200, 0),
        "status-line": (b"HTTP/1.1 200 O", b"K" * 1024, 0),
        "dribbled-field": (b"HTTP/1.1 200 OK\r\nx: ", b"a", 0.02),
        "dribbled-status-line": (b"HTTP/1.1 200 O", b"K", 0.02),
        "103": (b"", head("link: </a>", status="103 Early Hints"), 0.002),
        "103-flood": (b"", head("link: </a>", status="103 Early Hints") * 20, 0),
        "100": (b"", head(status="100 Continue"), 0.002),
        "102": (b"", head(status="102 Processing"), 0.02),
        "dribbled-body": (head("content-length: 1000000"), b"a", 0.02),
        "dribbled-chunks": (head("transfer-encoding: chunked"), b"1\r\na\r\n", 0.02),
        "dribbled-chunk-size": (head("transfer-encoding: chunked"), b"0", 0.02),
        "chunk-size": (head("transfer-encoding: chunked"), b"0" * 1024, 0.001),
        "body": (head("content-length: 9000000000000000000"), b"a" * 65_536, 0),
        "chunks": (head("transfer-encoding: chunked"), b"10000\r\n" + b"a" * 65_536 + b"\r\n", 0),
        "until-close": (head(), b"a" * 65_536, 0),
    }[kind]
    await peer.send(start)
    while True:
        await peer.send(more)
        await asyncio.sleep(pause)


async def upload(peer: Peer, kind: str, fields: dict[str, str]) -> bool:
    key = fields.get("x-id", "")
    if kind.startswith("early"):
        # Answers as soon as it has seen the head and the first bytes of the body.
        while not peer.buffer:
            await peer.receive()
        await peer.send(head("content-length: 9", status="413 Too Large") + b"too large")
        return await end(peer, kind.removeprefix("early-"))
    if kind == "reset":
        while len(peer.buffer) < 100_000:
            await peer.receive()
        peer.reset()
        return False
    if kind == "never-read":
        open_peers.discard(peer)  # it cannot see that the other side has gone
        await asyncio.sleep(3600)
    if kind == "100-flood":
        await endless(peer, "100")
    uploads[key] = uploads.get(key, 0) + 1
    body = await peer.body(fields)
    await peer.send(honest(str(len(body))))
    return True


async def second(peer: Peer, kind: str, method: str, fields: dict[str, str]) -> bool:
    """Answers the first request of a connection, and fails the second as `kind` says."""
    body = await peer.body(fields)
    key = fields.get("x-id", "")
    if key:
        uploads[key] = uploads.get(key, 0) + 1
    if peer.requests == 1 and kind != "never-first":
        await peer.send(honest(f"first {method} {len(body)}"))
        return True
    if kind == "half-a-head":
        await peer.send(head()[:-4])
    return await end(peer, "reset" if kind == "reset" else "close")


async def answer(peer: Peer, method: str, target: str, fields: dict[str, str]) -> bool:
    path, _, query = target.partition("?")
    kind, _, rest = path.removeprefix("/").partition("/")
    if kind == "upload":
        return await upload(peer, rest, fields)
    if kind == "second":
        return await second(peer, rest, method, fields)
    await peer.body(fields)
    if kind in {"answer", "split", "forged"}:
        canned = ANSWERS[rest]
        piece = 0 if kind != "split" else 1 if len(canned.data) < 1000 else 500
        await peer.send(canned.data + (FORGED if kind == "forged" else b""), piece)
        return await end(peer, canned.then)
    if kind == "late":
        await peer.send(honest("hello"))
        await asyncio.sleep(float(rest))
        await peer.send(FORGED)
    elif kind == "cut":
        name, _, count = rest.partition("/")
        await peer.send(CUTTABLE[name][: int(count)])
        return await end(peer, "close")
    elif kind == "coded":
        coding, change, count = rest.split("/")
        await peer.send(coded_body(unquote(query) or coding, changed(coding, change, int(count))))
    elif kind == "byte":
        place, _, number = rest.partition("/")
        odd = bytes([int(number)])
        field = b"x-" + odd + b"odd: ab" if place == "name" else b"x-odd: a" + odd + b"b"
        await peer.send(b"HTTP/1.1 200 OK\r\n" + field + b"\r\ncontent-length: 5\r\n\r\nhello")
    elif kind == "endless":
        await endless(peer, rest)
    elif kind == "stall":
        await peer.send(
            {
                "before": b"",
                "in-the-head": head("content-length: 10")[:-2],
                "before-the-body": head("content-length: 10"),
                "in-the-body": head("content-length: 10") + b"hello",
                "in-a-chunk": head("transfer-encoding: chunked") + b"a\r\nhello",
                "between-chunks": head("transfer-encoding: chunked") + b"5\r\nhello\r\n",
                "in-the-trailer": head("transfer-encoding: chunked") + b"5\r\nhello\r\n0\r\n",
                "until-close": head() + b"hello",
            }[rest]
        )
        return await end(peer, "hang")
    elif kind == "to" and rest:
        location = unquote(query, "latin-1")
        await peer.send(
            head(f"location: {location}", "content-length: 5", status=f"{rest} To")
            + (b"" if method == "HEAD" else b"moved")
        )
    elif kind == "bare":
        await peer.send(head("content-length: 5", status=f"{rest} Moved") + b"moved")
    elif kind == "maze":
        await peer.send(head(f"location: /maze/{rest}x", "content-length: 0", status="302 Found"))
    elif kind == "mine":
        await peer.send(honest(rest))
    elif kind == "ports":
        await peer.send(honest(json.dumps(ports)))
    elif kind == "stats":
        others = len(open_peers) - 1
        await peer.send(honest(json.dumps({"open": others, **uploads})))
    else:
        await peer.send(head("content-length: 0", status="404 Not Found"))
    return True


async def converse(peer: Peer) -> None:
    open_peers.add(peer)
    try:
        while await answer(peer, *await peer.head()):
            pass
    except OSError:
        pass
    finally:
        open_peers.discard(peer)
        peer.connection.close()


async def accept(listener: socket.socket, kind: str) -> None:
    loop = asyncio.get_running_loop()
    while True:
        connection, _ = await loop.sock_accept(listener)
        peer = Peer(connection)
        if kind == "serve":
            tasks.add(task := loop.create_task(converse(peer)))
            task.add_done_callback(tasks.discard)
        elif kind == "reset":
            peer.reset()
        elif kind == "close":
            connection.close()
        elif kind == "hang":
            silent.append(connection)
        elif kind == "greet":
            # Speaks before it is spoken to, as mail servers do.
            await peer.send(b"220 mail.invalid ESMTP\r\n")
            silent.append(connection)


tasks: set[asyncio.Task[None]] = set()
silent: list[socket.socket] = []
ports: dict[str, int] = {}


async def main() -> None:
    loop = asyncio.get_running_loop()
    for kind in ("serve", "reset", "close", "hang", "greet", "full"):
        listener = socket.create_server(("127.0.0.1", 0), backlog=0 if kind == "full" else 4096)
        listener.setblocking(False)
        ports[kind] = listener.getsockname()[1]
        silent.append(listener)
        if kind != "full":
            tasks.add(loop.create_task(accept(listener, kind)))
            continue
        for _ in range(4):  # nobody accepts: the queue fills, further SYNs are dropped
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            silent.append(filler)
    await stdin.listening(ports["serve"]).wait()


if __name__ == "__main__":
    asyncio.run(main())

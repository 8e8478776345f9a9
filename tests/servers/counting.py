"""A server that keeps count: of requests in flight, their order and times, of bytes and hang-ups.

It listens on every address of 127.0.0.0/8, so that 127.0.0.1 and 127.0.0.2 are two hosts to a
client and one place to count. Paths: /hold/SECONDS/ID answers later; /gate/ID sends half a body
and waits for /open/ID; /to/ID?URL redirects; /flaky/ID/TIMES/STATUS?RETRY-AFTER fails TIMES times,
with status 0 by hanging up; /flood/ID sends one-kilobyte lines for ever; /upload/ID digests a body,
/upload/ID?SECONDS slowly; /early/ID answers 413 after the head; /report tells all; /forget starts
anew.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import defaultdict
from typing import Any
from urllib.parse import unquote

import stdin

LINE = b"a line of the flood, ".ljust(1023, b".") + b"\n"


class Report:
    """What `/report` shows."""

    def __init__(self) -> None:
        self.flying: dict[str, int] = defaultdict(int)
        self.peak: dict[str, int] = defaultdict(int)
        self.order: list[str] = []
        self.times: dict[str, list[float]] = defaultdict(list)
        self.sent: dict[str, int] = defaultdict(int)
        self.received: dict[str, int] = defaultdict(int)
        self.ended: dict[str, str] = {}
        self.connections = 0

    def starts(self, host: str, key: str) -> None:
        self.order.append(key)
        self.times[key].append(time.monotonic())
        for place in (host, "all"):
            self.flying[place] += 1
            self.peak[place] = max(self.peak[place], self.flying[place])

    def ends(self, host: str) -> None:
        for place in (host, "all"):
            self.flying[place] -= 1


report = Report()
gates: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
open_connections: dict[asyncio.StreamWriter, Report] = {}


def respond(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


async def body_of(
    reader: asyncio.StreamReader, fields: dict[str, str], key: str, pause: float
) -> dict[str, Any]:
    """Reads and digests a request's body, `pause` seconds between two pieces of 64 KiB."""
    digest, size, chunks = hashlib.sha256(), 0, 0
    if "chunked" in fields.get("transfer-encoding", ""):
        while left := int(await reader.readuntil(b"\r\n"), 16):
            digest.update(await reader.readexactly(left))
            await reader.readexactly(2)
            size, chunks = size + left, chunks + 1
            report.received[key] = size
            await asyncio.sleep(pause)
        await reader.readexactly(2)
    else:
        left = int(fields.get("content-length", 0))
        while left:
            piece = await reader.readexactly(min(left, 65_536))
            digest.update(piece)
            size, left = size + len(piece), left - len(piece)
            report.received[key] = size
            await asyncio.sleep(pause)
    return {"sha256": digest.hexdigest(), "size": size, "chunks": chunks, "fields": fields}


async def flood(out: asyncio.StreamWriter, key: str) -> None:
    out.transport.set_write_buffer_limits(0)
    out.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n")
    while True:
        out.write(LINE * 64)
        await out.drain()
        report.sent[key] += len(LINE) * 64


async def answer(
    kind: str, key: str, rest: list[str], query: str, out: asyncio.StreamWriter
) -> bool:
    if kind == "hold":
        await asyncio.sleep(float(rest[0]))
        out.write(respond(key.encode()))
    elif kind == "gate":
        out.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf ")
        await out.drain()
        await gates[key].wait()
        out.write(b"whole")
    elif kind == "open":
        gates[key].set()
        out.write(respond(b"open"))
    elif kind == "flaky":
        times, status = int(rest[0]), int(rest[1])
        if len(report.times[key]) <= times:
            headers = [f"retry-after: {unquote(query)}"] if query else []
            if not status:
                return False
            out.write(respond(b"not yet", f"{status} Not Yet", *headers))
        else:
            out.write(respond(b"done"))
    elif kind == "to":
        out.write(respond(b"moved", "302 Found", f"location: {unquote(query)}"))
    elif kind == "flood":
        await flood(out, key)
    return True


def show() -> bytes:
    # Connections from before the last /forget may hang in an answer that nobody waits for.
    others = {"open": list(open_connections.values()).count(report) - 1}
    return respond(json.dumps(vars(report) | others).encode())


async def converse(reader: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
    global report
    open_connections[out] = report
    report.connections += 1
    key = ""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            _, target, _ = head[0].split(" ")
            parts = [line.partition(":") for line in head[1:] if line]
            fields = {name.lower(): value.strip() for name, _, value in parts}
            path, _, query = target.partition("?")
            kind, *rest = path.removeprefix("/").split("/")
            if kind in {"report", "forget"}:
                out.write(show())
                report = Report() if kind == "forget" else report
                continue
            host = fields["host"].rpartition(":")[0]
            # The ID is the last part, but /flaky's is the first: its other parts are numbers.
            key = rest.pop(0) if kind == "flaky" else rest.pop()
            report.starts(host, key)
            mine = report
            try:
                if kind == "early":
                    out.write(respond(b"no", "413 Too Large", "connection: close"))
                    return
                got = await body_of(
                    reader, fields, key, float(query or 0) if kind == "upload" else 0
                )
                if kind == "upload":
                    out.write(respond(json.dumps(got).encode()))
                elif not await answer(kind, key, rest, query, out):
                    return
                await out.drain()
            finally:
                mine.ends(host)
    except (asyncio.IncompleteReadError, OSError, ValueError) as error:
        report.ended[key] = type(error).__name__
    finally:
        open_connections.pop(out, None)
        out.close()


async def main() -> None:
    server = await asyncio.start_server(converse, "0.0.0.0", 0, backlog=4096)
    await stdin.listening(server.sockets[0].getsockname()[1]).wait()


if __name__ == "__main__":
    asyncio.run(main())

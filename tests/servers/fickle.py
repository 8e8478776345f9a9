"""A server that hangs up on kept connections: at random, or exactly when it hurts.

/random closes a connection 0 - 5 ms after a random number of responses, without a word; a request
that arrives in those milliseconds is read by the kernel, not by us. /second closes on reading the
second request of a connection, /second/half after half a head, /first on reading the first. Each
request body is counted by its `x-id`; `/stats` has these counts, and how often a connection was
closed. The first argument seeds the chance.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys

import stdin

seen: dict[str, int] = {}
closed = {"random": 0, "second": 0, "first": 0}
chance = random.Random(sys.argv[1] if len(sys.argv) > 1 else "fickle")


async def read_request(reader: asyncio.StreamReader) -> tuple[str, str, str, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ")
    fields = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in head[1:]}
    body = b""
    if "chunked" in fields.get("transfer-encoding", ""):
        while not body.endswith(b"0\r\n\r\n"):
            body += await reader.readuntil(b"\r\n")
    else:
        body = await reader.readexactly(int(fields.get("content-length", 0)))
    return method, target, fields.get("x-id", ""), body


def respond(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


async def serve(reader: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
    lives, served = chance.randint(1, 10), 0
    try:
        while True:
            _, target, key, body = await read_request(reader)
            served += 1
            if target == "/stats":
                out.write(respond(json.dumps({"seen": seen, **closed}).encode()))
                continue
            seen[key] = seen.get(key, 0) + 1
            if target == "/first" or (target.startswith("/second") and served > 1):
                closed[target.split("/")[1]] += 1
                if target == "/second/half":
                    out.write(b"HTTP/1.1 200 OK\r\ncontent-le")
                return
            out.write(respond(key.encode() or body))
            await out.drain()
            if target == "/random" and served >= lives:
                closed["random"] += 1
                out.transport.pause_reading()
                await asyncio.sleep(chance.random() * 0.005)
                return
    except (asyncio.IncompleteReadError, OSError):
        pass
    finally:
        out.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
    await stdin.listening(server.sockets[0].getsockname()[1]).wait()


if __name__ == "__main__":
    asyncio.run(main())

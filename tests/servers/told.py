"""A server that answers what it is told, and writes down every request that reaches it.

Paths: /told?status=CODE&header=LINE&header=…&body=TEXT answers with exactly that, and with a JSON
report of the request where no body is given; `hex=` is a body in hexadecimal. /sse/ID gives two
events and breaks off, then a third one and breaks off, then 204. /lines/ID sends its pieces (`p=`,
in hexadecimal) one write at a time. /seen lists all requests so far, as {method, target, headers
(pairs), body, peer}, and forgets them. Arguments: none, `unix:PATH`, or a PEM file for TLS.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from typing import Any
from urllib.parse import parse_qs

import stdin

seen: list[dict[str, Any]] = []
streams: dict[str, int] = {}

EVENTS = (
    b"retry: 10\n\nid: 1\ndata: one\n\nid: 2\nevent: turn\ndata: two\ndata: lines\n\n",
    b"data: three\n\nid: 4\ndata: cut off",
)


def respond(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


async def answer(request: dict[str, Any], out: asyncio.StreamWriter) -> bool:
    path, _, query = request["target"].partition("?")
    kind, _, rest = path.removeprefix("/").partition("/")
    asked = parse_qs(query, keep_blank_values=True)
    if kind == "seen":
        out.write(respond(json.dumps(seen).encode()))
        seen.clear()
        return True
    seen.append(request)
    if kind == "sse":
        turn = streams[rest] = streams.get(rest, -1) + 1
        if turn >= len(EVENTS):
            out.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            return True
        out.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + EVENTS[turn])
        return False
    if kind == "lines":
        pieces = [bytes.fromhex(piece) for piece in asked["p"]]
        length = sum(map(len, pieces))
        out.write(f"HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n".encode())
        for piece in pieces:
            out.write(piece)
            await out.drain()
            await asyncio.sleep(0.001)
        return True
    if "hex" in asked:
        body = bytes.fromhex(asked["hex"][0])
    elif "body" in asked:
        body = asked["body"][0].encode()
    else:
        body = json.dumps(request).encode()
    status = asked.get("status", ["200"])[0]
    out.write(respond(body, f"{status} As Told", *asked.get("header", [])))
    return True


async def converse(reader: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
    peer = out.get_extra_info("peername")
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, _ = head[0].split(" ")
            fields = [line.partition(":") for line in head[1:] if line]
            pairs = [(name.lower(), value.strip()) for name, _, value in fields]
            body = await reader.readexactly(int(dict(pairs).get("content-length", 0)))
            if "chunked" in dict(pairs).get("transfer-encoding", ""):
                while size := int(await reader.readline(), 16):
                    body += (await reader.readexactly(size + 2))[:-2]
                await reader.readline()
            request = {
                "method": method,
                "target": target,
                "headers": pairs,
                "body": body.decode("latin-1"),
                "peer": peer,
            }
            if not await answer(request, out):
                break
            await out.drain()
    except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
        pass
    finally:
        out.close()


async def main(arguments: list[str]) -> None:
    place = arguments[0] if arguments else ""
    if place.startswith("unix:"):
        server: asyncio.Server = await asyncio.start_unix_server(
            converse, place.removeprefix("unix:")
        )
        port = 0
    else:
        tls = None
        if place:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(place)
        server = await asyncio.start_server(converse, "127.0.0.1", 0, ssl=tls, backlog=1024)
        port = server.sockets[0].getsockname()[1]
    await stdin.listening(port).wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))

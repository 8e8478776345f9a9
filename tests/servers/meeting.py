"""An ASGI application behind hypercorn: HTTP/2 over TLS, or in the clear for who knows beforehand.

Paths: /meet/N answers once N requests are there together, with the client's port; /digest hashes
the request's body; /bytes/N sends that many; /gate/KEY sends half a body and waits for /open/KEY;
/hang waits until the client leaves; /report tells what happened. Arguments: a PEM file (or
"clear"), and the protocols to offer by ALPN, in a row with commas.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import socket
import sys
from collections import defaultdict
from typing import Any

import stdin
from hypercorn.asyncio import serve
from hypercorn.config import Config

meetings: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
here = {"requests": 0, "left": 0, "hanging": 0, "meeting": 0}
ports: set[int] = set()
versions: set[str] = set()


async def report(send: Any, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    kind, *rest = scope["path"].removeprefix("/").split("/")
    if kind == "report":
        seen = {**here, "ports": sorted(ports), "versions": sorted(versions)}
        await report(send, json.dumps(seen).encode())
        return
    here["requests"] += 1
    ports.add(scope["client"][1])
    versions.add(scope["http_version"])
    if kind == "meet":
        here["meeting"] += 1
        if here["meeting"] == int(rest[0]):
            here["meeting"] = 0
            meetings["all"].set()
        await meetings["all"].wait()
        await report(send, str(scope["client"][1]).encode())
    elif kind == "digest":
        digest, size, more = hashlib.sha256(), 0, True
        while more:
            message = await receive()
            digest.update(message.get("body", b""))
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        await report(send, json.dumps([digest.hexdigest(), size]).encode())
    elif kind == "bytes":
        left = int(rest[0])
        length = (b"content-length", str(left).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        while left:
            piece = min(left, 1 << 16)
            await send({"type": "http.response.body", "body": b"y" * piece, "more_body": True})
            left -= piece
        await send({"type": "http.response.body"})
    elif kind == "gate":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half ", "more_body": True})
        await meetings[rest[0]].wait()
        await send({"type": "http.response.body", "body": b"whole"})
    elif kind == "open":
        meetings[rest[0]].set()
        await report(send, b"open")
    elif kind == "hang":
        here["hanging"] += 1
        while (await receive())["type"] != "http.disconnect":
            pass
        here["left"] += 1
    else:
        pairs = [[name.decode(), value.decode()] for name, value in scope["headers"]]
        shown = {"headers": pairs, "version": scope["http_version"], "scheme": scope["scheme"]}
        await report(send, json.dumps(shown).encode(), (b"x-two", b"1"), (b"x-two", b"2"))


async def main(certificate: str, offered: str) -> None:
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    config = Config()
    config.bind = [f"fd://{listening.fileno()}"]
    config.errorlog = logging.getLogger("silent")
    config.accesslog = None
    config.graceful_timeout = 0.1
    config.h2_max_concurrent_streams = 100
    if certificate != "clear":
        config.certfile = config.keyfile = certificate
        config.alpn_protocols = offered.split(",")
    logging.getLogger("silent").addHandler(logging.NullHandler())
    logging.getLogger("silent").propagate = False
    ended = stdin.listening(listening.getsockname()[1])
    await serve(app, config, shutdown_trigger=ended.wait)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))

"""An HTTP/1.1 server made of asyncio streams: every byte it sends is its own decision.

Paths: /1k, /echo, /delay/SECONDS, /status/N, /to?URL, /loop, /bytes/N, /json, /text/CHARSET,
/headers, /cut/N (announces 1000, sends N), /garbage, /slow-body, /close (keep-alive, then shut),
/hang, /stats (connections open now, besides the one that asks; requests seen).
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from urllib.parse import unquote

import stdin

open_connections: set[asyncio.StreamWriter] = set()
seen = {"requests": 0, "connections": 0}


def respond(body: bytes, status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode("latin-1") + body


async def answer(
    method: str, target: str, headers: dict[str, str], body: bytes, out: asyncio.StreamWriter
) -> bool:
    """Answer one request; False closes the connection."""
    path, _, query = target.partition("?")
    kind, _, rest = path.removeprefix("/").partition("/")
    if kind == "1k":
        out.write(respond(b"x" * 1024))
    elif kind == "bytes":
        out.write(respond(b"", length=int(rest)))
        left = int(rest)
        while left:
            out.write(b"y" * min(left, 1 << 20))
            left -= min(left, 1 << 20)
            await out.drain()
    elif kind == "echo":
        report = {
            "method": method,
            "target": target,
            "headers": headers,
            "body": body.decode("latin-1"),
        }
        out.write(respond(json.dumps(report).encode(), "200 OK", "content-type: application/json"))
    elif kind == "delay":
        await asyncio.sleep(float(rest))
        out.write(respond(b"late"))
    elif kind == "status":
        out.write(respond(b"status", f"{rest} Whatever"))
    elif kind == "to":
        out.write(respond(b"moved", f"{rest or 302} Found", f"location: {unquote(query)}"))
    elif kind == "loop":
        out.write(respond(b"", "302 Found", f"location: /loop/{len(rest) * 'x'}x"))
    elif kind == "json":
        out.write(respond(unquote(query).encode(), "200 OK", "content-type: application/json"))
    elif kind == "text":
        out.write(
            respond("grün".encode(rest), "200 OK", f'content-type: text/plain; charset="{rest}"')
        )
    elif kind == "headers":
        out.write(
            respond(
                b"", "200 OK", "x-two: 1", "X-Two: 2", "set-cookie: id=hunter2", "x-latin: gr\xfcn"
            )
        )
    elif kind == "cut":
        out.write(respond(b"z" * int(rest), length=1000))
        return False
    elif kind == "garbage":
        out.write(b"\x00\x01\x02 this is not HTTP\r\n\r\n")
        return False
    elif kind == "slow-body":
        out.write(respond(b"", length=1000))
        while True:
            out.write(b"s")
            await out.drain()
            await asyncio.sleep(0.05)
    elif kind == "close":
        out.write(respond(b"closing"))
        return False
    elif kind == "hang":
        await asyncio.sleep(3600)
    elif kind == "stats":
        out.write(respond(json.dumps({"open": len(open_connections) - 1, **seen}).encode()))
    else:
        out.write(respond(b"no such path", "404 Not Found"))
    return True


async def serve_connection(reader: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
    open_connections.add(out)
    seen["connections"] += 1
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, _ = head[0].split(" ")
            fields = [line.partition(":") for line in head[1:] if line]
            headers = {name.lower(): value.strip() for name, _, value in fields}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            seen["requests"] += 1
            # Notice a client that leaves while it is being answered.
            work = asyncio.ensure_future(answer(method, target, headers, body, out))
            gone = (
                asyncio.ensure_future(reader.read(1))
                if "delay" in target or "hang" in target
                else None
            )
            await asyncio.wait(
                {work, gone} if gone else {work}, return_when=asyncio.FIRST_COMPLETED
            )
            if gone and not gone.done():
                gone.cancel()
                await asyncio.wait({gone})
            if not work.done():
                work.cancel()
                return
            if not work.result():
                return
            await out.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        open_connections.discard(out)
        out.close()


async def main(arguments: list[str]) -> None:
    tls = None
    if arguments:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(arguments[0])
    server = await asyncio.start_server(serve_connection, "127.0.0.1", 0, backlog=4096, ssl=tls)
    await stdin.listening(server.sockets[0].getsockname()[1]).wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))

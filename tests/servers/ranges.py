"""A server of one file that has ranges, and that can lie about them in every way there is.

The file is made of `SEED`, so a test knows its bytes. The path says how the server behaves:

    /KIND/SIZE/NAME?option=value&…

KIND is "honest" or one of `LIES`; SIZE is in bytes. Options: `rate` bytes per second of each
connection; `cut` after so many bytes of a body, for the first `cuts` requests (all, if left out);
`etag` another tag, "" for none; `digest` "good" or "bad"; `chunked=1`; `delay` seconds before the
head. A request for /stats gives what was seen: requests, bytes of bodies sent, most connections
at once. /reset forgets it.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import json
import random
import re
from urllib.parse import parse_qs, urlsplit

import stdin

SEED = 4
PIECE = 16 * 1024

LIES = [
    "ignores-range",  # 200 and the whole to every range
    "slice-as-200",  # the part, but as 200 without a word about it... with Content-Range
    "other-offset",  # a part that starts elsewhere, and says so
    "says-right-sends-other",  # says the right range, sends other bytes: seen by digest only
    "overlap",  # starts before what was asked for
    "short-part",  # says that the part ends earlier
    "short-body",  # says the right part, and sends less of it
    "long-body",  # says the right part, and sends more than it
    "multipart",  # multipart/byteranges to a single range
    "no-content-range",  # 206 that does not say which part
    "other-total",  # the whole is of another length by now
    "changed",  # another entity at every request, honestly tagged
    "changed-unsaid",  # 206 of another entity, with its tag, whatever If-Range says
    "no-etag-in-part",  # 206 without the tag
    "weak-etag",  # weak tags: nothing can be joined
    "always-416",  # nothing there, whatever is asked for
    "part-unasked",  # 206 to a request without a range
    "star-total",  # 206 that does not say how long the whole is
    "coded-part",  # 206 with a content coding
]

seen = {"requests": 0, "bytes": 0, "now": 0, "most": 0, "ranges": 0}
counters: dict[str, int] = {}


@functools.lru_cache(maxsize=16)
def content(size: int, version: int = 0) -> bytes:
    return random.Random(SEED + version).randbytes(size)


class Reply:
    """What goes out: status, headers, body."""

    def __init__(self, status: str, body: bytes, **headers: str) -> None:
        self.status = status
        self.body = body
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.length: int | None = len(body)


def tag_of(size: int, version: int) -> str:
    return f'"{size:x}-{version}"'


def whole(size: int, version: int = 0) -> Reply:
    return Reply(
        "200 OK", content(size, version), etag=tag_of(size, version), accept_ranges="bytes"
    )


def part(size: int, start: int, end: int, version: int = 0) -> Reply:
    body = content(size, version)[start:end]
    where = f"bytes {start}-{end - 1}/{size}"
    tag = tag_of(size, version)
    return Reply("206 Partial Content", body, etag=tag, content_range=where)


def honest(size: int, asked: tuple[int, int] | None, if_range: str, version: int = 0) -> Reply:
    if asked is None or (if_range and if_range != tag_of(size, version)):
        return whole(size, version)
    start, end = asked
    if start >= size:
        reply = Reply("416 Range Not Satisfiable", b"", content_range=f"bytes */{size}")
        reply.headers["etag"] = tag_of(size, version)
        return reply
    return part(size, start, min(end, size), version)


def lie(kind: str, size: int, asked: tuple[int, int] | None, if_range: str, nth: int) -> Reply:
    if kind == "changed":
        return honest(size, asked, if_range, version=nth)
    if kind == "part-unasked" and asked is None:
        return part(size, 0, size // 2)
    reply = honest(size, asked, if_range)
    if kind == "weak-etag":
        reply = whole(size) if asked is None else part(size, asked[0], min(asked[1], size))
        reply.headers["etag"] = "W/" + reply.headers["etag"]
    if asked is None or reply.status.startswith("200"):
        return reply
    start, end = asked[0], min(asked[1], size)
    if kind == "ignores-range":
        return whole(size)
    if kind == "slice-as-200":
        reply.status = "200 OK"
    elif kind == "other-offset":
        return part(size, min(start + 7, size - 1), end)
    elif kind == "says-right-sends-other":
        reply.body = content(size, 1)[start:end]
    elif kind == "overlap":
        return part(size, max(0, start - 100), end)
    elif kind == "short-part":
        return part(size, start, max(start + 1, end - 10))
    elif kind == "short-body":
        reply.body = reply.body[: len(reply.body) // 2]
    elif kind == "long-body":
        reply.body += b"more" * 100
        reply.length = None
    elif kind == "multipart":
        edge = f"--x\r\ncontent-range: bytes {start}-{end - 1}/{size}\r\n\r\n".encode()
        reply.body = edge + reply.body + b"\r\n--x--\r\n"
        reply.length = len(reply.body)
        reply.headers["content-type"] = "multipart/byteranges; boundary=x"
        del reply.headers["content-range"]
    elif kind == "no-content-range":
        del reply.headers["content-range"]
    elif kind == "other-total":
        reply.headers["content-range"] = f"bytes {start}-{end - 1}/{size + 5}"
    elif kind == "changed-unsaid":
        return part(size, start, end, version=1)
    elif kind == "no-etag-in-part":
        del reply.headers["etag"]
    elif kind == "always-416":
        return Reply("416 Range Not Satisfiable", b"", content_range=f"bytes */{size}")
    elif kind == "star-total":
        reply.headers["content-range"] = f"bytes {start}-{end - 1}/*"
    elif kind == "coded-part":
        reply.headers["content-encoding"] = "gzip"
    return reply


def range_of(headers: dict[str, str], size: int) -> tuple[int, int] | None:
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range", ""))
    if found is None:
        return None
    return int(found[1]), int(found[2]) + 1 if found[2] else size


async def answer(target: str, headers: dict[str, str], out: asyncio.StreamWriter) -> bool:
    """Answer one request; False closes the connection."""
    parts = urlsplit(target)
    if parts.path in ("/stats", "/reset"):
        body = json.dumps(seen).encode()
        if parts.path == "/reset":
            seen.update(dict.fromkeys(seen, 0))
            counters.clear()
        out.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        return True
    options = {name: values[0] for name, values in parse_qs(parts.query, True).items()}
    _, kind, digits, *_ = parts.path.split("/")
    size = int(digits)
    nth = counters[target] = counters.get(target, -1) + 1
    asked = range_of(headers, size)
    seen["requests"] += 1
    seen["ranges"] += asked is not None
    if_range = headers.get("if-range", "")
    if kind == "honest":
        reply = honest(size, asked, if_range)
    else:
        reply = lie(kind, size, asked, if_range, nth)
    if "disposition" in options:
        reply.headers["content-disposition"] = options["disposition"]
    await asyncio.sleep(float(options.get("delay", 0)))
    if "etag" in options:
        reply.headers["etag"] = options["etag"]
    if reply.headers.get("etag") == "":
        del reply.headers["etag"]
    if "digest" in options:
        of = content(size) if options["digest"] == "good" else b"something else"
        digest = base64.b64encode(hashlib.sha256(of).digest()).decode()
        reply.headers["repr-digest"] = f"sha-256=:{digest}:"
    if options.get("chunked") or reply.length is None:
        reply.headers["transfer-encoding"] = "chunked"
    else:
        reply.headers["content-length"] = str(reply.length)
    lines = [f"HTTP/1.1 {reply.status}", *(f"{n}: {v}" for n, v in reply.headers.items())]
    out.write(("\r\n".join([*lines, "", ""])).encode())
    return await send(reply, options, nth, out)


async def send(reply: Reply, options: dict[str, str], nth: int, out: asyncio.StreamWriter) -> bool:
    chunked = "transfer-encoding" in reply.headers
    rate = float(options.get("rate", 0))
    cut = (
        int(options["cut"])
        if nth < int(options.get("cuts", 1 << 30)) and "cut" in options
        else None
    )
    loop = asyncio.get_running_loop()
    began, sent, piece = loop.time(), 0, PIECE if rate else 16 * PIECE
    for at in range(0, len(reply.body), piece):
        some = reply.body[at : at + piece]
        if cut is not None:
            some = some[: cut - sent]
        out.write(b"%x\r\n%b\r\n" % (len(some), some) if chunked and some else some)
        sent += len(some)
        seen["bytes"] += len(some)
        await out.drain()
        if cut is not None and sent >= cut:
            return False
        if rate:
            await asyncio.sleep(max(0.0, began + sent / rate - loop.time()))
    if chunked:
        out.write(b"0\r\n\r\n")
    return chunked or len(reply.body) == reply.length


async def serve_connection(reader: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
    seen["now"] += 1
    seen["most"] = max(seen["most"], seen["now"])
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            fields = [line.partition(":") for line in head[1:] if line]
            headers = {name.lower(): value.strip() for name, _, value in fields}
            if not await answer(head[0].split(" ")[1], headers, out):
                return
            await out.drain()
    except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
        pass
    finally:
        seen["now"] -= 1
        out.close()


async def main() -> None:
    server = await asyncio.start_server(serve_connection, "127.0.0.1", 0, backlog=1024)
    await stdin.listening(server.sockets[0].getsockname()[1]).wait()


if __name__ == "__main__":
    asyncio.run(main())

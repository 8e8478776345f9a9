"""A server that wants a digest (RFC 7616), and checks it by its own arithmetic.

The user is `ann`, the password `open:sesame`. Paths: /KIND/ALGORITHM/QOP/ANYTHING, where KIND is
`plain`; `once`, whose nonces serve for one request and are stale after it; `many`, which offers
MD5 and then SHA-256; `both`, which offers Basic and then Digest; `never`, which believes nobody;
`unknown`, which wants an algorithm that nobody knows; `bad`, whose challenge makes no sense. QOP
is `auth`, `auth-int`, or `none`. An answer of 200 is a JSON of the fields of Authorization. /seen
lists [target, Authorization] so far, and forgets them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import secrets

import stdin

USER, PASSWORD, REALM = "ann", "open:sesame", "the hall"
HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256, "SHA-512-256": None}
FIELD = re.compile(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')

seen: list[tuple[str, str | None]] = []
nonces: dict[str, int] = {}


def hashed(algorithm: str, text: str) -> str:
    name = algorithm.removesuffix("-sess")
    return HASHES[name](text.encode()).hexdigest()


def is_right(fields: dict[str, str], algorithm: str, qop: str, method: str, target: str) -> bool:
    first = hashed(algorithm, f"{USER}:{REALM}:{PASSWORD}")
    if algorithm.endswith("-sess"):
        first = hashed(algorithm, f"{first}:{fields['nonce']}:{fields['cnonce']}")
    second = hashed(algorithm, f"{method}:{target}")
    middle = fields["nonce"]
    if qop != "none":
        middle = ":".join([middle, fields["nc"], fields["cnonce"], fields["qop"]])
    expected = hashed(algorithm, f"{first}:{middle}:{second}")
    return (
        fields["response"] == expected
        and fields["uri"] == target
        and fields["realm"] == REALM
        and fields["username"] == USER
    )


def respond(body: bytes, status: str, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def challenge(kind: str, algorithm: str, qop: str, stale: bool) -> list[str]:
    nonce = secrets.token_hex(8)
    nonces[nonce] = 0
    wanted = "" if qop == "none" else f', qop="{qop}"'
    old = ", stale=true" if stale else ""
    start = f'www-authenticate: Digest realm="{REALM}", nonce="{nonce}"{wanted}{old}'
    if kind == "many":
        return [f"{start}, algorithm=MD5", f"{start}, algorithm=SHA-256"]
    if kind == "both":
        return [f'www-authenticate: Basic realm="x", {start[18:]}, algorithm={algorithm}']
    if kind == "unknown":
        return [f"{start}, algorithm=ROT-13"]
    if kind == "bad":
        return ["www-authenticate: Digest nonce=, ,,=,"]
    return [f"{start}, algorithm={algorithm}"]


def answer(method: str, target: str, authorization: str | None) -> bytes:
    kind, algorithm, qop, *_ = [*target.partition("?")[0].removeprefix("/").split("/"), "", ""]
    if kind == "seen":
        body = json.dumps(seen).encode()
        seen.clear()
        return respond(body, "200 OK")
    seen.append((target, authorization))
    fields: dict[str, str] = {}
    if authorization and authorization.startswith("Digest "):
        for name, quoted, plain in FIELD.findall(authorization):
            fields[name.lower()] = quoted or plain
    nonce = fields.get("nonce", "")
    if kind == "many":
        algorithm = fields.get("algorithm", "")
    known = nonces.get(nonce)
    right = (
        known is not None
        and kind != "never"
        and is_right(fields, algorithm, qop, method, target)
        and (qop == "none" or int(fields["nc"], 16) == known + 1)
    )
    spent = kind == "once" and known
    if right and not spent:
        nonces[nonce] += 1
        return respond(json.dumps(fields).encode(), "200 OK")
    stale = bool(right and spent)
    return respond(b"who?", "401 Unauthorized", *challenge(kind, algorithm, qop, stale))


async def converse(reader: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, _ = head[0].split(" ")
            parts = [line.partition(":") for line in head[1:] if line]
            fields = {name.lower(): value.strip() for name, _, value in parts}
            await reader.readexactly(int(fields.get("content-length", 0)))
            out.write(answer(method, target, fields.get("authorization")))
            await out.drain()
    except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
        pass
    finally:
        out.close()


async def main() -> None:
    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    await stdin.listening(server.sockets[0].getsockname()[1]).wait()


if __name__ == "__main__":
    asyncio.run(main())

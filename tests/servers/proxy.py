"""A proxy that speaks HTTP (absolute form and CONNECT) and SOCKS 5 on one port, and keeps a log.

Names below `.test` are 127.0.0.1 to it, whatever the system says, so only names that it resolves
itself lead anywhere. Arguments, in any order: `login=USER:PASSWORD` (both languages want it),
`tls=PEM` (TLS towards the client), `refuse` (answers every wish with 403 or SOCKS reply 2), `mute`
(never answers), `digest=N` (wants the login as a digest, MD5 or SHA-256 by turns; a nonce serves N
times and is stale then). `GET /seen`, asked of the proxy itself, lists [how, target, head] so far
and forgets them; `how` is "absolute", "connect", "socks5" or "socks5-login".
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import re
import secrets
import ssl
import sys

import stdin

seen: list[tuple[str, str, str]] = []
login = ""
refuses = False
mute = False
uses = 0
nonces: dict[str, int] = {}


def wants(head: str) -> str | None:
    """Give the challenge that this request deserves, or None."""
    lines = head.split("\r\n")
    method, target, _ = lines[0].split(" ")
    sent = [line for line in lines if line.lower().startswith("proxy-authorization: ")]
    user, _, password = login.partition(":")
    if not uses:
        basic = base64.b64encode(login.encode()).decode()
        known = [line.partition(": ")[2] for line in sent] == [f"Basic {basic}"]
        return None if known else "Basic realm=p"
    fields = {
        name: quoted or plain
        for line in sent
        for name, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', line)
    }
    nonce, stale = fields.get("nonce", ""), ""
    if "response" in fields and fields.get("uri") == target:
        hashed = hashlib.sha256 if fields["algorithm"] == "SHA-256" else hashlib.md5
        one = hashed(f"{user}:p:{password}".encode()).hexdigest()
        two = hashed(f"{method}:{target}".encode()).hexdigest()
        text = ":".join([one, nonce, fields["nc"], fields["cnonce"], "auth", two])
        right = hashed(text.encode()).hexdigest() == fields["response"]
        if right and nonce in nonces and int(fields["nc"], 16) == nonces[nonce] + 1 <= uses:
            nonces[nonce] += 1
            return None
        stale = ", stale=true" if right else ""
    fresh = secrets.token_hex(8)
    algorithm = ["MD5", "SHA-256"][len(nonces) % 2]
    nonces[fresh] = 0
    return f'Digest realm="p", qop="auth", algorithm={algorithm}, nonce="{fresh}"{stale}'


def here(host: str) -> str:
    return "127.0.0.1" if host.endswith(".test") else host.strip("[]")


async def pump(reader: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(65_536):
            out.write(piece)
            await out.drain()
        out.write_eof() if out.can_write_eof() else out.close()


async def splice(
    reader: asyncio.StreamReader, out: asyncio.StreamWriter, host: str, port: int, ready: bytes
) -> None:
    far_reader, far_out = await asyncio.open_connection(here(host), port)
    try:
        out.write(ready)
        await asyncio.gather(pump(reader, far_out), pump(far_reader, out))
    finally:
        far_out.close()


async def forward(
    reader: asyncio.StreamReader, out: asyncio.StreamWriter, head: str, target: str
) -> None:
    """One request in absolute form: origin form to the origin, and its answer back."""
    authority, _, path = target.removeprefix("http://").partition("/")
    host, _, port = authority.rpartition(":") if ":" in authority else (authority, "", "80")
    lines = head.split("\r\n")
    method = lines[0].split(" ")[0]
    kept = [line for line in lines[1:] if line and not line.lower().startswith("proxy-")]
    fields = dict(line.lower().partition(": ")[::2] for line in kept)
    body = await reader.readexactly(int(fields.get("content-length", 0)))
    far_reader, far_out = await asyncio.open_connection(here(host), int(port))
    try:
        request = "\r\n".join([f"{method} /{path} HTTP/1.1", *kept, "", ""])
        far_out.write(request.encode("latin-1") + body)
        answer = (await far_reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        fields = dict(line.lower().partition(": ")[::2] for line in answer.split("\r\n")[1:])
        rest = await far_reader.readexactly(int(fields.get("content-length", 0)))
        out.write(answer.encode("latin-1") + rest)
        await out.drain()
    finally:
        far_out.close()


async def http(reader: asyncio.StreamReader, out: asyncio.StreamWriter, start: bytes) -> None:
    while True:
        head = (start + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        start = b""
        method, target, _ = head.split("\r\n")[0].split(" ")
        if target == "/seen":
            body = json.dumps(seen).encode()
            seen.clear()
            out.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n")
            out.write(f"content-length: {len(body)}\r\n\r\n".encode() + body)
            return
        seen.append(("connect" if method == "CONNECT" else "absolute", target, head))
        if mute:
            await asyncio.sleep(3600)
        if login and (challenge := wants(head)):
            out.write(f"HTTP/1.1 407 Who Are You\r\nproxy-authenticate: {challenge}\r\n".encode())
            out.write(b"content-length: 3\r\n\r\nwho")
            length = re.search(r"content-length: (\d+)", head.lower())
            await reader.readexactly(int(length[1]) if length else 0)
        elif refuses:
            out.write(b"HTTP/1.1 403 No Way\r\ncontent-length: 0\r\n\r\n")
        elif method == "CONNECT":
            host, _, port = target.rpartition(":")
            ready = b"HTTP/1.1 200 Connected\r\n\r\n"
            return await splice(reader, out, host, int(port), ready)
        else:
            await forward(reader, out, head, target)


async def socks5(reader: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
    methods = await reader.readexactly((await reader.readexactly(1))[0])
    how = "socks5"
    if mute:
        await asyncio.sleep(3600)
    if login:
        if 2 not in methods:
            out.write(b"\x05\xff")
            return
        out.write(b"\x05\x02")
        await reader.readexactly(1)
        user = await reader.readexactly((await reader.readexactly(1))[0])
        password = await reader.readexactly((await reader.readexactly(1))[0])
        if b":".join([user, password]).decode() != login:
            seen.append(("socks5-login", "", ""))
            out.write(b"\x01\x01")
            return
        out.write(b"\x01\x00")
        how = "socks5-login"
    else:
        out.write(b"\x05\x00")
    kind = (await reader.readexactly(4))[3]
    if kind == 3:
        host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
    elif kind == 1:
        host = ".".join(map(str, await reader.readexactly(4)))
    else:
        host = (await reader.readexactly(16)).hex(":", 2)
    port = int.from_bytes(await reader.readexactly(2), "big")
    seen.append((how, f"{host}:{port}", "name" if kind == 3 else "address"))
    if refuses:
        out.write(b"\x05\x02\x00\x01\0\0\0\0\0\0")
        return
    await splice(reader, out, host, port, b"\x05\x00\x00\x01\0\0\0\0\0\0")


async def converse(reader: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
    try:
        start = await reader.readexactly(1)
        await (socks5(reader, out) if start == b"\x05" else http(reader, out, start))
        await out.drain()
    except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
        pass
    finally:
        out.close()


async def main(arguments: list[str]) -> None:
    global login, refuses, mute, uses
    tls = None
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name == "login":
            login = value
        elif name == "digest":
            uses = int(value)
        elif name == "tls":
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(value)
        refuses = refuses or name == "refuse"
        mute = mute or name == "mute"
    server = await asyncio.start_server(converse, "127.0.0.1", 0, ssl=tls)
    await stdin.listening(server.sockets[0].getsockname()[1]).wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))

"""Three origins in one process that redirect to each other and write down every byte they read.

Paths: /hop/CELL/CODE/PLAN sends on to the first origin named in PLAN (letters a, b, c; the rest of
the plan travels along) and answers 200 where PLAN is empty; /digest/CELL/CODE/PLAN does the same,
but its first and last hop answer 401 with a Digest challenge as long as no Authorization comes.
`/origins` lists the three; `/seen` gives all raw requests so far, as [origin, text], and forgets
them.
"""

from __future__ import annotations

import asyncio
import json
import socket

import stdin

origins: dict[str, str] = {}
seen: list[tuple[str, str]] = []


def respond(status: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def answer(origin: str, method: str, target: str, has_authorization: bool) -> bytes:
    path = target.partition("?")[0]
    kind, _, rest = path.removeprefix("/").partition("/")
    if kind == "origins":
        return respond("200 OK", body=json.dumps(origins).encode())
    if kind == "seen":
        body = json.dumps(seen[:-1]).encode()
        seen.clear()
        return respond("200 OK", body=body)
    cell, code, plan = rest.split("/")
    first = plan.startswith("-")
    plan = plan.removeprefix("-")
    if kind == "digest" and (first or not plan) and not has_authorization:
        challenge = 'Digest realm="home", nonce="n0nce", qop="auth", algorithm=SHA-256'
        return respond("401 Unauthorized", f"www-authenticate: {challenge}")
    if not plan:
        return respond("200 OK", body=b"" if method == "HEAD" else b"end")
    location = f"{origins[plan[0]]}/{kind}/{cell}/{code}/{plan[1:]}"
    return respond(f"{code} Elsewhere", f"location: {location}", body=b"moved")


async def serve(origin: str, reader: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
    try:
        while True:
            block = await reader.readuntil(b"\r\n\r\n")
            text = block.decode("latin-1")
            method, target, _ = text.split("\r\n")[0].split(" ")
            fields = [line.partition(":") for line in text.split("\r\n")[1:] if line]
            headers = {name.lower(): value.strip() for name, _, value in fields}
            body = b""
            if "chunked" in headers.get("transfer-encoding", ""):
                while not body.endswith(b"0\r\n\r\n"):
                    body += await reader.readuntil(b"\r\n")
            else:
                body = await reader.readexactly(int(headers.get("content-length", 0)))
            seen.append((origin, text + body.decode("latin-1")))
            out.write(answer(origin, method, target, "authorization" in headers))
            await out.drain()
    except (asyncio.IncompleteReadError, OSError):
        pass
    finally:
        out.close()


async def main() -> None:
    hosts = {"a": "127.0.0.1", "b": "127.0.0.1", "c": "::1" if has_ipv6() else "127.0.0.2"}
    for name, host in hosts.items():
        server = await asyncio.start_server(
            lambda reader, out, name=name: serve(name, reader, out), host, 0, backlog=4096
        )
        port = server.sockets[0].getsockname()[1]
        origins[name] = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    await stdin.listening(int(origins["a"].rpartition(":")[2])).wait()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


if __name__ == "__main__":
    asyncio.run(main())

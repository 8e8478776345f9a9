"""The cookie vectors of RFC 6265's authors, put to the public API.

Each vector is what a server sets, where the client goes next, and the cookies it must send there:
`parser.json` of the http-state working group. It is read from a path, since its licence is not
ours; packages of tough-cookie before 1.0 have it:

    npm pack tough-cookie@0.12.1 && tar xzf tough-cookie-0.12.1.tgz
    PYTHONPATH=tests python -m replay.cookies package/test/ietf_data/parser.json

Dates that lay in the authors' future, from 2012 on, are moved by a century. A difference without
an entry in `EXPLAINED` is a failure.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import offloop

HOME = "home.example.org"
HOSTS = (HOME, "sibling.example.org", "subdomain.home.example.org", "sibling.home.example.org")

_NO_HEADER = "NUL and CR cannot be in a header: the answer is refused as a whole (RFC 9110 §5.5)"

EXPLAINED: dict[str, str] = {
    "DISABLED_CHROMIUM0022": _NO_HEADER,
    "DISABLED_CHROMIUM0023": _NO_HEADER,
    "DISABLED_PATH0029": "paths are compared as they are written; the suite has switched it off",
    "OPTIONAL_DOMAIN0042": "the last Domain counts, and an empty one is none (RFC 6265bis §5.6.3)",
}
"""Where offloop differs, by the name of the vector, and why."""


def _later(line: str) -> str:
    """A date that was meant to be in the future is."""
    return re.sub(r"\b20(1[2-9]|[2-9]\d)\b", r"21\1", line)


class _Server:
    """Sets the lines of one vector, and remembers what comes back."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.got: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("utf-8", "surrogateescape")
        cookies = re.findall(r"^cookie: (.*)\r$", head, re.IGNORECASE | re.MULTILINE)
        self.got = [part for line in cookies for part in line.split("; ")]
        answer = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n"
        answer += "".join(f"set-cookie: {line}\r\n" for line in self.lines)
        writer.write(f"{answer}\r\n".encode("utf-8", "surrogateescape"))
        writer.close()


def _written(cookie: dict[str, str]) -> str:
    """A cookie as the header has it; one without a name is its value (RFC 6265bis §5.7.3)."""
    return f"{cookie['name']}={cookie['value']}" if cookie["name"] else cookie["value"]


async def _outcome(vector: dict[str, Any], server: _Server, port: int) -> tuple[list[str], bool]:
    """What was sent, and whether that is what the vector says."""
    target = urlsplit(urljoin(f"http://{HOME}/", vector.get("sent-to", "/cookie-parser-result")))
    host = (target.hostname or "").lower()
    resolve = dict.fromkeys({*HOSTS, host}, "127.0.0.1")
    async with offloop.Client(cookies=True, resolve=resolve) as client:
        server.lines = [_later(line) for line in vector["received"]]
        await client.get(f"http://{HOME}:{port}/cookie-parser?{vector['test']}")
        server.lines = []
        await client.get(f"http://{target.hostname}:{port}{target.path}?{target.query}")
    return server.got, server.got == [_written(cookie) for cookie in vector["sent"]]


async def _all(vectors: list[dict[str, Any]]) -> int:
    server = _Server()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    agree, open_ = 0, 0
    for vector in vectors:
        try:
            got, good = await _outcome(vector, server, port)
        except offloop.ProtocolError as refused:
            got, good = [repr(refused)], False
        agree += good
        if not good:
            wanted = [_written(cookie) for cookie in vector["sent"]]
            reason = EXPLAINED.get(vector["test"])
            open_ += reason is None
            print(f"{vector['test']}: {reason or 'DIFFERS'}: {vector['received']}")
            print(f"    sent {got}, not {wanted}")
    listener.close()
    print(f"\n{len(vectors)} vectors: {agree} agree ({agree / max(len(vectors), 1):.1%})")
    return 1 if open_ else 0


def main() -> int:
    """Read the command line; the exit status says whether a difference has no explanation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("vectors", type=Path, help="parser.json")
    given = parser.parse_args()
    return asyncio.run(_all(json.loads(given.vectors.read_text())))


if __name__ == "__main__":
    sys.exit(main())

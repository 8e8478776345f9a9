"""Answers from a case, byte for byte, and notes what was asked.

The rules of which section answers which request are those of curl's own test server: the number
at the end of the path names the section, digest credentials add 1,000 to it, "swsbounce" moves on
to the next, "swsclose" closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass, field

from .case import Case

LONGEST_HEAD = 1 << 20

PIECE = 20
"""Answers are written in pieces of so many bytes, as curl's server does."""


@dataclass
class Seen:
    """One request as it came over the wire."""

    method: str
    target: str
    version: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    whole: bool = True

    def header(self, name: str) -> str | None:
        """The first header of that name."""
        return next((value for known, value in self.headers if known.lower() == name), None)


@dataclass
class Canned:
    """The server of one case; `seen` is filled while it runs."""

    case: Case
    seen: list[Seen] = field(default_factory=list)
    _serving: set[asyncio.Task[None]] = field(default_factory=set)
    _bounced: tuple[int, bool] = (0, False)

    async def close(self) -> None:
        """End the connections that are still open."""
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._converse(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, OSError):
                await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self._answer(reader, writer):
                pass

    def _commands(self) -> str:
        return self.case.text("servercmd")

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        request = parse_head(head)
        self.seen.append(request)
        commands = self._commands()
        authorized = any(name.lower().endswith("authorization") for name, _ in request.headers)
        if "auth_required" not in commands or authorized:
            await self._read_body(reader, request)
        elif request.header("content-length") not in (None, "0"):
            request.whole = False
        if re.search(r"^idle", commands, re.MULTILINE):
            await asyncio.sleep(30)
            return False
        answer = self._choose(request)
        if answer is None:
            return False
        delay = re.search(r"writedelay: (\d+)", commands)
        for start in range(0, len(answer), PIECE):
            writer.write(answer[start : start + PIECE])
            await writer.drain()
            await asyncio.sleep(int(delay[1]) / 1000 if delay else 0)
        if wait := re.search(r"wait (\d+)", self.case.text("postcmd")):
            await asyncio.sleep(int(wait[1]))
        if not request.whole:
            # What is still on its way must not reset the connection before the answer is read.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(-1), 0.2)
            return False
        closes = b"swsclose" in answer or not answer or "swsclose" in commands
        asked = (request.header("connection") or "").lower() == "close"
        return not closes and not asked and request.version != "HTTP/1.0"

    async def _read_body(self, reader: asyncio.StreamReader, request: Seen) -> None:
        if (request.header("transfer-encoding") or "").lower() == "chunked":
            while size := int((await reader.readline()).split(b";")[0], 16):
                request.body += await reader.readexactly(size)
                await reader.readexactly(2)
            while (await reader.readline()).strip():
                pass
        elif length := int(request.header("content-length") or 0):
            skip = re.search(r"skip: (\d+)", self._commands())
            wanted = length - (int(skip[1]) if skip else 0)
            request.body = await reader.readexactly(max(wanted, 0))
            request.whole = not skip

    def _choose(self, request: Seen) -> bytes | None:
        number = re.match(r"\d+", request.target.rpartition("/")[2])
        part = int(number[0]) % 10_000 if number and int(number[0]) > 10_000 else 0
        credentials = " ".join(
            value for name, value in request.headers if name.lower().endswith("authorization")
        )
        if re.search(r"\bDigest ", credentials):
            part += 1000
        elif part >= 1000 and "Basic " in credentials:
            part += 1
        if self._bounced == (part, True):
            part += 1
        section = "connect" if request.method == "CONNECT" else "data"
        answer = self.case.body(f"{section}{part}" if part else section)
        self._bounced = (part, answer is not None and b"swsbounce" in answer)
        return answer


def parse_head(head: bytes) -> Seen:
    """The request line and the headers; both kinds of newline are taken."""
    lines = re.split(r"\r?\n", head.decode("latin-1").rstrip("\r\n"))
    method, _, rest = lines[0].partition(" ")
    target, _, version = rest.rpartition(" ")
    headers = []
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers.append((name, value.strip()))
    return Seen(method, target, version, headers)

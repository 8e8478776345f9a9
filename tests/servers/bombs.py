"""Bodies of ten virtual gigabytes of zeros, made while they are sent, in every coding.

Path: /STATUS/CODINGS/MEGABYTES?LOCATION, where CODINGS is joined by "+" in the order in which they
were applied. A bomb is a short prefix and a block that may be repeated for ever, so that making
it costs nothing: DEFLATE blocks ended by a full flush, zstd's RLE blocks, and a brotli stream
whose encoder fell into a period. Outer codings compress that inner stream with zlib, zstd's raw
blocks or brotli's uncompressed ones. `/stats` tells how many bytes each answer got rid of.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Iterator
from itertools import islice
from urllib.parse import unquote

import stdin

MEGABYTE = 1 << 20
sent: dict[str, int] = {}

# brotli 1.2's encoder at quality 5 on zeros: every 101 bytes are 64 MiB (RFC 7932 §9.2).
BROTLI_START = bytes.fromhex("cbffff3f002400e2b14072")
BROTLI_BLOCK = bytes.fromhex(
    "effff8ffff078004401c1680eefd1fffffff00900088c302d0bdffe3ffff1f001200715800baf77ffcffff034002"
    "200e0b40f7fe8fffff7f004800c46101e8defff1ffff0f000980382c00ddfb3ffeffff012001108705a07bffc7ff"
    "ff3f002400e2b00074"
)


def deflate_block() -> bytes:
    """4 MiB of zeros that refer to nothing before them and end on a byte."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(bytes(4 * MEGABYTE)) + packer.flush(zlib.Z_FULL_FLUSH)


def deflated(start: bytes, megabytes: int) -> Iterator[bytes]:
    yield start
    block = deflate_block()
    for _ in range(megabytes // 4):
        yield block


def zstd(megabytes: int) -> Iterator[bytes]:
    """RLE blocks of 128 KiB, four bytes each, in a window of 1 MiB (RFC 8878 §3.1.1)."""
    yield b"\x28\xb5\x2f\xfd\x00\x50"
    block = ((1 << 17) << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
    for _ in range(megabytes):
        yield block * 8
    yield b"\x01\0\0"


def brotli(megabytes: int) -> Iterator[bytes]:
    yield BROTLI_START
    for _ in range(megabytes // 64):
        yield BROTLI_BLOCK


ZEROS = {
    "gzip": lambda size: deflated(b"\x1f\x8b\x08\0\0\0\0\0\0\x03", size),
    "x-gzip": lambda size: deflated(b"\x1f\x8b\x08\0\0\0\0\0\0\x03", size),
    "deflate": lambda size: deflated(b"\x78\x9c", size),
    "raw-deflate": lambda size: deflated(b"", size),
    "br": brotli,
    "zstd": zstd,
}


def pack(coding: str, parts: Iterator[bytes]) -> Iterator[bytes]:
    """Another coding around `parts`."""
    if coding in {"gzip", "x-gzip", "deflate"}:
        packer = zlib.compressobj(9, zlib.DEFLATED, 15 if coding == "deflate" else 31)
        for part in parts:
            yield packer.compress(part)
        yield packer.flush()
    elif coding == "zstd":
        yield b"\x28\xb5\x2f\xfd\x00\x50"
        for part in parts:
            for start in range(0, len(part), MEGABYTE // 8):
                piece = part[start : start + MEGABYTE // 8]
                yield (len(piece) << 3).to_bytes(3, "little") + piece
        yield b"\x01\0\0"
    else:
        # A window of 64 KiB, then uncompressed meta-blocks of whole bytes: one zero bit (not the
        # last), two for the number of nibbles, MLEN - 1, one bit "uncompressed" (RFC 7932 §9.2).
        head, bits = 0, 1  # WBITS = 16 is a single zero bit
        for part in parts:
            for start in range(0, len(part), 1 << 16):
                piece = part[start : start + (1 << 16)]
                head |= (len(piece) - 1) << (bits + 3) | 1 << (bits + 19)
                yield head.to_bytes((bits + 20 + 7) // 8, "little") + piece
                head, bits = 0, 0
        yield b"\x03"


def bomb(codings: list[str], megabytes: int) -> Iterator[bytes]:
    parts = ZEROS[codings[0]](megabytes)
    for coding in codings[1:]:
        parts = pack(coding, parts)
    return parts


def legitimate(megabytes: int) -> Iterator[bytes]:
    """gzip as an honest server makes it: whole, with its checksum, of ratio 1,000."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    for _ in range(megabytes):
        yield packer.compress(bytes(MEGABYTE))
    yield packer.flush()


async def answer(target: str, out: asyncio.StreamWriter) -> None:
    path, _, query = target.partition("?")
    _, status, names, megabytes = path.split("/")
    codings = names.split("+")
    shown = ", ".join(codings).replace("raw-deflate", "deflate")
    if codings == ["honest"]:
        parts, shown = legitimate(int(megabytes)), "gzip"
    else:
        parts = bomb(codings, int(megabytes))
    location = f"location: {unquote(query)}\r\n" if query else ""
    out.write(
        f"HTTP/1.1 {status} Whatever\r\ncontent-encoding: {shown}\r\n{location}"
        "transfer-encoding: chunked\r\n\r\n".encode()
    )
    sent[path] = 0
    # Joined to pieces of about 64 KiB: what matters is the decoded side.
    pieces = filter(None, parts)
    while part := b"".join(islice(pieces, 16)):
        out.write(b"%x\r\n%b\r\n" % (len(part), part))
        await out.drain()
        sent[path] += len(part)
    out.write(b"0\r\n\r\n")


async def serve(reader: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            target = head.split(b" ")[1].decode()
            if target in {"/stats", "/own"}:
                body = json.dumps(sent).encode() if target == "/stats" else b"own"
                out.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
            else:
                await answer(target, out)
            await out.drain()
    except (asyncio.IncompleteReadError, OSError):
        pass
    finally:
        out.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=512)
    await stdin.listening(server.sockets[0].getsockname()[1]).wait()


if __name__ == "__main__":
    asyncio.run(main())

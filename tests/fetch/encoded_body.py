"""Bodies as they would be sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from offloop._content import Encoded

HOSTILE = ["\r", "\n", "\r\n", "\u010a", "\u2028", '"', "\\", "; ", "--", "ä", "%0A"]


async def drain(source: AsyncIterator[bytes] | None) -> list[bytes]:
    assert source is not None
    return [chunk async for chunk in source]


def body(encoded: Encoded) -> bytes:
    """The bytes that would be sent; their number is checked."""
    if encoded.source is None:
        pieces = [
            piece.read_bytes() if isinstance(piece, Path) else piece for piece in encoded.pieces
        ]
    else:
        assert encoded.pieces == []
        pieces = asyncio.run(drain(encoded.source))
        assert all(pieces)
    whole = b"".join(pieces)
    if encoded.length is not None:
        assert len(whole) == encoded.length
    return whole

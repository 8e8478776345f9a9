"""Download several files into a folder: each is whole, or not there.

usage: python downloads.py [URL ...] (without any: five from a server of its own)
"""

import asyncio
import sys
import tempfile
from collections import Counter

import offloop
from offloop.testing import MockRouter

URLS = [f"https://files.example/{name}" for name in ("one", "two", "three", "four", "missing")]


async def download(client: offloop.Client, urls: list[str], folder: str) -> None:
    """Download all of them, two at a time of each host, and say what became of each."""
    failed = Counter[str]()
    saved = 0
    async with client:
        async for got in client.downloads(urls, folder, per_host=2, checksum="sha256"):
            if got.saved is None:
                failed[type(got.error).__name__] += 1
            else:
                saved += 1
                print(f"{got.saved.path.name}: {got.saved.bytes:,} bytes, {got.saved.checksum}")
    print(f"{saved} saved, {failed.total()} failed ({', '.join(failed)})")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place, MockRouter() as router:
        if len(sys.argv) > 1:
            asyncio.run(download(offloop.Client(), sys.argv[1:], place))
        else:
            router.get("/missing").respond(404)
            router.get("*").respond(content=b"offloop " * 100_000)
            asyncio.run(download(router.client(), URLS, place))

"""Break a download off, and go on where it broke off: the file is whole or not there.

usage: python resume_download.py (the server is its own)
"""

import asyncio
import hashlib
import tempfile
from pathlib import Path

import offloop
from offloop.testing import MockRequest, MockRouter, Reply

BODY = b"".join(b"%07d\n" % number for number in range(2_000_000))
DIGEST = hashlib.sha256(BODY).hexdigest()


def serve(request: MockRequest) -> Reply:
    """Answer as a server with ranges and a strong ETag; the first answer breaks off."""
    kept = {"etag": '"v1"', "accept-ranges": "bytes"}
    begin = int(request.headers.get("range", "bytes=0-").removeprefix("bytes=").split("-")[0])
    if begin == 0:
        announced = {"content-length": str(len(BODY))}
        return Reply(200, content=BODY[: 12 * 2**20], headers=kept | announced)
    kept["content-range"] = f"bytes {begin}-{len(BODY) - 1}/{len(BODY)}"
    return Reply(206, content=BODY[begin:], headers=kept)


async def main(folder: Path) -> None:
    """Lose the connection, then ask for what is missing."""
    path = folder / "numbers.txt"
    async with MockRouter() as router, router.client() as client:
        router.get("/numbers").handle(serve)
        url = "https://files.example/numbers"
        try:
            await client.download(url, path)
        except offloop.FetchError as error:
            there = sorted([entry.name async for entry in offloop.scandir(folder)])
            print(f"{type(error).__name__}; on the disk: {', '.join(there)}")
        saved = await client.download(url, path, checksum=f"sha256:{DIGEST}")
        print(f"{saved.bytes:,} bytes, resumed: {saved.resumed_from > 0}")
        print(f"asked for {router.calls[-1].headers['range'].partition('=')[0]} only")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        asyncio.run(main(Path(temporary)))

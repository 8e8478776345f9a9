"""Stream a body to a file, with progress on one line and memory that stays small.

usage: python download.py [URL] (without one: 20 MB from a server of its own)
"""

import asyncio
import sys
import tempfile
from pathlib import Path

import offloop
from offloop.testing import MockRouter


async def download(client: offloop.Client, url: str, path: Path) -> None:
    """Save the body at `url` as `path`; what is there after a failure is removed."""
    async with client.stream("GET", url) as response:
        response.raise_for_status()
        announced = int(response.headers.get("content-length", "0"))
        try:
            with path.open("wb") as file:
                async for chunk in response.aiter_bytes(1 << 20):
                    # A local disk is quick; for a slow one: await offloop.run(file.write, chunk)
                    file.write(chunk)
                    show(response.num_bytes_downloaded, announced)
        except BaseException:  # a cancellation, too
            path.unlink()  # noqa: ASYNC240 - short, and the file is open no longer
            raise
    print()


def show(received: int, announced: int) -> None:
    """Print how far it has got, over what was printed before."""
    # num_bytes_downloaded counts what came over the wire, as Content-Length does.
    share = f"{received / announced:4.0%} of " if announced else ""
    print(f"\r{share}{max(received, announced):,} bytes", end="", flush=True)


async def fetch_one(client: offloop.Client, url: str, path: Path) -> None:
    """Download one URL, and close the client."""
    async with client:
        await download(client, url, path)


def main(urls: list[str]) -> None:
    """Download into a folder that goes away again."""
    with tempfile.TemporaryDirectory() as folder, MockRouter() as router:
        path = Path(folder, "body")
        if urls:
            asyncio.run(fetch_one(offloop.Client(), urls[0], path))
        else:
            router.get("/big").respond(content=b"offloop " * 2_500_000)
            asyncio.run(fetch_one(router.client(), "https://files.example/big", path))
        print(f"{path.stat().st_size:,} bytes saved")


if __name__ == "__main__":
    try:
        main(sys.argv[1:2])
    except offloop.OffloopError as error:
        sys.exit(f"{type(error).__name__}: {error}")

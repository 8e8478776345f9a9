"""Run downloads of blocking code together; one that fails does no harm to the others.

usage: python offload_blocking.py URL URL URL (three, or as many as you like)
"""

import asyncio
import sys
import tempfile
import urllib.request
from pathlib import Path

import offloop


def download(url: str, path: Path) -> int:
    """Save the body at `url` as `path` and return its size. Blocks, as urllib does."""
    with urllib.request.urlopen(url, timeout=30) as response:
        return path.write_bytes(response.read())


async def main(urls: list[str]) -> None:
    """Download `urls` in worker threads while the event loop stays free."""
    with tempfile.TemporaryDirectory() as folder:
        outcomes = await asyncio.gather(
            *(offloop.run(download, url, Path(folder, str(n))) for n, url in enumerate(urls)),
            return_exceptions=True,
        )
    for url, outcome in zip(urls, outcomes, strict=True):
        if isinstance(outcome, BaseException):
            print(f"{url}: {type(outcome).__name__}: {outcome}")
        else:
            print(f"{url}: {outcome:,} bytes")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.exit("usage: python offload_blocking.py URL URL URL")
    asyncio.run(main(sys.argv[1:]))

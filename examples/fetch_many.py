"""Fetch all URLs of the command line together, and print the status and the size of each.

usage: python fetch_many.py URL [URL ...]
"""

import asyncio
import sys

import offloop


async def main(urls: list[str]) -> None:
    """Fetch `urls` with one client, so that connections to the same host are shared."""
    async with offloop.Client(timeout=30) as client:
        responses = await asyncio.gather(*(client.get(url) for url in urls))
    for response in responses:
        print(f"{response.status_code}  {len(response.content):>12,} bytes  {response.url}")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.exit("usage: python fetch_many.py URL [URL ...]")
    try:
        asyncio.run(main(sys.argv[1:]))
    except offloop.OffloopError as error:
        sys.exit(f"{type(error).__name__}: {error}")

"""One download in a process of its own, to be killed: URL TARGET CONNECTIONS."""

from __future__ import annotations

import asyncio
import sys

import offloop


async def main() -> None:
    url, target, connections = sys.argv[1:]
    download = offloop.download  # it is loaded here
    print("ready", flush=True)
    saved = await download(url, target, connections=int(connections), min_part=64 * 1024)
    print(saved.resumed_from, saved.bytes, flush=True)


asyncio.run(main())

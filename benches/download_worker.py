"""One download in a process of its own, for the section `download`: how long, and how much CPU.

usage: download_worker.py CORE URL TARGET CONNECTIONS
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time

import measure
import offloop


async def main(url: str, target: str, connections: int) -> float:
    """Download; give the seconds it took."""
    began = time.perf_counter()
    async with offloop.Client(timeout=None) as client:
        await client.download(url, target, overwrite=True, connections=connections)
    return time.perf_counter() - began


if __name__ == "__main__":
    core, url, target, connections = sys.argv[1:]
    measure.pin(None if core == "-" else int(core))
    seconds = asyncio.run(main(url, target, int(connections)))
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "seconds": seconds,
                "cpu": used.ru_utime + used.ru_stime,
                "rss": measure.peak_rss_mib(),
            }
        )
    )

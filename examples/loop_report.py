"""Watch a program that blocks its loop, and write a page with its timeline.

usage: python loop_report.py [FILE]
"""

import asyncio
import logging
import sys
import tempfile
import time
from pathlib import Path

import offloop


async def serve_customers() -> None:
    """Do ten things at once, most of them well."""
    await asyncio.gather(*(offloop.run(time.sleep, 0.1) for _ in range(10)))
    time.sleep(0.3)  # noqa: ASYNC251 - the mistake that is to be found
    await asyncio.sleep(0.05)


async def main(path: Path) -> None:
    """Watch it, and say what was found."""
    with offloop.watch(threshold=0.1) as health:
        await asyncio.sleep(0.05)
        await serve_customers()
    await offloop.run(health.report, path)
    numbers = health.stats()
    print(f"{numbers.stalls} stall, at work {numbers.utilisation:.0%} of the time")
    for stall in health.stalls:
        print(f"{Path(stall.file or '?').name}:{stall.line} {stall.reason}: {stall.mend}")
    print(f"written: {path.name}")


if __name__ == "__main__":
    logging.getLogger("offloop.watch").setLevel(logging.ERROR)  # the report says it better
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder, "loop.html")))

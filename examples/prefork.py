"""Servers that fork: import before the fork, make clients and pools after it.

usage: python prefork.py (POSIX)
"""

import asyncio
import os
import sys

import offloop
from offloop.testing import MockRouter


async def name_of(client: offloop.Client, number: int) -> str:
    """Fetch a name: what a worker does."""
    response = await client.get(f"https://users.example/{number}")
    name: str = response.json()["name"]
    return name


def worker(number: int) -> None:
    """Make everything anew: nothing of the parent's is used."""
    with MockRouter() as router:
        router.get("https://users.example/{n}").respond(json={"name": f"user {number}"})
        print(asyncio.run(name_of(router.client(), number)), flush=True)


def main() -> None:
    """Fork two workers, then use offloop, then fork one that is told no."""
    for number in (1, 2):
        if os.fork() == 0:
            worker(number)
            os._exit(0)
        os.wait()

    asyncio.run(offloop.run(abs, -1))  # from here on this process has threads of offloop's
    if os.fork() == 0:
        try:
            asyncio.run(offloop.run(abs, -1))
        except offloop.ForkedProcessError as error:
            print(f"ForkedProcessError: {error}", flush=True)
        os._exit(0)
    os.wait()


if __name__ == "__main__":
    if not hasattr(os, "fork"):
        sys.exit("this system has no fork")
    main()

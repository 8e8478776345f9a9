"""What run_in_executor needs a page for: keywords, context, errors, a limit, a timeout.

usage: python executor.py
"""

import asyncio
import contextvars
import functools
import time

import offloop

user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")


def describe(*, greeting: str) -> str:
    """Block for a moment, and use what the caller set."""
    time.sleep(0.05)
    return f"{greeting}, {user.get()}"


def fail() -> None:
    """Raise, as functions do."""
    raise LookupError("no such row")


async def main() -> None:
    """Do the same by hand and with offloop."""
    user.set("Ada")
    loop = asyncio.get_running_loop()
    by_hand = await loop.run_in_executor(None, functools.partial(describe, greeting="hello"))
    print(f"run_in_executor: {by_hand}")  # context variables stay behind
    print(f"offloop.run:     {await offloop.run(describe, greeting='hello')}")

    try:
        await offloop.run(fail)
    except LookupError as error:  # the function's own exception, with its traceback
        print(f"{type(error).__name__}: {error}")

    async with offloop.Pool("database", limit=2) as database:
        hurried = database.view(timeout=0.1, on_cancel="abandon")
        try:
            await hurried.run(time.sleep, 1)
        except offloop.JobTimeout as error:
            print(f"JobTimeout after {error.queued + error.ran:.1f} s")


if __name__ == "__main__":
    asyncio.run(main())

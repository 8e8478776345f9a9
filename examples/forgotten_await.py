"""A Job that nobody awaits does nothing, and Python says so.

usage: python forgotten_await.py
"""

import asyncio
import warnings

from offloop.testing import MockRouter


async def main() -> None:
    """Forget an await, then start a request without waiting for it."""
    async with MockRouter() as router, router.client() as client:
        page = router.get("/page").respond(text="hello")

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            job = client.get("https://shop.example/page?token=secret")  # no await
            del job
        print(f"{page.call_count} requests; {caught[0].message}")

        future = client.get("https://shop.example/page").start()  # begins now
        await asyncio.sleep(0)  # something else meanwhile
        print(f"{(await future).text}; {page.call_count} request")


if __name__ == "__main__":
    asyncio.run(main())

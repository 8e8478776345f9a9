"""A crawler ported from aiohttp, line by line: docs/how-to/coming-from.md has the table.

usage: python crawl.py [URL] (without one: a site of its own)
"""

import asyncio
import re
import sys
from urllib.parse import urljoin, urlsplit

import offloop
from offloop.testing import MockRequest, MockRouter, Reply

GONE = 10
LINK = re.compile(r'href="([^"#]+)"')


async def crawl(client: offloop.Client, start: str, most: int = 100, workers: int = 5) -> list[str]:
    """Return the pages of the site of `start` that answered, in the order of their answers."""
    queue: asyncio.Queue[str] = asyncio.Queue()
    queue.put_nowait(start)
    seen, done = {start}, []

    async def work() -> None:
        while True:
            url = await queue.get()
            try:
                response = await client.get(url)
                response.raise_for_status()
                done.append(url)
                for link in LINK.findall(response.text):
                    found = urljoin(url, link)
                    same = urlsplit(found).netloc == urlsplit(start).netloc
                    if same and found not in seen and len(seen) < most:
                        seen.add(found)
                        queue.put_nowait(found)
            except offloop.FetchError as error:
                print(f"{url}: {type(error).__name__}")
            finally:
                queue.task_done()

    tasks = [asyncio.create_task(work()) for _ in range(workers)]
    await queue.join()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return done


def page(request: MockRequest) -> Reply:
    """Answer as a site of ten pages, each of which links to two others, and one that is gone."""
    number = int(request.path_params["n"])
    links = (f'<a href="/{(number * k + 1) % 11}">' for k in (2, 3))
    return Reply(404) if number == GONE else Reply(200, text="".join(links))


async def main(urls: list[str]) -> None:
    """Crawl, and say how much there was."""
    if urls:
        async with offloop.Client(timeout=30) as client:
            done = await crawl(client, urls[0])
    else:
        async with MockRouter() as router, router.client() as client:
            router.get("https://site.example/{n}").handle(page)
            done = await crawl(client, "https://site.example/0")
    print(f"{len(done)} pages")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:2]))

"""One client for a FastAPI application, calls that block kept off its loop, and its test.

needs: fastapi
usage: python fastapi_app.py (it tests itself), or: uvicorn fastapi_app:app
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from fastapi import FastAPI, Request

import offloop
from offloop.testing import ASGITransport, MockRouter


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Make the client when the application starts, unless a test has brought one."""
    app.state.client = getattr(app.state, "client", None) or offloop.Client(timeout=5)
    async with app.state.client:
        yield


app = FastAPI(lifespan=lifespan)


def slow_query(number: int) -> int:
    """Block, as a driver without async does."""
    time.sleep(0.05)
    return number * 100


@app.get("/orders/{number}")
async def order(number: int, request: Request) -> dict[str, object]:
    """Ask another service and the database at once."""
    client: offloop.Client = request.app.state.client
    user, total = await asyncio.gather(
        client.get(f"https://users.example/{number}"), offloop.run(slow_query, number)
    )
    return {"name": user.raise_for_status().json()["name"], "total": total}


async def main() -> None:
    """Test the application with no port, and with a mock in the place of the other service."""
    async with MockRouter() as router:
        router.get("https://users.example/{n}").respond(json={"name": "Ada"})
        app.state.client = router.client()
        async with ASGITransport(app) as transport, offloop.Client(transport=transport) as tests:
            response = await tests.get("http://app/orders/7")
    print(response.status_code, response.text)


if __name__ == "__main__":
    asyncio.run(main())

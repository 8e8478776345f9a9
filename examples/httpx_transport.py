"""Code that uses httpx, unchanged but for one argument.

needs: httpx
usage: python httpx_transport.py
"""

import asyncio

import httpx

import offloop.httpx
from offloop.testing import MockRouter


async def program(client: httpx.AsyncClient) -> None:
    """Use httpx as httpx is used."""
    response = await client.get("/users/7", params={"full": "yes"})
    response.raise_for_status()
    print(type(response).__module__, response.json()["name"])
    async with client.stream("GET", "/lines") as streamed:
        print([line async for line in streamed.aiter_lines()])
    try:
        await client.get("/gone", timeout=0.2)
    except httpx.ReadTimeout as error:  # httpx's own; the cause tells more
        print(f"httpx.{type(error).__name__} from offloop.{type(error.__cause__).__name__}")


async def main() -> None:
    """Send what httpx sends through a client of offloop's."""
    async with MockRouter() as router:
        router.get("/users/{id}").respond(json={"name": "Ada"})
        router.get("/lines").respond(text="one\ntwo\n")
        router.get("/gone").stall()
        transport = offloop.httpx.Transport(client=router.client())
        async with httpx.AsyncClient(transport=transport, base_url="http://api.example") as client:
            await program(client)


if __name__ == "__main__":
    asyncio.run(main())

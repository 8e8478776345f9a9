"""Post a form with a file; the file is read while it is sent, so its size does not matter.

usage: python upload_form.py [FILE] (without one: 10 MB; the server is always its own)
"""

import asyncio
import sys
import tempfile
from pathlib import Path

import offloop
from offloop.testing import MockRequest, MockRouter, Reply


def receive(request: MockRequest) -> Reply:
    """Answer as a server that has taken the form."""
    kind, _, _ = request.headers["content-type"].partition(";")
    return Reply(201, json={"type": kind, "bytes": len(request.content)})


async def upload(client: offloop.Client, path: Path) -> None:
    """Send `path` as the file of a form, and say what the server made of it."""
    response = await client.post(
        "/reports",
        data={"title": "May", "tag": "draft"},
        files={"report": path},  # or ("name.csv", content, "text/csv"); any number of them
        # A path can be read again, so a POST that is safe to repeat may be retried.
        retries=offloop.Retry(attempts=2, methods=["POST"]),
    )
    response.raise_for_status()
    print(f"{path.name} went out in a form: {response.status_code} {response.json()}")


async def send_one(client: offloop.Client, path: Path) -> None:
    """Upload one file, and close the client."""
    async with client:
        await upload(client, path)


def main(paths: list[str]) -> None:
    """Start the server, and upload one file to it."""
    with MockRouter() as router, tempfile.TemporaryDirectory() as folder:
        router.post("/reports").handle(receive)
        path = Path(paths[0] if paths else Path(folder, "report.csv"))
        if not paths:
            path.write_bytes(b"2026-05-01,42\n" * 750_000)
        asyncio.run(send_one(router.client(base_url="https://api.example"), path))


if __name__ == "__main__":
    try:
        main(sys.argv[1:2])
    except (offloop.OffloopError, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")

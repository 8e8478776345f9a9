"""Read and write files without blocking the loop: one trip to a thread for each operation.

usage: python files.py
"""

import asyncio
import tempfile
from pathlib import Path

import offloop


async def main(folder: Path) -> None:
    """Write, append, read, go through lines, hash, walk."""
    report = folder / "report.csv"
    await offloop.write_text(report, "day,count\n")  # atomic: old content or new, never half
    await offloop.append(report, "".join(f"{day},{day * day}\n" for day in range(1, 1001)).encode())

    total = 0
    async for line in offloop.read_lines(report):
        day, _, count = line.partition(",")
        if day.isdigit():
            total += int(count)
    print(f"the sum is {total:,}")

    async with offloop.open(report) as file:  # as aiofiles has it, and as open has it
        print("it begins with", (await file.readline()).strip())

    digest = await offloop.hash_file(report, "sha256")
    await offloop.copy(report, folder / "copy.csv")
    print("equal:", digest == await offloop.hash_file(folder / "copy.csv", "sha256"))
    found = sorted([entry.name async for entry in offloop.scandir(folder)])
    print("there are", ", ".join(found))

    try:
        await offloop.read_bytes(folder / "missing")
    except FileNotFoundError as error:  # the builtin's own, with errno and filename
        print(f"{Path(error.filename).name}: {error.strerror}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        asyncio.run(main(Path(temporary)))

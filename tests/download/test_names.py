"""Names that URLs and servers choose: in the folder and harmless, or refused."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

import offloop
from servers import Server
from servers.ranges import content

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform == "win32", reason="the names are those of POSIX"),
]

TRICKS = [
    "..",
    ".",
    "/",
    "//",
    "../",
    "..\\",
    "../../etc/passwd",
    "..\\..\\boot.ini",
    "/etc/passwd",
    "\\\\server\\share\\x",
    "C:\\x",
    ".bashrc",
    ".ssh/authorized_keys",
    "...",
    "....",
    "a/..",
    "a/../..",
    "\x00",
    "a\x00b",
    "a\nb",
    "a\rb",
    "a\tb",
    "\x1b[2J",
    "\x7f",
    "\x85",
    "a\u202egpj.exe",
    "a\u2066b",
    "a\u200bb",
    "\ufeffa",
    "a\u2028b",
    "con",
    "CON.txt",
    "nul",
    "aux.c",
    "com1",
    "LPT9.log",
    "com¹",
    "conin$",
    "a.",
    "a ",
    " ",
    ". ",
    "n" * 256,
    "n" * 5000,
    "ü" * 200,
    "~/x",
    "$HOME",
    "`id`",
    "a;b",
    "-rf",
    "*",
    "a\u00adb",
]

HOSTILE = [
    *TRICKS,
    *(f"{first}/{second}" for first, second in itertools.product(TRICKS[:12], TRICKS[:12])),
    *(f"{trick}.txt" for trick in TRICKS[:20]),
]


def is_inside(path: Path, folder: Path) -> bool:
    return path.parent == folder and path.name not in (".", "..")


def everything_in(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


async def outcome(url: str, folder: Path, **options: bool) -> offloop.Saved | Exception:
    try:
        return await offloop.download(url, folder, timeout=30, **options)  # type: ignore[arg-type]
    except (offloop.OffloopError, OSError) as error:
        return error


def test_no_name_in_a_url_leads_out_of_the_folder(ranges: Server, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    assert len(HOSTILE) >= 200

    async def main() -> None:
        for name in HOSTILE:
            url = f"{ranges.url}/honest/10/{quote(name, safe='')}"
            got = await outcome(url, folder)
            if isinstance(got, offloop.Saved):
                assert is_inside(got.path, folder), name
                assert got.path.name == name
                assert got.path.read_bytes() == content(10)
                got.path.unlink()
            else:
                assert isinstance(got, offloop.UnsafeFilename | offloop.InvalidURL), (name, got)
            assert everything_in(tmp_path) == {folder}, name

    asyncio.run(main())


@pytest.mark.parametrize("form", ["quoted", "extended"])
def test_no_name_of_a_server_leads_out_of_the_folder(
    ranges: Server, tmp_path: Path, form: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    async def main() -> int:
        saved = 0
        for name in HOSTILE:
            if form == "extended":
                field = "attachment; filename*=UTF-8''" + quote(name, safe="")
            else:
                escaped = name.replace("\\", "\\\\").replace('"', '\\"')
                plain = "".join(letter for letter in escaped if letter >= " " and letter != "\x7f")
                field = f'attachment; filename="{plain}"'
            if len(field) > 8000:
                continue
            url = f"{ranges.url}/honest/10/fallback?disposition={quote(field, safe='')}"
            got = await outcome(url, folder, server_name=True)
            if isinstance(got, offloop.Saved):
                saved += 1
                assert is_inside(got.path, folder), name
                assert not got.path.name.startswith("."), name
                assert got.path.name.isprintable(), name
                assert len(os.fsencode(got.path.name)) <= 255, name
                assert got.path.read_bytes() == content(10)
                got.path.unlink()
            else:
                assert isinstance(got, offloop.UnsafeFilename), (name, got)
            assert everything_in(tmp_path) == {folder}, name
        return saved

    assert asyncio.run(main()) > 100


def test_the_name_of_the_server_is_taken_only_when_asked(ranges: Server, tmp_path: Path) -> None:
    field = quote('attachment; filename="theirs.bin"', safe="")
    url = f"{ranges.url}/honest/10/ours.bin?disposition={field}"
    got = asyncio.run(outcome(url, tmp_path))
    assert isinstance(got, offloop.Saved)
    assert got.path.name == "ours.bin"
    got = asyncio.run(outcome(url, tmp_path, server_name=True))
    assert isinstance(got, offloop.Saved)
    assert got.path.name == "theirs.bin"


def test_a_redirect_does_not_choose_the_name(
    server: Server, ranges: Server, tmp_path: Path
) -> None:
    there = quote(f"{ranges.url}/honest/10/evil", safe="")
    got = asyncio.run(outcome(f"{server.url}/to/302?{there}", tmp_path))
    assert isinstance(got, offloop.Saved)
    assert got.path.name == "302", "as the URL that was asked for ends"


def test_a_name_of_255_bytes_leaves_room_for_its_part(ranges: Server, tmp_path: Path) -> None:
    name = "n" * 251 + ".bin"
    url = f"{ranges.url}/honest/100000/{name}?cut=50000&cuts=1"
    assert isinstance(asyncio.run(outcome(url, tmp_path)), offloop.TruncatedBody)
    got = asyncio.run(outcome(url, tmp_path))
    assert isinstance(got, offloop.Saved)
    assert got.path.name == name
    assert got.resumed_from == 50_000
    assert os.listdir(tmp_path) == [name]

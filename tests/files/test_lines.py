"""The last lines of a text, and folders that change or may not be read."""

from __future__ import annotations

import os

import pytest

import offloop


async def awaited(job):
    return await job


TEXTS = [
    b"",
    b"\n",
    b"one",
    b"one\n",
    b"one\ntwo",
    b"one\r\ntwo\r\n",
    b"one\rtwo\rthree",
    b"\r\n\r\n\n\r\r",
    b"x" * 70_000 + b"\r\n" + b"y" * 65_535 + b"\r\nend\r\n",
    "\ufeffgr\u00fc\u00dfe\n\ufeffend\n".encode(),
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "shift_jis"])
def test_the_last_lines_are_those_that_open_would_give(run, tmp_path, text, encoding):
    (tmp_path / "file").write_bytes(text)
    with open(tmp_path / "file", encoding=encoding, errors="replace") as file:
        expected = list(file)
    for count in (0, 1, 2, 3, 100):
        got = run(awaited(offloop.tail(tmp_path / "file", count, encoding, "replace")))
        assert got == (expected[-count:] if count else [])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "cp037", "cp500"])
def test_lines_that_cannot_be_told_from_the_end_are_refused(run, tmp_path, encoding):
    (tmp_path / "file").write_text("one\ntwo\n", encoding=encoding)
    with pytest.raises(LookupError, match="cannot be told"):
        run(awaited(offloop.tail(tmp_path / "file", 1, encoding)))


def test_a_walk_is_that_of_os(run, tmp_path):
    for folder in ("a/b/c", "a/d", "e/f"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "file").touch()
    (tmp_path / "a" / "link").symlink_to(tmp_path / "e")
    (tmp_path / "a" / "broken").symlink_to("none")
    os.mkfifo(tmp_path / "pipe")

    async def main(path, follow):
        return [step async for step in offloop.walk(path, follow_links=follow)]

    for path in (tmp_path, str(tmp_path), os.fsencode(tmp_path)):
        for follow in (False, True):
            assert run(main(path, follow)) == list(os.walk(path, followlinks=follow))


def test_what_is_taken_out_of_the_list_is_not_gone_into(run, tmp_path):
    """Also where it is in a batch that was on its way when it was taken out."""
    for number in range(60):
        for inner in ("kept", "left", "left/deeper"):
            (tmp_path / f"{number:02}" / inner).mkdir(parents=True)
            for name in range(40):
                (tmp_path / f"{number:02}" / inner / str(name)).touch()

    async def main():
        found = []
        async for path, folders, _ in offloop.walk(tmp_path):
            found.append(path)
            if "left" in folders:
                folders.remove("left")
        return found

    expected = []
    for path, folders, _ in os.walk(tmp_path):
        expected.append(path)
        if "left" in folders:
            folders.remove("left")
    assert run(main()) == expected


def test_a_folder_that_cannot_be_listed_is_told_and_passed_over(run, tmp_path):
    (tmp_path / "file").touch()
    told = []

    async def main(path):
        return [step async for step in offloop.walk(path, on_error=told.append)]

    assert run(main(tmp_path / "none")) == []
    assert run(main(tmp_path / "file")) == []
    expected = []
    list(os.walk(tmp_path / "none", onerror=expected.append))
    list(os.walk(tmp_path / "file", onerror=expected.append))
    assert [(type(it), it.errno, it.filename) for it in told] == [
        (type(it), it.errno, str(it.filename)) for it in expected
    ]


def test_a_large_folder_comes_whole(run, tmp_path):
    names = {f"{number:05}" + "x" * (number % 200) for number in range(5000)}
    for name in names:
        (tmp_path / name).touch()

    async def main():
        return [entry.name async for entry in offloop.scandir(tmp_path)]

    found = run(main())
    assert len(found) == len(names)
    assert set(found) == names

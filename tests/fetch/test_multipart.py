"""Multipart forms: whatever names and contents there are, nothing breaks out of its part."""

from __future__ import annotations

import email.parser
import email.policy
import io
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from encoded_body import HOSTILE, body
from hypothesis import given
from hypothesis import strategies as st

import offloop
from offloop._content import Encoded, encode


def parts(encoded: Encoded) -> list[Any]:
    """The parts of a multipart body, as the standard library reads them."""
    assert encoded.content_type is not None
    whole = b"Content-Type: " + encoded.content_type.encode() + b"\r\n\r\n" + body(encoded)
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(whole)
    assert message.is_multipart()
    assert not message.defects
    return list(message.iter_parts())


def split(encoded: Encoded) -> list[tuple[bytes, bytes]]:
    """Head and content of each part, by nothing but the boundary."""
    assert encoded.content_type is not None
    boundary = encoded.content_type.partition("boundary=")[2].encode()
    first, *found, last = (b"\r\n" + body(encoded)).split(b"\r\n--" + boundary)
    assert (first, last) == (b"", b"--\r\n")
    heads_and_contents = []
    for each in found:
        head, gap, content = each.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        assert gap
        heads_and_contents.append((head, content))
    return heads_and_contents


def escaped(name: str) -> str:
    return name.replace("\n", "%0A").replace("\r", "%0D").replace('"', "%22")


NAMES = st.lists(st.sampled_from([*"ab.;=' ", *HOSTILE])).map("".join)
CONTENTS = st.binary() | st.sampled_from([b"\r\n", b"--", b"\r\n--x--\r\n", b"\n"])


@given(
    st.lists(st.tuples(NAMES, CONTENTS)),
    st.lists(st.tuples(NAMES, NAMES, CONTENTS), min_size=1),
    st.booleans(),
)
def test_no_name_and_no_content_breaks_out_of_its_part(
    fields: list[tuple[str, bytes]], files: list[tuple[str, str, bytes]], streamed: bool
) -> None:
    uploads = [
        (name, (filename, iter([content]) if streamed else content))
        for name, filename, content in files
    ]
    encoded = encode(data=fields, files=uploads)
    assert (encoded.source is not None) == streamed
    found = split(encoded)
    expected = [(name, None, content) for name, content in fields] + list(files)
    assert len(found) == len(expected)
    for (head, content), (name, filename, sent) in zip(found, expected, strict=True):
        assert content == sent
        first, *others = head.decode().split("\r\n")
        disposition = f'Content-Disposition: form-data; name="{escaped(name)}"'
        if filename is not None:
            disposition += f'; filename="{escaped(filename)}"'
        assert first == disposition
        assert [other.partition(":")[0] for other in others] == ["Content-Type"] * bool(
            filename is not None
        )


PLAIN = st.text(st.sampled_from("ab \t\r\n;=,.'%"), min_size=1)


@given(st.lists(st.tuples(PLAIN, PLAIN, CONTENTS), min_size=1))
def test_the_email_package_reads_a_multipart_form(files: list[tuple[str, str, bytes]]) -> None:
    uploads = [(name, (filename, content)) for name, filename, content in files]
    found = parts(encode(files=uploads))
    assert len(found) == len(files)
    for part, (name, filename, content) in zip(found, files, strict=True):
        disposition = part.get_all("content-disposition")
        assert len(disposition) == 1
        parameters = dict(part["content-disposition"].params)
        assert parameters == {"name": escaped(name), "filename": escaped(filename)}
        assert part.get_payload(decode=True) == content


def test_a_multipart_form_of_everything(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(b"PNG")
    with path.open("rb") as file:
        encoded = encode(
            data={"a": [1, None], "b": True},
            files=[
                ("raw", b"raw"),
                ("text", "grün"),
                ("path", path),
                ("file", file),
                ("tuple", ("x.json", b"{}")),
                ("typed", ("x", iter([b"t", b"yped"]), "text/x-own; charset=utf-8")),
                (
                    "headed",
                    ("x.txt", io.BytesIO(b"h"), None, {"X-Own": "ü", "content-type": "a/b"}),
                ),
                ("plain", (None, "a field")),
                ("odd", ("no.such-type", b"")),
                ("packed", ("x.json.gz", b"")),
            ],
        )
        assert encoded.length is None
        found = split(encoded)
    form = "Content-Disposition: form-data; "
    assert [(head.decode().split("\r\n"), content) for head, content in found] == [
        ([form + 'name="a"'], b"1"),
        ([form + 'name="a"'], b""),
        ([form + 'name="b"'], b"true"),
        (
            [form + 'name="raw"; filename="upload"', "Content-Type: application/octet-stream"],
            b"raw",
        ),
        (
            [form + 'name="text"; filename="upload"', "Content-Type: application/octet-stream"],
            "grün".encode(),
        ),
        ([form + 'name="path"; filename="photo.png"', "Content-Type: image/png"], b"PNG"),
        ([form + 'name="file"; filename="photo.png"', "Content-Type: image/png"], b"PNG"),
        ([form + 'name="tuple"; filename="x.json"', "Content-Type: application/json"], b"{}"),
        (
            [form + 'name="typed"; filename="x"', "Content-Type: text/x-own; charset=utf-8"],
            b"typed",
        ),
        (
            [form + 'name="headed"; filename="x.txt"', "X-Own: ü", "content-type: a/b"],
            b"h",
        ),
        ([form + 'name="plain"'], b"a field"),
        (
            [
                form + 'name="odd"; filename="no.such-type"',
                "Content-Type: application/octet-stream",
            ],
            b"",
        ),
        (
            [
                form + 'name="packed"; filename="x.json.gz"',
                "Content-Type: application/octet-stream",
            ],
            b"",
        ),
    ]


def test_a_multipart_form_of_bytes_and_paths_can_be_sent_again(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(b"content")
    encoded = encode(data={"a": "1"}, files={"x": path, "y": b"2"})
    assert encoded.source is None
    assert [type(piece) for piece in encoded.pieces] == [bytes, type(path), bytes]
    assert len(split(encoded)) == 3
    assert body(encoded) == body(encoded)
    other = encode(data={"a": "1"}, files={"x": path, "y": b"2"})
    assert other.content_type != encoded.content_type


def test_the_length_of_a_form_with_an_open_file_is_known(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(b"content")
    with path.open("rb") as file:
        encoded = encode(files={"x": file, "y": path})
        assert encoded.length is not None
        assert [content for _, content in split(encoded)] == [b"content"] * 2


def test_unnamed_files_are_called_upload() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"x")
        file.seek(0)
        ((head, content),) = split(encode(files={"f": file}))
    assert b'filename="upload"' in head
    assert content == b"x"


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
def test_a_file_name_that_is_not_utf_8_is_sent_as_it_is(tmp_path: Path) -> None:
    path = Path(os.fsdecode(bytes(tmp_path) + b"/\xff.txt"))
    path.write_bytes(b"x")
    ((head, _),) = split(encode(files={"f": path}))
    assert b'filename="\xff.txt"' in head


@pytest.mark.parametrize("hostile", ["\r", "\n", "\0", "\r\nX: y", "\x7f"])
def test_injection_into_a_part_is_refused_at_the_call(hostile: str) -> None:
    uploads: list[Any] = [
        ("name", b"", f"a/b{hostile}"),
        ("name", b"", None, {"X": f"a{hostile}"}),
        ("name", b"", None, {f"X{hostile}": "a"}),
        ("name", b"", None, {"Content-Type": f"a/b{hostile}"}),
    ]
    for upload in uploads:
        with pytest.raises(offloop.InvalidHeader):
            encode(files={"f": upload})


@pytest.mark.parametrize("name", ["", "a b", "a:", "ä", "Content-Disposition"])
def test_what_is_no_header_of_a_part_is_refused(name: str) -> None:
    with pytest.raises(offloop.InvalidHeader):
        encode(files={"f": ("x", b"", None, {name: "x"})})


def test_a_nul_in_a_name_is_refused() -> None:
    for options in (
        {"files": {"a\0": b""}},
        {"files": {"a": ("a\0", b"")}},
        {"files": {"a": b""}, "data": {"a\0": 1}},
    ):
        with pytest.raises(offloop.InvalidHeader):
            encode(**options)  # type: ignore[arg-type]


def test_letters_that_end_in_a_line_feeds_byte_stay_whole() -> None:
    (head, _), *_ = split(encode(files={"\u010a\u2028": ("\u010d", b"", "a/\u010a")}))
    assert head.decode().split("\r\n") == [
        'Content-Disposition: form-data; name="\u010a\u2028"; filename="\u010d"',
        "Content-Type: a/\u010a",
    ]


def test_a_file_name_cannot_choose_its_own_type() -> None:
    for filename in ("data:text/html;a,b", "data:a/b\r\nX: y,b", "http://x/a.html\r\n"):
        ((head, _),) = split(encode(files={"f": (filename, b"")}))
        assert head.decode().count("\r\n") == 1
        assert b"X: y," not in head.split(b"\r\n")[1]
        assert head.decode().split("\r\n")[1].startswith("Content-Type: application/octet-stream")

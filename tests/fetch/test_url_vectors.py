"""WHATWG's URL vectors, which come with the crate `url`: what is taken is dialled as written."""

from __future__ import annotations

import ipaddress
import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import offloop

ROOT = Path(__file__).parents[2]


@cache
def vectors() -> list[dict[str, Any]]:
    if shutil.which("cargo") is None:
        pytest.skip("the vectors come with a crate, and there is no cargo")
    command = ["cargo", "metadata", "--format-version=1", "--locked", "--offline"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if ended.returncode:
        pytest.skip("the crates have not been fetched")
    packages = json.loads(ended.stdout)["packages"]
    folder = next(Path(it["manifest_path"]).parent for it in packages if it["name"] == "url")
    listed = json.loads((folder / "tests" / "urltestdata.json").read_text())
    return [case for case in listed if isinstance(case, dict)]


def taken(text: str) -> offloop.Request | None:
    try:
        return offloop.Request("GET", text)
    except offloop.InvalidURL:
        return None


def test_no_vector_that_fails_is_taken() -> None:
    failing = [case["input"] for case in vectors() if case.get("failure")]
    assert len(failing) > 200
    assert [text for text in failing if taken(text)] == []


def test_what_is_taken_is_what_the_standard_makes_of_it() -> None:
    count = 0
    for case in vectors():
        request = taken(case["input"])
        if request is None:
            continue
        count += 1
        assert request.url == case["href"]
    assert count > 30


def test_the_host_that_is_shown_is_the_host_others_read() -> None:
    """A check of the host by urllib, before the fetch, sees the host that is dialled."""
    for case in vectors():
        request = taken(case["input"])
        if request is None:
            continue
        try:
            written = urlsplit(case["input"]).hostname or ""
        except ValueError:
            continue  # urllib refuses it altogether
        dialled = urlsplit(request.url).hostname or ""
        assert spoken(dialled) == spoken(written), case["input"]


def spoken(host: str) -> object:
    """A host in the one form that two spellings of it share."""
    if ":" in host:
        return ipaddress.ip_address(host)
    labels = host.lower().split(".")
    decode = [it[4:].encode().decode("punycode") if it[:4] == "xn--" else it for it in labels]
    return decode

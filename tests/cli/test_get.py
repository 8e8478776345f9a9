"""`offloop get`, run as a user runs it: arguments, files, output and exit codes."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from servers import Server, serve

pytestmark = pytest.mark.once
COMMAND = [sys.executable, "-m", "offloop", "get"]


def get(
    folder: Path, *arguments: str, given: str | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "-o", str(folder), *arguments],
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
    )


def lines_of(ended: subprocess.CompletedProcess[str]) -> list[Any]:
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_files_are_there_and_named(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    ended = get(folder, f"{server.url}/1k", f"{server.url}/bytes/5000")
    assert ended.returncode == 0, ended.stderr
    assert sorted(ended.stdout.split()) == [str(folder / "1k"), str(folder / "5000")]
    assert (folder / "1k").read_bytes() == b"x" * 1024
    assert (folder / "5000").read_bytes() == b"y" * 5000
    assert {path.name for path in folder.iterdir()} == {"1k", "5000"}
    assert "1k: 1.0 KiB done" in ended.stderr


def test_a_list_comes_from_a_file_or_from_stdin(server: Server, tmp_path: Path) -> None:
    text = "\n".join(["# numbers", "", *(f" {server.url}/bytes/{n} " for n in range(60)), ""])
    file = tmp_path / "urls.txt"
    file.write_text(text)
    for name, given in [(str(file), None), ("-", text)]:
        folder = tmp_path / ("file" if given is None else "stdin")
        ended = get(folder, "-q", "-i", name, given=given)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
        assert sorted(int(path.name) for path in folder.iterdir()) == list(range(60))


def test_json_has_a_line_for_each_url(server: Server, tmp_path: Path) -> None:
    urls = [f"{server.url}/1k", f"{server.url}/nothing", "no URL", "http://127.0.0.1:1/x"]
    ended = get(tmp_path, "--json", "--checksum", "sha256", "--retries", "0", *urls)
    assert ended.returncode == 1
    assert ended.stderr == ""
    by_url = {line["url"]: line for line in lines_of(ended)}
    saved = by_url[urls[0]]
    assert saved.pop("seconds") >= 0
    assert saved == {
        "url": urls[0],
        "path": str(tmp_path / "1k"),
        "bytes": 1024,
        "checksum": "sha256:" + hashlib.sha256(b"x" * 1024).hexdigest(),
        "resumed_from": 0,
    }
    kinds = [by_url[url]["error"] for url in urls[1:]]
    assert kinds == ["StatusError", "InvalidURL", "ConnectError"]


def test_what_fails_is_named_and_the_rest_is_there(server: Server, tmp_path: Path) -> None:
    ended = get(tmp_path, f"{server.url}/nothing?secret", f"{server.url}/1k")
    assert ended.returncode == 1
    assert "StatusError" in ended.stderr
    assert "1 of 2 failed" in ended.stderr
    assert "secret" not in ended.stderr
    assert (tmp_path / "1k").exists()


def test_a_file_that_is_there_is_not_replaced_and_resume_skips_it(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "1k").write_text("mine")
    url = f"{server.url}/1k"
    ended = get(tmp_path, url)
    assert ended.returncode == 1
    assert "FileExistsError" in ended.stderr
    assert "--resume" in ended.stderr
    ended = get(tmp_path, "--resume", "--json", url)
    assert ended.returncode == 0
    assert lines_of(ended) == [{"url": url, "skipped": True}]
    assert (tmp_path / "1k").read_text() == "mine"


def test_a_checksum_is_compared(server: Server, tmp_path: Path) -> None:
    right = hashlib.sha256(b"x" * 1024).hexdigest()
    url = f"{server.url}/1k"
    ended = get(tmp_path, "--checksum", f"sha256:{'0' * 64}", url)
    assert ended.returncode == 1
    assert "ChecksumMismatch" in ended.stderr
    assert list(tmp_path.iterdir()) == []
    ended = get(tmp_path, "--checksum", f"sha256:{right}", url)
    assert ended.returncode == 0
    assert right in ended.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--limit", "0", "http://127.0.0.1/x"],
        ["--rate", "fast", "http://127.0.0.1/x"],
        ["--retries", "-1", "http://127.0.0.1/x"],
        ["--checksum", "sha256:00", "http://127.0.0.1/x", "http://127.0.0.1/y"],
        ["--no-such-option"],
    ],
)
def test_a_wrong_command_line_is_two(tmp_path: Path, arguments: list[str]) -> None:
    ended = get(tmp_path, *arguments)
    assert ended.returncode == 2
    assert "offloop" in ended.stderr
    assert ended.stdout == ""


def test_a_missing_list_and_a_folder_that_is_a_file_are_failures(tmp_path: Path) -> None:
    ended = get(tmp_path, "-i", str(tmp_path / "missing"))
    assert ended.returncode == 1
    assert "missing" in ended.stderr
    assert "Traceback" not in ended.stderr
    (tmp_path / "binary").write_bytes(b"http://\xff\xfe\n")
    ended = get(tmp_path, "-i", str(tmp_path / "binary"))
    assert ended.returncode == 1
    assert "UnicodeDecodeError" in ended.stderr
    assert "Traceback" not in ended.stderr
    (tmp_path / "file").write_text("")
    ended = get(tmp_path / "file", "http://127.0.0.1:1/x")
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr


def test_no_more_at_once_than_allowed(tmp_path: Path) -> None:
    with serve("counting") as server:
        hosts = [f"http://127.0.0.{1 + n % 3}:{server.port}" for n in range(24)]
        urls = [f"{host}/hold/0.05/f{n}" for n, host in enumerate(hosts)]
        ended = get(tmp_path, "-q", "--limit", "5", "--per-host", "2", *urls)
        assert ended.returncode == 0, ended.stderr
        with urllib.request.urlopen(f"{server.url}/report", timeout=10) as answer:
            peak = json.load(answer)["peak"]
    assert peak.pop("all") <= 5
    assert max(peak.values()) == 2


def interrupt_when(process: subprocess.Popen[str], ready: Path) -> None:
    end = time.monotonic() + 20
    while not ready.exists():
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)


@pytest.mark.parametrize("how", ["arguments", "a pipe that stays open"])
def test_ctrl_c_keeps_what_has_come_and_says_how_to_go_on(
    server: Server, tmp_path: Path, how: str
) -> None:
    url = f"{server.url}/slow-body"
    arguments = [url] if how == "arguments" else ["-i", "-"]
    with subprocess.Popen(
        [*COMMAND, "-o", str(tmp_path), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # What runs in the background of a shell is born deaf to Ctrl-C, and hands that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        if how != "arguments":
            process.stdin.write(url + "\n")
            process.stdin.flush()
        interrupt_when(process, tmp_path / "slow-body.part")
        began = time.monotonic()
        process.wait(10)
        assert time.monotonic() - began < 8
        said = process.stderr.read()
    assert process.returncode == 130
    assert "--resume" in said
    assert "Traceback" not in said
    assert not (tmp_path / "slow-body").exists()

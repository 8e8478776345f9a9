"""The harness that replays another client's exchanges, on cases of our own: it sees differences."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from replay.__main__ import replay
from replay.arguments import Inexpressible
from replay.cookies import main as cookies_main

pytestmark = pytest.mark.once

CASE = """<testcase>
<reply>
<data crlf="yes">
HTTP/1.1 {status} Answer{close}
Content-Length: 6
{more}
hello
</data>
<data2 crlf="yes">
HTTP/1.1 200 OK
Content-Length: 5

done
</data2>
</reply>
<client>
<server>
http
</server>
<command>
http://%HOSTIP:%HTTPPORT/%TESTNUMBER {command}
</command>
</client>
<verify>
<protocol crlf="yes">
{seen}
</protocol>
{verify}
</verify>
</testcase>
"""
HOST = "Host: %HOSTIP:%HTTPPORT\n"
GET = f"GET /%TESTNUMBER HTTP/1.1\n{HOST}\n"
POST = f"POST /%TESTNUMBER HTTP/1.1\n{HOST}Content-Length: 3\nContent-Type: a/b\n\n"


def outcome(folder: Path, command: str, seen: str, **parts: str) -> str | None:
    text = {"status": "200", "close": "", "more": "", "verify": ""} | parts
    path = folder / "test77"
    path.write_text(CASE.format(command=command, seen=seen, **text))
    return asyncio.run(replay(path))


@pytest.mark.parametrize(
    ("command", "seen", "parts"),
    [
        ("", GET, {}),
        ("-b a=b -H X-One:1", GET.replace("\n\n", "\nCookie: a=b\nX-One: 1\n\n"), {}),
        ("-d one -H 'Content-Type: a/b'", POST + "one", {}),
        ("--fail", GET, {"status": "404", "verify": "<errorcode>\n22\n</errorcode>"}),
        (
            "-L",
            GET + GET.replace("TESTNUMBER", "TESTNUMBER0002"),
            {"status": "302", "more": "Location: /%TESTNUMBER0002\n"},
        ),
        (
            "-m 5",
            GET,
            {"close": " swsclose", "more": "Connection: close\nX-Two: 2\n"},
        ),
    ],
)
def test_a_case_that_offloop_meets_agrees(
    tmp_path: Path, command: str, seen: str, parts: dict[str, str]
) -> None:
    assert outcome(tmp_path, command, seen, **parts) is None


@pytest.mark.parametrize(
    ("command", "seen", "parts", "named"),
    [
        ("", GET.replace("GET", "PUT"), {}, "requests"),
        ("", GET.replace("/%", "/x/%"), {}, "target"),
        ("", GET.replace("\n\n", "\nCookie: a=b\n\n"), {}, "cookie"),
        ("-H X-One:1", GET, {}, "x-one"),
        ("-d two -H 'Content-Type: a/b'", POST + "one", {}, "body"),
        ("", GET, {"verify": "<errorcode>\n22\n</errorcode>"}, "succeeded"),
        ("--fail", GET, {"status": "404"}, "StatusError"),
        ("", GET + GET, {}, "requests"),
    ],
)
def test_a_difference_is_seen_and_named(
    tmp_path: Path, command: str, seen: str, parts: dict[str, str], named: str
) -> None:
    text = outcome(tmp_path, command, seen, **parts)
    assert text is not None
    assert named in text


def test_what_offloop_has_no_option_for_is_left_out(tmp_path: Path) -> None:
    for command in ("--ntlm -u a:b", "-x socks4://127.0.0.1", "-H Accept:"):
        with pytest.raises(Inexpressible):
            outcome(tmp_path, command, GET)


def test_cookie_vectors_are_put_to_a_jar_and_differences_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors = [
        {"test": "1", "received": ["a=b", "c=d; Expires=Fri, 07 Aug 2019 08:04:19 GMT"],
         "sent": [{"name": "a", "value": "b"}, {"name": "c", "value": "d"}]},
        {"test": "2", "received": ["a=b; domain=.example.org"],
         "sent-to": "http://sibling.example.org:1/x", "sent": [{"name": "a", "value": "b"}]},
        {"test": "3", "received": ["a=b"], "sent-to": "http://sibling.example.org:1/x", "sent": []},
    ]  # fmt: skip
    wrong = [{**vectors[0], "sent": []}, {**vectors[2], "sent": [{"name": "a", "value": "b"}]}]
    for chosen, status, told in ((vectors, 0, "3 agree"), (wrong, 1, "0 agree")):
        (tmp_path / "parser.json").write_text(json.dumps(chosen))
        monkeypatch.setattr("sys.argv", ["cookies", str(tmp_path / "parser.json")])
        assert cookies_main() == status
        assert told in capsys.readouterr().out

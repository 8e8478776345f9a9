"""Holds what the server saw and what the client got against what the case says.

What does not carry meaning between two clients is left out: the name of the client, `Accept` and
`Accept-Encoding` unless the command names them, `Connection`, `Expect`, how a body is framed (the
body itself is compared), the order of different headers, boundaries and random nonces, and requests
that only ask for a challenge: curl sends them with an empty body, and more of them.
"""

from __future__ import annotations

import itertools
import re
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

import offloop
from offloop import exceptions as kinds

from .case import Case
from .command import Call
from .server import Seen, parse_head

_UNSAID = {
    "user-agent", "accept", "accept-encoding", "connection", "proxy-connection", "expect", "te",
    "content-length", "transfer-encoding", "host", "keep-alive",
}  # fmt: skip

_ERRORS: dict[int, tuple[type[BaseException], ...]] = {
    1: (kinds.InvalidURL, kinds.RedirectError, kinds.ProtocolError),
    3: (kinds.InvalidURL, kinds.RedirectError),
    5: (kinds.ConnectError, kinds.InvalidURL),
    6: (kinds.ConnectError,),
    7: (kinds.ConnectError,),
    8: (kinds.ProtocolError,),
    18: (kinds.TruncatedBody, kinds.ProtocolError),
    22: (kinds.StatusError,),
    28: (kinds.FetchTimeout,),
    47: (kinds.TooManyRedirects,),
    52: (kinds.ProtocolError, kinds.ConnectError),
    55: (kinds.ProtocolError, kinds.ConnectError),
    56: (kinds.ProtocolError, kinds.ConnectError, kinds.DecodeError),
    60: (kinds.TLSError,),
    61: (kinds.DecodeError, kinds.ProtocolError),
    63: (kinds.BodyTooLarge,),
    90: (kinds.TLSError,),
    97: (kinds.ConnectError,),
}
"""curl's exit codes as classes."""


def expected_requests(text: bytes) -> list[Seen]:
    """The requests that the case says the server must have seen."""
    requests, rest = [], text
    while start := re.search(rb"^[A-Z]+ \S.* HTTP/\d\.\d\r?$", rest, re.MULTILINE):
        rest = rest[start.start() :]
        blank = re.search(rb"\r?\n\r?\n|\r?\n?\Z", rest)
        assert blank is not None
        request = parse_head(rest[: blank.start()])
        rest = rest[blank.end() :]
        length = request.header("content-length")
        if (request.header("transfer-encoding") or "").lower() == "chunked":
            rest = _dechunk(request, rest)
        elif length and length.isdigit():
            following = re.search(
                rb"^(GET|PUT|POST|HEAD|DELETE|OPTIONS|CONNECT) \S+ HTTP/", rest, re.MULTILINE
            )
            most = following.start() if following else len(rest)
            request.body, rest = rest[: min(int(length), most)], rest[min(int(length), most) :]
            request.whole = len(request.body) == int(length)
        requests.append(request)
    return requests


def _dechunk(request: Seen, rest: bytes) -> bytes:
    while size := re.match(rb"\s*([0-9a-fA-F]+)[^\r\n]*\r?\n", rest):
        length = int(size[1], 16)
        request.body += rest[size.end() : size.end() + length]
        rest = rest[size.end() + length :]
        if not length:
            break
    return rest


def requests_differ(case: Case, seen: list[Seen], calls: list[Call]) -> str | None:
    """The first difference between what had to be seen and what was, in words."""
    name = "protocol" if "protocol" in case.sections else "proxy"
    if name not in case.sections:
        return None
    wanted = expected_requests(case.body(name) or b"")
    for pattern in case.text("strip").splitlines():
        for request in wanted + seen:
            request.headers = [
                it
                for it in request.headers
                if not re.match(pattern.strip(), f"{it[0]}: {it[1]}", re.IGNORECASE)
            ]
            if pattern.startswith("^") and b"Content-Disposition" in request.body:
                lines = request.body.splitlines(keepends=True)
                kept = [
                    it
                    for it in lines
                    if not re.match(pattern.strip().encode(), it) and not it.startswith(b"--")
                ]
                request.body = b"".join(kept).strip()
    if any(call.negotiates for call in calls):
        wanted, seen = _without_probes(wanted), _without_probes(seen)
    by_hand = frozenset().union(*(call.set_by_hand for call in calls)) if calls else frozenset()
    if [it.method for it in wanted] != [it.method for it in seen]:
        shown = [f"{it.method} {it.target}" for it in seen]
        return f"requests {shown}, not {[f'{it.method} {it.target}' for it in wanted]}"
    for number, (one, other) in enumerate(zip(wanted, seen, strict=True), 1):
        if _upper(one.target) != _upper(other.target):
            return f"request {number}: target {other.target!r}, not {one.target!r}"
        if (one.header("host") or "").lower() != (other.header("host") or "").lower():
            return f"request {number}: Host {other.header('host')!r}, not {one.header('host')!r}"
        if text := _headers_differ(one, other, by_hand):
            return f"request {number}: {text}"
        if one.whole and other.whole and not _same_body(one, other):
            return f"request {number}: body {other.body[:300]!r}, not {one.body[:300]!r}"
    return None


def _without_probes(requests: list[Seen]) -> list[Seen]:
    """Those that did not only ask for a challenge: curl asks again where offloop remembers."""
    return [
        one
        for one, next_ in itertools.zip_longest(requests, requests[1:])
        if one.header("authorization")
        or next_ is None
        or (one.method, one.target) != (next_.method, next_.target)
    ]


def _upper(target: str) -> str:
    return re.sub(r"%[0-9a-fA-F]{2}", lambda it: it[0].upper(), target)


def _headers_differ(one: Seen, other: Seen, by_hand: frozenset[str]) -> str | None:
    names = {name.lower() for name, _ in one.headers + other.headers}
    for name in sorted(names - (_UNSAID - by_hand)):
        wanted = [value for known, value in one.headers if known.lower() == name]
        got = [value for known, value in other.headers if known.lower() == name]
        if (
            name == "content-type"
            and wanted
            and got
            and "boundary=" in wanted[0]
            and "boundary=" in got[0]
        ):
            wanted, got = ([re.sub(r"boundary=\S+", "", it[0])] for it in (wanted, got))
        if name.endswith("authorization") and any("Digest" in it for it in wanted + got):
            if text := _digests_differ(wanted, got):
                return text
            continue
        if name == "cookie":
            wanted, got = (
                [pair.strip() for it in lines for pair in it.split(";")] for lines in (wanted, got)
            )
        if wanted != got:
            return f"{name}: {got}, not {wanted}"
    return None


def _digests_differ(wanted: list[str], got: list[str]) -> str | None:
    def read(lines: list[str]) -> dict[str, str]:
        pairs = re.findall(r'(\w+)=(?:"((?:\\.|[^"\\])*)"|([^\s,]+))', lines[0] if lines else "")
        return {name.lower(): quoted or plain for name, quoted, plain in pairs}

    one, other = read(wanted), read(got)
    if bool(one) != bool(other):
        return f"digest: {got}, not {wanted}"
    random = {"cnonce", "response", "nc"} if "cnonce" in one or "cnonce" in other else set()
    names = (set(one) | set(other)) - random - {"userhash"}
    for name in sorted(names):
        if one.get(name) != other.get(name) and not (
            name == "algorithm"
            and one.get(name, "MD5") == "MD5"
            and other.get(name, "MD5") == "MD5"
        ):
            return f"digest {name}: {other.get(name)!r}, not {one.get(name)!r}"
    return None


def _same_body(one: Seen, other: Seen) -> bool:
    kinds_ = [it.header("content-type") or "" for it in (one, other)]
    if all("boundary=" in kind for kind in kinds_):
        return _multipart(one, kinds_[0]) == _multipart(other, kinds_[1])
    return one.body == other.body


def _multipart(request: Seen, kind: str) -> Any:
    body = re.sub(rb"(?<!\r)\n", b"\r\n", request.body)
    message = BytesParser(policy=HTTP).parsebytes(
        b"Content-Type: " + kind.encode("latin-1") + b"\r\n\r\n" + body
    )
    parts = message.get_payload()
    if not isinstance(parts, list):
        return body
    raw = body.split(b"\r\n\r\n")
    return [
        (
            sorted(
                (name.lower(), re.sub(r"\s+", " ", str(value))) for name, value in part.raw_items()
            ),
            part.get_payload(decode=True),
        )
        for part in parts
    ] or raw


def error_differs(code: int, error: BaseException | None) -> str | None:
    """Whether what the client raised is what the exit code stands for."""
    if code == 0:
        return f"raised {type(error).__name__}: {error}" if error is not None else None
    if code not in _ERRORS:
        return f"exit code {code} has no counterpart"
    if error is None:
        return f"succeeded, where curl fails with {code}"
    if not isinstance(error, _ERRORS[code]):
        return f"raised {type(error).__name__} ({error}), where curl fails with {code}"
    return None


def answers_differ(case: Case, answers: list[offloop.Response]) -> str | None:
    """Whether the last heads and the bodies are those that curl puts out."""
    command = case.get("command")
    options = command.attributes.get("option", "") if command else ""
    data = case.get("data") or case.get("data1")
    if data is not None and data.attributes.get("nocheck") == "yes":
        return None
    if "datacheck" in case.sections:
        names = sorted(name for name in case.sections if name.startswith("datacheck"))
        wanted = b"".join(case.body(name) or b"" for name in names)
    elif data is not None:
        names = [name for name in case.sections if name.startswith("data")]
        wanted = b"".join(case.body(name) or b"" for name in names)
    else:
        return None
    if "no-include" in options or "no-output" in options or not wanted.startswith(b"HTTP/"):
        return None
    blocks = [
        part for part in re.split(rb"(?=^HTTP/[\d.]+ \d)", wanted, flags=re.MULTILINE) if part
    ]
    at, last = 0, "nothing expected"
    if "datacheck" not in case.sections:
        # The case does not say which of its texts comes when.
        for answer in answers:
            texts = [_answer_differs(block, answer) for block in blocks]
            if all(texts):
                return texts[0]
        return None
    for number, answer in enumerate(answers, 1):
        if at == len(blocks):
            break  # curl writes the rest to a file
        while at < len(blocks):
            text = _answer_differs(blocks[at], answer)
            at += 1
            if text is None:
                break
            last = text
        else:
            return f"answer {number}: {last}"
    return None


def _answer_differs(block: bytes, answer: offloop.Response) -> str | None:
    head, separator, body = _split(block)
    lines = re.sub(r"\r?\n[ \t]+", " ", head.decode("latin-1")).split("\n")
    status = re.match(r"HTTP/[\d.]+ (\d+)", lines[0])
    if status and int(status[1]) != answer.status_code:
        return f"status {answer.status_code}, not {status[1]}"
    wanted = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            wanted.setdefault(name.strip().lower(), []).append(value.strip())
    for name, values in wanted.items():
        got = [it.strip() for it in answer.headers.get_list(name)]
        got, values = ([re.sub(r"\s+", " ", it) for it in lines] for lines in (got, values))
        if got != values and name not in (
            "content-encoding",
            "content-length",
            "transfer-encoding",
            "trailer",
        ):
            return f"header {name}: {got}, not {values}"
    trailers = re.fullmatch(re.escape(answer.content) + rb"(?:[\w-]+: [^\n]*\n)+", body)
    if trailers and "chunked" in answer.headers.get("transfer-encoding", ""):
        return None  # curl shows the trailers behind the body
    if answer.content not in (body, body.rstrip(b"\n"), body.rstrip(b"\r\n")):
        if not body and (not separator or answer.status_code in (401, 407, 416)):
            return None  # curl does not show it
        return f"body {answer.content[:200]!r}, not {body[:200]!r}"
    return None


def _split(block: bytes) -> tuple[bytes, bytes, bytes]:
    found = re.search(rb"\r?\n\r?\n", block)
    if not found:
        return block, b"", b""
    return block[: found.start()], found[0], block[found.end() :]


def jar_differs(text: bytes, jar: offloop.Cookies) -> str | None:
    """Whether the jar holds what a Netscape cookie file says."""
    wanted = set()
    for line in text.decode("latin-1").splitlines():
        line = line.removeprefix("#HttpOnly_")
        fields = line.split("\t")
        if len(fields) == 7:
            domain, _, path, secure, _, name, value = fields
            path = path.rstrip("/") or "/"  # curl keeps the slash, RFC 6265 has none
            wanted.add((domain.lstrip("."), path, secure == "TRUE", name, value))
    got = {
        (
            it["domain"].lstrip("."),
            it["path"].rstrip("/") or "/",
            bool(it.get("secure")),
            it["name"],
            it["value"],
        )
        for it in jar
    }
    if wanted != got:
        return f"jar: too much {sorted(got - wanted)}, missing {sorted(wanted - got)}"
    return None


def load_jar(text: bytes) -> offloop.Cookies:
    """A jar from a Netscape cookie file."""
    from .arguments import Inexpressible

    jar = offloop.Cookies()
    for line in text.decode("latin-1").splitlines():
        fields = line.removeprefix("#HttpOnly_").split("\t")
        if len(fields) == 7:
            domain, subdomains, path, secure, expires, name, value = fields
            if subdomains != "TRUE" and not domain.startswith("."):
                raise Inexpressible("a jar with host-only cookies from a file")
            jar.set(
                name,
                value,
                domain=domain,
                path=path,
                secure=secure == "TRUE",
                expires=int(expires) or None,
            )
        elif line.lower().startswith("set-cookie:"):
            raise Inexpressible("cookies from a file of headers")
    return jar

"""A command line of curl's, as calls of offloop; `Inexpressible` where there is no such call."""

from __future__ import annotations

import itertools
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote

import offloop

from .arguments import Inexpressible, Options, file
from .case import Case


@dataclass
class Call:
    """One request, and what belongs to the client that makes it."""

    url: str
    method: str = "GET"
    options: dict[str, Any] = field(default_factory=dict)
    fail_on_status: bool = False
    negotiates: bool = False
    """curl sends the first request without credentials, and without a body."""
    set_by_hand: frozenset[str] = frozenset()
    """Headers whose values the command line names."""


@dataclass
class Plan:
    """What to do: a client, and its calls one after the other."""

    calls: list[Call] = field(default_factory=list)
    client: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    jar_to: str | None = None
    jar_from: str | None = None


def plan(case: Case, variables: dict[str, str]) -> Plan:
    """The calls that do what the case's command does."""
    command = case.get("command")
    if command is None or "tool" in case.sections:
        raise Inexpressible("a program of libcurl's own, not a command line")
    if "perl" in command.attributes.get("type", "") or (
        "option" in command.attributes and ("binary" in command.attributes["option"])
    ):
        raise Inexpressible("a script around the client")
    result = Plan()
    for line in case.text("setenv").splitlines():
        name, _, value = line.partition("=")
        result.environment[name] = value
    words = shlex.split(command.text.decode("utf-8", "surrogateescape").replace("\n", " "))
    groups = [
        list(group) for is_next, group in itertools.groupby(words, "--next".__eq__) if not is_next
    ]
    for group in groups:
        _operation(case, Options(case, group), result, variables)
    if not result.calls:
        raise Inexpressible("no URL")
    return result


def _needed(case: Case, name: str) -> bytes:
    found = file(case, name)
    if found is None:
        raise Inexpressible(f"file {name} is not there")
    return found


def _operation(case: Case, options: Options, result: Plan, variables: dict[str, str]) -> None:
    headers: list[tuple[str, str]] = []
    by_hand: set[str] = set()
    if "upload" in options and len(options.urls) > 1:
        raise Inexpressible("one option for one of several URLs")
    if sum(line.lower().startswith("host:") for line in options.all("header")) > 1:
        raise Inexpressible("several Host headers, of which curl takes the first")
    for line in options.all("header"):
        if line.startswith("@"):
            raise Inexpressible("headers from a file")
        name, colon, value = line.partition(":")
        if not colon and line.endswith(";"):
            name, value = line[:-1], ""
        elif not colon:
            raise Inexpressible("a header without a colon")
        elif not value.strip():
            if name.lower() in (
                "accept",
                "user-agent",
                "host",
                "content-type",
                "content-length",
                "transfer-encoding",
            ):
                raise Inexpressible(f"takes the header {name} away")
            continue
        headers.append((name, value.strip()))
        by_hand.add(name.lower())
    _simple_headers(options, headers, by_hand)
    call_options: dict[str, Any] = {}
    method, body = _body(case, options, headers, by_hand)
    call_options.update(body)
    negotiates = _credentials(case, options, call_options)
    _client(case, options, result, variables)
    retries = options.last("retries")
    if retries is not None:
        call_options["retries"] = offloop.Retry(
            attempts=min(int(retries), 9),
            backoff=0.01,
            statuses=(408, 429, 500, 502, 503, 504),
            methods=("GET", "HEAD", "POST", "PUT"),
            budget=1.0,
            max_wait=3.0,
        )
    if "timeout" in options:
        call_options["timeout"] = float(options.last("timeout") or 0)
    if "max_body" in options:
        call_options["max_body"] = int(options.last("max_body") or 0)
    call_options["follow_redirects"] = "location" in options
    if headers:
        call_options["headers"] = headers
    for given in options.urls:
        for url in _globbed(given) if "-g" not in options else [given]:
            target = url if ":/" in url else f"http://{url}"
            if not re.match(r"https?:/", target, re.IGNORECASE) and case.text("errorcode") not in (
                "1",
                "3",
            ):
                raise Inexpressible("another protocol than HTTP")
            query = "&".join(_query(options))
            if query:
                target, hash_, fragment = target.partition("#")
                target += ("&" if "?" in target else "?") + query + hash_ + fragment
            if "upload" in options and target.split("?")[0].endswith("/"):
                target += quote(Path(options.last("upload") or "").name)
            result.calls.append(
                Call(
                    target, method, call_options, "fail" in options, negotiates, frozenset(by_hand)
                )
            )


def _simple_headers(options: Options, headers: list[tuple[str, str]], by_hand: set[str]) -> None:
    def add(name: str, value: str) -> None:
        if name.lower() not in by_hand:
            headers.append((name, value))
            by_hand.add(name.lower())

    if (agent := options.last("agent")) is not None:
        if not agent:
            raise Inexpressible("takes the header User-Agent away")
        add("User-Agent", agent)
    if (referer := options.last("referer")) is not None:
        if ";auto" in referer:
            raise Inexpressible("a Referer that is made by the client")
        add("Referer", referer)
    if (wanted := options.last("range")) is not None:
        add("Range", f"bytes={wanted}" + ("" if "-" in wanted else "-"))
    if (resume := options.last("resume")) is not None:
        if resume == "-" or "upload" in options:
            raise Inexpressible("goes on from a file that is there already")
        add("Range", f"bytes={resume}-")
    if "since" in options:
        raise Inexpressible("a date that the client has to parse")


def _query(options: Options) -> list[str]:
    query = [_urlencoded(value) for value in options.all("query")]
    if "get" in options:
        query += [value for value in options.all("data") + options.all("binary") if value]
        query += [_urlencoded(value) for value in options.all("urlencode")]
    return query


def _urlencoded(value: str) -> str:
    if value.startswith("+"):
        return value[1:]
    name, separator, content = value.partition("=")
    if "@" in name or (not separator and "@" in value):
        raise Inexpressible("form data from a file")
    encoded = quote_plus(content if separator else value, safe="-._~")
    return f"{name}={encoded}" if separator and name else encoded


def _body(
    case: Case, options: Options, headers: list[tuple[str, str]], by_hand: set[str]
) -> tuple[str, dict[str, Any]]:
    method, body = "GET", {}
    data: list[bytes] = []
    if "form" in options or "form_string" in options:
        method, body = "POST", {"files": _parts(case, options)}
    elif "upload" in options:
        method, name = "PUT", options.last("upload") or ""
        content = _needed(case, name)
        body = {
            "content": _streamed(content)
            if name in ("-", ".") or "transfer-encoding" in by_hand
            else content
        }
        if "transfer-encoding" in by_hand:
            headers[:] = [pair for pair in headers if pair[0].lower() != "transfer-encoding"]
            by_hand.discard("transfer-encoding")
    elif "get" not in options:
        for value in options.all("data"):
            text = (
                _needed(case, value[1:])
                if value.startswith("@")
                else value.encode("utf-8", "surrogateescape")
            )
            data.append(re.sub(rb"[\r\n]", b"", text) if value.startswith("@") else text)
        for value in options.all("binary") + options.all("json"):
            data.append(_needed(case, value[1:]) if value.startswith("@") else value.encode())
        for value in options.all("urlencode"):
            data.append(_urlencoded(value).encode())
        if data or any(name in options for name in ("data", "binary", "urlencode", "json")):
            method = "POST"
            body = {"content": (b"" if "json" in options else b"&").join(data)}
            kind = "application/json" if "json" in options else "application/x-www-form-urlencoded"
            if "content-type" not in by_hand:
                headers.append(("Content-Type", kind))
            if "json" in options and "accept" not in by_hand:
                headers.append(("Accept", "application/json"))
            if "transfer-encoding" in by_hand:
                body = {"content": _streamed(body["content"])}
                headers[:] = [pair for pair in headers if pair[0].lower() != "transfer-encoding"]
                by_hand.discard("transfer-encoding")
    if "head" in options:
        method = "HEAD"
    if (named := options.last("method")) is not None:
        method = named
    if "content-length" in by_hand:
        headers[:] = [pair for pair in headers if pair[0].lower() != "content-length"]
        by_hand.discard("content-length")
    return method, body


class _Chunks:
    """A body whose length is not known; it can be sent again, as curl rewinds."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    async def __aiter__(self):
        yield self.content


def _streamed(content: bytes) -> Any:
    return _Chunks(content)


def _parts(case: Case, options: Options) -> list[tuple[str, Any]]:
    parts: list[tuple[str, Any]] = []
    for value in options.all("form_string"):
        name, _, content = value.partition("=")
        parts.append((name, (None, content)))
    strings = len(parts)
    for value in options.all("form"):
        name, _, content = value.partition("=")
        if (
            content.startswith("(")
            or "encoder=" in content
            or "headers=" in content
            or content == ")"
        ):
            raise Inexpressible("nested or encoded parts")
        named = re.search(r';\s*filename="?((?:\\.|[^";])*)"?', content)
        kind = re.search(r";\s*type=([^;]+(?:;\s*(?:charset|format)=[^;]+)*)", content)
        plain = re.sub(r";\s*(?:type|filename)=.*$", "", content, flags=re.DOTALL).strip('"')
        if content.count('\\"') or content.count("\\\\"):
            raise Inexpressible("quoting of the command line")
        filename = named[1] if named else None
        if content.startswith("@"):
            if "," in plain:
                raise Inexpressible("several files in one part")
            source = plain[1:].strip('"')
            text, filename = (
                _needed(case, source),
                filename or (Path(source).name if source != "-" else "-"),
            )
        elif content.startswith("<"):
            text = _needed(case, plain[1:].strip('"'))
        else:
            text = plain.lstrip(" ").encode("utf-8", "surrogateescape")
        value = (filename, text, kind[1].strip()) if kind else (filename, text)
        parts.append((name, value))
    if strings and len(parts) > strings:
        raise Inexpressible("the order of -F and --form-string")
    return parts


def _credentials(case: Case, options: Options, call: dict[str, Any]) -> bool:
    if (token := options.last("bearer")) is not None:
        call["auth"] = offloop.BearerAuth(token)
        return False
    user = options.last("user")
    if (
        user is None
        and "digest" in options
        and (login := re.search(r"//([^/@]+)@", options.urls[0]))
    ):
        user = unquote(login[1])
        options.urls = [url.replace(login[0], "//") for url in options.urls]
    if user is None:
        return False
    name, _, password = user.partition(":")
    offered = " ".join(
        section.text.decode("latin-1")
        for key, all_ in case.sections.items()
        if key.startswith("data")
        for section in all_
    )
    digest = "digest" in options or (
        "anyauth" in options
        and re.search(r"WWW-Authenticate: Digest|Digest realm", offered, re.IGNORECASE)
    )
    if "anyauth" in options and not digest:
        raise Inexpressible("asks first whether credentials are wanted, then sends them as Basic")
    call["auth"] = (
        offloop.DigestAuth(name, password) if digest else offloop.BasicAuth(name, password)
    )
    if digest and "401" not in offered:
        raise Inexpressible("asks for a challenge where nobody has one")
    return bool(digest)


def _client(case: Case, options: Options, result: Plan, variables: dict[str, str]) -> None:
    client = result.client
    if (most := options.last("max_redirects")) is not None:
        if int(most) < 0:
            raise Inexpressible("redirects without a limit")
        client["max_redirects"] = int(most)
    proxy = options.last("proxy")
    for kind in ("socks5", "socks5h"):
        if kind in options:
            raise Inexpressible("needs a SOCKS server")
    if proxy:
        target = proxy if "://" in proxy else f"http://{proxy}"
        if not target.startswith("http://"):
            raise Inexpressible("needs another kind of proxy")
        login = options.last("proxy_user")
        if login:
            name, _, password = login.partition(":")
            target = target.replace("://", f"://{quote_plus(name)}:{quote_plus(password)}@", 1)
        without = options.last("noproxy")
        if without:
            result.environment |= {"http_proxy": target, "no_proxy": without}
        elif without is None and {"NO_PROXY", "no_proxy"} & set(result.environment):
            result.environment["http_proxy"] = target
        elif client.get("proxy", target) != target:
            raise Inexpressible("one proxy for one of several URLs")
        else:
            client["proxy"] = target
    elif (without := options.last("noproxy")) is not None:
        result.environment |= {"no_proxy": without, "NO_PROXY": without}
    if "insecure" in options or "cacert" in options:
        client["verify"] = False
    if "compressed" not in options:
        result.client.setdefault("headers", [("Accept-Encoding", "identity")])
    else:
        result.client["headers"] = [("Accept-Encoding", "gzip, deflate, br, zstd")]
    resolve = client.setdefault("resolve", {})
    for entry in options.all("resolve"):
        if entry.startswith(("*", "-")) or not re.match(r"\+?[\w.-]+:\d+:", entry):
            raise Inexpressible("resolves any name, or forgets one")
        host, port, address = entry.lstrip("+").split(":", 2)
        resolve[f"{host}:{port}"] = address.strip("[]")
    for entry in options.all("connect_to"):
        found = re.fullmatch(r"([\w.-]+):(\d*):(\[?[\d.:a-f]+\]?|):(\d*)", entry)
        if not found or not found[3] or re.fullmatch(r"[\d.]+", found[1]):
            raise Inexpressible("connects to another name, or to another place for any name")
        key = f"{found[1]}:{found[2]}" if found[2] else found[1]
        resolve[key] = f"{found[3]}:{found[4]}" if found[4] else found[3]
    if (path := options.last("uds")) is not None:
        client["uds"] = path
    jar_from = [value for value in options.all("cookie") if "=" not in value]
    lines = [value for value in options.all("cookie") if "=" in value]
    if lines:
        if jar_from or "jar" in options:
            raise Inexpressible("cookies by hand beside those of a jar")
        pairs = [
            part.strip().partition("=")
            for line in lines
            for part in line.split(";")
            if part.strip()
        ]
        client["cookies"] = {name: value for name, _, value in pairs}
    if jar_from or "jar" in options:
        if any(
            name.lower() == "host"
            for name, _, _ in (it.partition(":") for it in options.all("header"))
        ):
            raise Inexpressible("cookies for the name in a Host header, whatever is dialled")
        result.jar_from, result.jar_to = (jar_from or [None])[-1], options.last("jar")
        if "junk" in options:
            raise Inexpressible("throws session cookies away")


def _globbed(url: str) -> list[str]:
    """``{a,b}`` and ``[1-3]`` in a URL stand for several."""
    if re.search(r"\[[^\]]*[a-z:][^\]]*\]", url.partition("://")[2].partition("/")[2]):
        raise Inexpressible("a range of letters or with a step")
    found = re.search(r"(?<!\\)\{([^{}]*)\}|\[(\d+)-(\d+)\]", url)
    if not found:
        return [re.sub(r"\\([{}\[\]])", r"\1", url)]
    if found[1] is not None:
        choices = found[1].split(",")
    else:
        choices = [
            str(number).zfill(len(found[2])) for number in range(int(found[2]), int(found[3]) + 1)
        ]
    return [
        rest
        for choice in choices
        for rest in _globbed(url[: found.start()] + choice + url[found.end() :])
    ]

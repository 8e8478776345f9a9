"""Which requests a route answers: patterns of URLs, and conditions on method, query and body.

Paths are compared in one canonical percent-encoding, so ``/ü`` and ``/%C3%BC`` are the same path
while ``%2F`` stays different from a slash. The scheme is never compared: a mock cannot see it.
Everything is decided on a `MockRequest` alone; counting calls is the route's business.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import parse_qsl, quote, unquote, unquote_to_bytes

if TYPE_CHECKING:
    from offloop.testing._request import MockRequest

T = TypeVar("T")
Params = Mapping[str, Any] | Iterable[tuple[str, Any]]

NOTHING: Any = object()
"""Stands for an argument that was not given, where None is a value: ``json=None`` is null."""

_PLACEHOLDER = re.compile(r"(\{[A-Za-z_]\w*\}|\*)")
_URL = re.compile(
    r"(?P<scheme>https?|\*)://(?P<host>[^/?#]*)(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?"
)
_AUTHORITY = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*)(?::(?P<port>\d+))?")
_DEFAULT_PORTS = {"http": "80", "https": "443", "*": None}


class URLPattern:
    """A pattern of URLs; see `MockRouter` for what can be written.

    Raises ValueError for what is no pattern.
    """

    def __init__(self, pattern: str | re.Pattern[str]) -> None:
        self.scheme: str | None = None
        self.query: dict[str, list[str]] = {}
        self._regex = pattern if isinstance(pattern, re.Pattern) else None
        self._host: re.Pattern[str] | None = None
        self._port: str | None = None
        self._default_port: str | None = None
        self._path = re.compile("")
        self._text = pattern if isinstance(pattern, str) else pattern.pattern
        if not isinstance(pattern, str):
            return
        if pattern == "*":
            pattern = "*://*/*"
        if pattern.startswith("/"):
            pattern = f"*://*{pattern}"
        parts = _URL.match(pattern)
        if parts is None:
            message = (
                'a pattern is a URL, a path that begins with a slash, "*", or a compiled regex'
            )
            raise ValueError(f"{message}, not {pattern!r}")
        self._read(parts)

    def __str__(self) -> str:
        return self._text

    def _read(self, parts: re.Match[str]) -> None:
        authority = _AUTHORITY.fullmatch(parts["host"])
        if authority is None or not authority["host"]:
            raise ValueError(f"no host in {self._text!r}")
        self.scheme = None if parts["scheme"] == "*" else parts["scheme"]
        self._default_port = _DEFAULT_PORTS[parts["scheme"]]
        if authority["host"] != "*":
            self._host = _compiled(authority["host"].lower(), _ascii_host, "[^/:]*")
            self._port = authority["port"]
        self._path = _compiled(parts["path"] or "/", canonical_path, ".*")
        for name, value in parse_qsl(parts["query"] or "", keep_blank_values=True):
            self.query.setdefault(name, []).append(value)

    def match(self, request: MockRequest) -> dict[str, str] | None:
        """Give what stands in the named segments, or None when `request` has another URL."""
        if self._regex is not None:
            for scheme in dict.fromkeys([request.scheme, "http", "https"]):
                found = self._regex.search(f"{scheme}://{request.host}{request.target}")
                if found is not None:
                    return {k: v for k, v in found.groupdict().items() if v is not None}
            return None
        params: dict[str, str] = {}
        if self._host is not None:
            asked = _AUTHORITY.fullmatch(request.host)
            if asked is None:
                return None
            ports = asked["port"] or self._default_port, self._port or self._default_port
            host = self._host.fullmatch(asked["host"])
            if host is None or ports[0] != ports[1]:
                return None
            params.update(host.groupdict())
        path = self._path.fullmatch(canonical_path(request.target.partition("?")[0]))
        if path is None:
            return None
        return params | {name: unquote(value) for name, value in path.groupdict().items()}


@dataclass(frozen=True, slots=True)
class Conditions:
    """All that a request must meet to be answered by a route. None stands for anything."""

    method: str | None
    url: URLPattern
    params: Mapping[str, list[str]]
    headers: Mapping[str, str | re.Pattern[str]]
    content: bytes | None
    json: Any

    def unmet(self, request: MockRequest) -> str | None:
        """Say in a word which condition `request` does not meet, or None when it meets all."""
        if self.method not in {None, request.method}:
            return "another method"
        if self.url.match(request) is None:
            return "another URL"
        query = parameters(request.query)
        for name, values in {**self.url.query, **self.params}.items():
            if query.get(name) != values:
                return f"parameter {name!r} is {query.get(name)}, not {values}"
        for name, wanted in self.headers.items():
            value = request.headers.get(name)
            right = isinstance(wanted, re.Pattern) and value and wanted.search(value)
            if not right and value != wanted:
                return f"header {name!r} is {value!r}"
        if self.content is not None and request.content != self.content:
            return "another body"
        return None if self.json is NOTHING else self._unmet_json(request)

    def _unmet_json(self, request: MockRequest) -> str | None:
        try:
            same = request.json() == self.json
        except ValueError:
            return "the body is not JSON"
        return None if same else f"the JSON is {json.dumps(request.json())[:200]}"


def parameters(pairs: Params) -> dict[str, list[str]]:
    """Give parameters of a query as they are compared: a list of strings for each name."""
    result: dict[str, list[str]] = {}
    for name, value in as_pairs(pairs):
        several = value if isinstance(value, (list, tuple)) else [value]
        result.setdefault(name, []).extend(_as_text(one) for one in several)
    return result


def as_pairs(given: Mapping[str, T] | Iterable[tuple[str, T]]) -> Iterable[tuple[str, T]]:
    """Give the pairs of what may be a mapping."""
    if isinstance(given, Mapping):
        return cast("Mapping[str, T]", given).items()
    return given


def canonical_path(path: str) -> str:
    """Give `path` in the one percent-encoding in which paths are compared."""
    segments = path.split("/")
    return "/".join(quote(unquote_to_bytes(segment), safe="") for segment in segments)


def _as_text(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case None:
            return ""
        case _:
            return str(value)


def _compiled(pattern: str, canonical: Any, anything: str) -> re.Pattern[str]:
    pieces = []
    for piece in _PLACEHOLDER.split(pattern):
        if piece == "*":
            pieces.append(anything)
        elif _PLACEHOLDER.fullmatch(piece):
            pieces.append(f"(?P<{piece[1:-1]}>[^/]+)")
        else:
            pieces.append(re.escape(canonical(piece)))
    try:
        return re.compile("".join(pieces), re.DOTALL)
    except re.error as error:
        raise ValueError(f"not a pattern: {pattern!r}: {error}") from None


def _ascii_host(host: str) -> str:
    return host if host.isascii() else host.encode("idna").decode("ascii")

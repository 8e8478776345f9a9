"""What a mock saw: `MockRequest`, one request with its whole body, and its `HeaderView`.

These are values, without a tie to the server: they may be kept, compared and read in any thread.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

if TYPE_CHECKING:
    from offloop.testing._exchange import Exchange


class HeaderView(Mapping[str, str]):
    """Headers of a request: a read-only mapping with case-insensitive names.

    A header that came more than once is joined by ``", "``, as in `offloop.Headers`;
    `get_list` gives the single values.
    """

    def __init__(self, pairs: tuple[tuple[str, str], ...]) -> None:
        self._pairs = pairs

    def __getitem__(self, name: str) -> str:
        values = self.get_list(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for name, _ in self._pairs))

    def __len__(self) -> int:
        return len({name for name, _ in self._pairs})

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.get_list(name))

    def __repr__(self) -> str:
        return f"HeaderView({list(self._pairs)})"

    def get_list(self, name: str) -> list[str]:
        """All values of the header `name`, in the order they came."""
        return [value for key, value in self._pairs if key == name.lower()]

    def multi_items(self) -> list[tuple[str, str]]:
        """Name in lower case and value of each header line, in the order they came."""
        return list(self._pairs)


@dataclass(frozen=True, slots=True)
class MockRequest:
    """One request that reached a `MockRouter`.

    Fields
        method: as sent, ``"GET"``.
        host: of the Host header, with its port where it has one.
        target: path and query as sent, percent-encoded.
        headers: a mapping with case-insensitive names.
        content: the body, its transfer coding removed.
        path_params: what stood in the ``{name}`` segments of the route's pattern, decoded.
        scheme: what the pattern of the route says, else ``"http"``: the connection to a mock has
            no TLS, so the wire does not tell.
    """

    method: str
    host: str
    target: str
    headers: HeaderView
    content: bytes = field(repr=False)
    path_params: Mapping[str, str] = field(default_factory=dict)
    scheme: str = "http"

    @property
    def url(self) -> str:
        """The URL that was asked for, with its query; see `scheme` about its beginning."""
        return f"{self.scheme}://{self.host}{self.target}"

    @property
    def path(self) -> str:
        """The path, decoded."""
        return unquote(self.target.partition("?")[0])

    @property
    def query(self) -> list[tuple[str, str]]:
        """The pairs of the query, decoded, in the order they came."""
        return parse_qsl(self.target.partition("?")[2], keep_blank_values=True)

    @property
    def params(self) -> dict[str, str]:
        """The query as a dict; of a name that came more than once, the last value."""
        return dict(self.query)

    @property
    def text(self) -> str:
        """The body as UTF-8; bytes that are not become U+FFFD."""
        return self.content.decode(errors="replace")

    def json(self) -> Any:
        """Parse the body as JSON. Raises ValueError when it is not JSON."""
        return json.loads(self.content)


async def read_request(exchange: Exchange) -> MockRequest:
    """Read the whole body of a request and give the request as a value."""
    pieces = []
    while piece := await exchange.read():
        pieces.append(piece)
    head = exchange.head
    pairs = tuple((n.decode("latin-1"), v.decode("latin-1")) for n, v in head.headers)
    headers = HeaderView(pairs)
    host, target, scheme = headers.get("host", ""), head.target.decode("latin-1"), "http"
    # The absolute form is what clients send to a proxy; it names the scheme (RFC 9112, 3.2.2).
    if target.lower().startswith(("http://", "https://")):
        scheme, _, rest = target.partition("://")
        host, slash, target = rest.partition("/")
        target = slash + target or "/"
    content = b"".join(pieces)
    return MockRequest(head.method, host.lower(), target, headers, content, {}, scheme.lower())

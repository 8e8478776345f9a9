"""Where offloop differs from curl, by the number of the case, and why.

Two shares are reported: of all cases that can be put to offloop, and of those that ask for nothing
its documents exclude. What excludes a case stood there before the cases were replayed; that it
applies to one is said here, with the case.
"""

from __future__ import annotations

_TWO_LENGTHS = (
    "both Transfer-Encoding and Content-Length: refused, as that is how answers are smuggled"
)
_SPACE = "a space in a Location becomes %20, as the URL standard has it; curl writes + in a query"
_LENGTH = (
    "a Content-Length beyond 64 bits is a broken head; curl takes it for unlimited or too large"
)
_SLASHES = "http: is followed by two slashes and a host, not by one or three: it is not guessed"
_CAPS = "other caps: 50 cookies for a domain, 4096 bytes for one (RFC 6265bis); none for a request"
_HASH = "SHA-512-256 is SHA-512/256 (RFC 7616); this release of curl computed SHA-256 for it"
_PROXY = (
    "407 is a ProxyError, with or without a tunnel: the answer is the proxy's, not the server's"
)

EXPLAINED: dict[int, str] = {
    31: "the paths /x and /x/ are two cookies (RFC 6265); curl takes them for one",
    40: _SPACE,
    82: _PROXY,
    93: _PROXY,
    214: "a backslash in a URL is refused: what is shown is what is dialled",
    319: _TWO_LENGTHS,
    346: "a proxy's URL with a path is refused: a proxy has none",
    365: _TWO_LENGTHS,
    392: "Secure means https; curl and browsers count localhost as secure",
    393: _LENGTH,
    395: _LENGTH,
    414: "a redirect from https to http is refused",
    442: _CAPS,
    443: _CAPS,
    444: _CAPS,
    663: _SPACE,
    1056: "an IPv6 zone in a URL is refused, as the URL standard has it",
    1105: "tabs are kept in cookies, and a path in quotes is no path (RFC 6265bis)",
    1141: _SLASHES,
    1143: _SLASHES,
    1160: "bytes above 0x7f are kept in a name, attributes that nobody knows ignored (RFC 6265bis)",
    1274: "a header that goes on in the next line makes a broken head",
    1417: "chunk sizes that end with a bare LF are refused, as that is how answers are smuggled",
    1437: "a challenge that names two nonces is not answered",
    1633: "the hop that failed is tried again; curl begins again with the first",
    2062: _HASH,
    2065: _HASH,
    2068: _HASH,
}

REFUSED = "the security rules name it as refused: SECURITY.md, docs/fetching.md"
COOKIES = "cookies follow RFC 6265bis and its limits, where curl has rules and limits of its own"
MISTAKE = "a mistake of that release, which later ones do not make"

EXCLUDED: dict[int, str] = {
    82: REFUSED,
    93: REFUSED,
    214: REFUSED,
    319: REFUSED,
    365: REFUSED,
    414: REFUSED,
    1056: REFUSED,
    1141: REFUSED,
    1143: REFUSED,
    1417: REFUSED,
    31: COOKIES,
    392: COOKIES,
    442: COOKIES,
    443: COOKIES,
    444: COOKIES,
    1105: COOKIES,
    1160: COOKIES,
    2062: MISTAKE,
    2065: MISTAKE,
    2068: MISTAKE,
}
"""The cases that ask for what the documents exclude, and by which of their rules."""

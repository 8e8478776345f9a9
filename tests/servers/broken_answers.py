"""Answers no server should give, byte by byte, and what a fetch has to make of each.

Shared by `broken.py`, which sends them, and `tests/fetch/test_faults.py`, which expects the
outcome named beside the bytes: an exception of exactly this class in this phase, or, where the
answer is odd but clear, the body. `lenient` answers may also be refused with `ProtocolError`;
`stray` ones go on behind their own end.
FAULTS P1, P2, P3, P4, P6 and P12; RFC 9112 §5, §6 and §7.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass

FORGED = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged"


@dataclass(frozen=True)
class Answer:
    """What is sent; what becomes of it; what the server does with the connection afterwards."""

    data: bytes
    error: str | None = None
    phase: str | None = None
    body: bytes = b"hello"
    then: str = "keep"
    method: str = "GET"
    lenient: bool = False
    stray: bool = False


def head(*fields: str, status: str = "200 OK", version: str = "HTTP/1.1") -> bytes:
    return "\r\n".join([f"{version} {status}", *fields, "", ""]).encode("latin-1")


def bad_head(data: bytes) -> Answer:
    return Answer(data, "ProtocolError", "head")


def large_head(data: bytes) -> Answer:
    return Answer(data, "HeadersTooLarge", "head")


def sized(value: str) -> bytes:
    return head(f"content-length: {value}") + b"hello"


CHUNKED = head("transfer-encoding: chunked")
WHOLE = b"5\r\nhello\r\n0\r\n\r\n"


def bad_chunks(chunks: bytes) -> Answer:
    return Answer(CHUNKED + chunks, "ProtocolError", "body")


def good_chunks(chunks: bytes) -> Answer:
    return Answer(CHUNKED + chunks)


def cut(data: bytes) -> Answer:
    return Answer(data, "TruncatedBody", "body", then="close")


def coded(*fields: str) -> Answer:
    """A head about transfer codings that offloop has to refuse."""
    return bad_head(head(*fields) + WHOLE)


STARTS = {
    "garbage": bad_head(b"\x00\x01\x02 this is not HTTP\r\n\r\n"),
    "text": bad_head(b"hello\r\n\r\n"),
    "only-a-line": bad_head(b"\r\n \r\n\r\n"),
    "http-0.9": Answer(b"<html>hello</html>", "ProtocolError", "head", then="close"),
    "http-0.9-with-empty-line": bad_head(b"<html>\r\n\r\nhello"),
    "http-1.2": bad_head(head("content-length: 5", version="HTTP/1.2") + b"hello"),
    "http-2.0": bad_head(head("content-length: 5", version="HTTP/2.0") + b"hello"),
    "http-3": bad_head(head("content-length: 5", version="HTTP/3") + b"hello"),
    "http2-settings": bad_head(b"\0\0\0\x04\0\0\0\0\0" + b"\0\0\x08\x07\0\0\0\0\0" + bytes(8)),
    "lower-case-version": bad_head(head("content-length: 5", version="http/1.1") + b"hello"),
    "icy": bad_head(head("content-length: 5", version="ICY") + b"hello"),
    "status-of-two-digits": bad_head(head("content-length: 5", status="20 OK") + b"hello"),
    "status-of-four-digits": bad_head(head("content-length: 5", status="2000 OK") + b"hello"),
    "status-of-letters": bad_head(head("content-length: 5", status="two OK") + b"hello"),
    "status-000": bad_head(head("content-length: 5", status="000 Zero") + b"hello"),
    "status-missing": bad_head(b"HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello"),
    "status-line-with-nul": bad_head(head("content-length: 5", status="200 O\0K") + b"hello"),
    "no-reason": Answer(head("content-length: 5", status="200") + b"hello"),
    "bare-line-feeds": Answer(b"HTTP/1.1 200 OK\ncontent-length: 5\n\nhello", lenient=True),
    "empty-line-first": Answer(b"\r\n" + sized("5"), lenient=True),
    "unasked-101": bad_head(
        head("upgrade: x", "connection: upgrade", status="101 Switching Protocols")
    ),
    "closed-before-any-byte": Answer(b"", "ProtocolError", "head", then="close"),
    "reset-before-any-byte": Answer(b"", "ProtocolError", "head", then="reset"),
    "closed-in-the-head": Answer(head()[:-2], "ProtocolError", "head", then="close"),
    "reset-in-the-head": Answer(head()[:-2], "ProtocolError", "head", then="reset"),
    "closed-after-103": Answer(
        head(status="103 Early Hints"), "ProtocolError", "head", then="close"
    ),
}

FIELDS = {
    "nul-in-value": bad_head(head("x-odd: a\0b", "content-length: 5") + b"hello"),
    "nul-in-name": bad_head(head("x-\0odd: ab", "content-length: 5") + b"hello"),
    "cr-in-value": bad_head(head("x-odd: a\rb", "content-length: 5") + b"hello"),
    "cr-in-name": bad_head(head("x-\rodd: ab", "content-length: 5") + b"hello"),
    "folded": bad_head(head("x-odd: a", " b", "content-length: 5") + b"hello"),
    "folded-with-tab": bad_head(head("x-odd: a", "\tb", "content-length: 5") + b"hello"),
    "folded-first-line": bad_head(head(" x-odd: a", "content-length: 5") + b"hello"),
    "folded-length": bad_head(head("content-length:", " 5") + b"hello"),
    "no-colon": bad_head(head("x-odd", "content-length: 5") + b"hello"),
    "empty-name": bad_head(head(": a", "content-length: 5") + b"hello"),
    "space-before-colon": bad_head(head("x-odd : a", "content-length: 5") + b"hello"),
    "length-space-before-colon": bad_head(head("content-length : 5") + b"hello"),
    "empty-value": Answer(head("x-odd:", "content-length: 5") + b"hello"),
    "latin-1-value": Answer(head("x-odd: gr\xfcn", "content-length: 5") + b"hello"),
    "one-field-of-1-mib": large_head(
        head("x-odd: " + "a" * (1 << 20), "content-length: 5") + b"hello"
    ),
    "one-field-of-100-kib": large_head(
        head("x-odd: " + "a" * 102_400, "content-length: 5") + b"hello"
    ),
    "one-name-of-100-kib": large_head(head("x" * 102_400 + ": a", "content-length: 5") + b"hello"),
    "fields-of-100-kib": large_head(
        head(*[f"x-{i}: {'a' * 1000}" for i in range(100)], "content-length: 5") + b"hello"
    ),
    "300-fields": large_head(head(*["x: a"] * 300, "content-length: 5") + b"hello"),
    "100-000-fields": large_head(head(*["x: a"] * 100_000, "content-length: 5") + b"hello"),
    "reason-of-1-mib": large_head(
        head("content-length: 5", status="200 " + "O" * (1 << 20)) + b"hello"
    ),
    "200-fields": Answer(head(*["x: a"] * 200, "content-length: 5") + b"hello"),
    "fields-of-50-kib": Answer(
        head(*[f"x-{i}: {'a' * 1000}" for i in range(50)], "content-length: 5") + b"hello"
    ),
}

LENGTHS = {
    "length-plus": bad_head(sized("+5")),
    "length-minus": bad_head(sized("-5")),
    "length-hex": bad_head(sized("0x5")),
    "length-float": bad_head(sized("5.0")),
    "length-exponent": bad_head(sized("5e0")),
    "length-underscore": bad_head(sized("0_5")),
    "length-empty": bad_head(sized("")),
    "length-word": bad_head(sized("five")),
    "length-with-unit": bad_head(sized("5 bytes")),
    "length-of-two-numbers": bad_head(sized("5 5")),
    "length-semicolon": bad_head(sized("5;")),
    "length-of-other-digits": bad_head(sized("\xb2")),
    "length-beyond-64-bits": bad_head(sized("18446744073709551621")),
    "length-list-differs": bad_head(sized("5, 6")),
    "length-list-with-gap": bad_head(sized("5,,6")),
    "length-twice-differs": bad_head(head("content-length: 5", "content-length: 6") + b"hello!"),
    "length-twice-one-bad": bad_head(head("content-length: 5", "content-length: +5") + b"hello"),
    "length-list-equal": Answer(sized("5, 5"), lenient=True),
    "length-twice-equal": Answer(
        head("content-length: 5", "content-length: 5") + b"hello", lenient=True
    ),
    "length-leading-zeros": Answer(sized("0005"), lenient=True),
    "length-too-short": Answer(head("content-length: 3") + b"hello", body=b"hel", stray=True),
    "length-too-long": cut(sized("10")),
    "length-too-long-reset": Answer(sized("10"), "TruncatedBody", "body", then="reset"),
    "length-zero": Answer(sized("0"), body=b"", stray=True),
    "length-and-chunked": bad_head(head("content-length: 5", "transfer-encoding: chunked") + WHOLE),
    "chunked-and-length": bad_head(
        head("transfer-encoding: chunked", "content-length: 15") + WHOLE
    ),
    "bad-length-and-chunked": bad_head(
        head("content-length: +5", "transfer-encoding: chunked") + WHOLE
    ),
    "until-close": Answer(head() + b"hello", then="close"),
    "until-close-http-1.0": Answer(head(version="HTTP/1.0") + b"hello", then="close"),
}

CODINGS = {
    "chunked-twice": coded("transfer-encoding: chunked", "transfer-encoding: chunked"),
    "chunked-twice-in-a-list": coded("transfer-encoding: chunked, chunked"),
    "chunked-not-last": coded("transfer-encoding: chunked, gzip"),
    "chunked-not-last-in-two": coded("transfer-encoding: chunked", "transfer-encoding: gzip"),
    "gzip-then-chunked": coded("transfer-encoding: gzip, chunked"),
    "coding-identity": coded("transfer-encoding: identity"),
    "coding-identity-then-chunked": coded("transfer-encoding: identity, chunked"),
    "coding-gzip": coded("transfer-encoding: gzip"),
    "coding-unknown": coded("transfer-encoding: banana"),
    "coding-empty": coded("transfer-encoding:"),
    "coding-quoted": coded('transfer-encoding: "chunked"'),
    "coding-with-parameter": coded("transfer-encoding: chunked;q=1"),
    "coding-with-vertical-tab": coded("transfer-encoding: \x0bchunked"),
    "coding-with-nbsp": coded("transfer-encoding: \xa0chunked"),
    "coding-prefix": coded("transfer-encoding: xchunked"),
    "coding-space-before-colon": coded("transfer-encoding : chunked"),
    "chunked-on-http-1.0": bad_head(head("transfer-encoding: chunked", version="HTTP/1.0") + WHOLE),
    "coding-upper-case": Answer(head("Transfer-Encoding: CHUNKED") + WHOLE),
    "coding-padded": Answer(head("transfer-encoding:   chunked\t ") + WHOLE),
}

CHUNKS = {
    "chunk-size-not-hex": bad_chunks(b"5g\r\nhello\r\n0\r\n\r\n"),
    "chunk-size-0x": bad_chunks(b"0x5\r\nhello\r\n0\r\n\r\n"),
    "chunk-size-plus": bad_chunks(b"+5\r\nhello\r\n0\r\n\r\n"),
    "chunk-size-minus": bad_chunks(b"-5\r\nhello\r\n0\r\n\r\n"),
    "chunk-size-underscore": bad_chunks(b"0_5\r\nhello\r\n0\r\n\r\n"),
    "chunk-size-empty": bad_chunks(b"\r\nhello\r\n0\r\n\r\n"),
    "chunk-size-of-words": bad_chunks(b"5 5\r\nhello\r\n0\r\n\r\n"),
    "chunk-size-nul": bad_chunks(b"5\0\r\nhello\r\n0\r\n\r\n"),
    "chunk-size-beyond-64-bits": bad_chunks(b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    "chunk-size-of-1-mib": Answer(
        CHUNKED + b"0" * (1 << 20) + b"5\r\nhello\r\n0\r\n\r\n", lenient=True
    ),
    "chunk-line-feed-only": bad_chunks(b"5\nhello\r\n0\r\n\r\n"),
    "chunk-return-only": bad_chunks(b"5\rhello\r\n0\r\n\r\n"),
    "chunk-without-end": bad_chunks(b"5\r\nhello0\r\n\r\n"),
    "chunk-ends-in-line-feed": bad_chunks(b"5\r\nhello\n0\r\n\r\n"),
    "chunk-longer-than-said": bad_chunks(b"4\r\nhello\r\n0\r\n\r\n"),
    "chunk-extension-with-line-feed": bad_chunks(b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
    "chunk-extension-of-1-mib": bad_chunks(b"5;" + b"a" * (1 << 20) + b"\r\nhello\r\n0\r\n\r\n"),
    "chunk-extensions-of-1-mib": bad_chunks((b"1;" + b"a" * 1024 + b"\r\nh\r\n") * 1024 + WHOLE),
    "trailers-of-1-mib": bad_chunks(b"5\r\nhello\r\n0\r\n" + b"x: a\r\n" * 175_000 + b"\r\n"),
    "trailer-of-1-mib": bad_chunks(b"5\r\nhello\r\n0\r\nx: " + b"a" * (1 << 20) + b"\r\n\r\n"),
    "trailer-without-colon": bad_chunks(b"5\r\nhello\r\n0\r\nodd\r\n\r\n"),
    "trailer-with-nul": bad_chunks(b"5\r\nhello\r\n0\r\nx: \0\r\n\r\n"),
    "chunk-extension": good_chunks(b'5;a=b;c="d e"\r\nhello\r\n0;last\r\n\r\n'),
    "chunk-leading-zeros": good_chunks(b"0005\r\nhello\r\n000\r\n\r\n"),
    "trailer": good_chunks(b"5\r\nhello\r\n0\r\ncontent-length: 3\r\nx: a\r\n\r\n"),
    "chunk-of-64-bits": cut(CHUNKED + b"ffffffffffffffff\r\nhello"),
    "chunk-of-63-bits": cut(CHUNKED + b"7fffffffffffffff\r\nhello"),
    "chunks-without-end": cut(CHUNKED + b"5\r\nhello\r\n"),
    "chunks-without-last-line": cut(CHUNKED + b"5\r\nhello\r\n0\r\n"),
    "chunks-reset": Answer(CHUNKED + b"5\r\nhello\r\n", "TruncatedBody", "body", then="reset"),
}

BODILESS = {
    "body-on-head": Answer(sized("5"), body=b"", stray=True, method="HEAD"),
    "chunks-on-head": Answer(CHUNKED + WHOLE, body=b"", stray=True, method="HEAD"),
    "cut-on-head": Answer(head("content-length: 5"), body=b"", method="HEAD"),
    "body-on-204": Answer(
        head("content-length: 5", status="204 No Content") + b"hello", body=b"", stray=True
    ),
    "chunks-on-204": Answer(
        head("transfer-encoding: chunked", status="204 No Content") + WHOLE, body=b"", stray=True
    ),
    "body-on-304": Answer(
        head("content-length: 5", status="304 Not Modified") + b"hello", body=b"", stray=True
    ),
    "length-on-304": Answer(head("content-length: 5", status="304 Not Modified"), body=b""),
    "early-hints-first": Answer(head("link: </a>", status="103 Early Hints") + sized("5")),
    "continue-first": Answer(head(status="100 Continue") + sized("5")),
}

ANSWERS = STARTS | FIELDS | LENGTHS | CODINGS | CHUNKS | BODILESS

# For cutting at every byte: a body by length, in chunks, and compressed.
COMPRESSED = gzip.compress(b"hello " * 50, mtime=0)
CUTTABLE = {
    "length": head("content-length: 24") + b"twenty-four bytes of it.",
    "chunks": CHUNKED + b"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nx: a\r\n\r\n",
    "gzip": head("content-encoding: gzip", f"content-length: {len(COMPRESSED)}") + COMPRESSED,
}

# Whole messages whose coded body is cut, damaged or followed by rubbish. brotli and zstd were
# made once by their reference encoders (brotli 1.2, zstandard 0.25): the sentence, three times.
SENTENCE = b"It was a bright cold day in April, and the clocks were striking thirteen. " * 3
BROTLI = bytes.fromhex(
    "1bdd00e8454f96ea43123b63f322f00236e080bd01071b74908d790fb87a73ca59e3d851bd1120b32afdc1793e8f"
    "1f7289ce98d352e739507355350606"
)
ZSTD = bytes.fromhex(
    "28b52ffd24de3d0200a2440f15a0a52d06e8b2fdd729a5535af3a35e5fb4befc5f350b79b78a662f890775d5a7b7"
    "566724343eb393b403840a184e3c606482d2784d412db695ad970801004aa4a1421436e8d166"
)
CODED = {
    "gzip": gzip.compress(SENTENCE, mtime=0),
    "deflate": zlib.compress(SENTENCE),
    "br": BROTLI,
    "zstd": ZSTD,
}


def coded_body(coding: str, data: bytes) -> bytes:
    return head(f"content-encoding: {coding}", f"content-length: {len(data)}") + data

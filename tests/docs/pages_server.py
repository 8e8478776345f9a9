"""The server behind the examples of the documentation; ends when its standard input closes.

Paths: /users/N, /echo (tells the request), /1k, /big, /rows (JSON lines), /events, /slow, /flaky
(503 twice, then 200), /old (redirects), /login (sets a cookie), /digest (wants ann:secret), /file
(a body with a validator, in ranges). It takes requests in absolute form, as a proxy does.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

FLAKY = itertools.cycle([503, 503, 200])
FILE = b"".join(b"%07d\n" % number for number in range(250_000))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        pass

    def answer(self, body: bytes = b"", status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "content_length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def json(self, value: object, status: int = 200) -> None:
        self.answer(json.dumps(value).encode(), status, content_type="application/json")

    def body(self) -> bytes:
        if "chunked" in self.headers.get("transfer-encoding", ""):
            pieces = b""
            while size := int(self.rfile.readline(), 16):
                pieces += self.rfile.read(size + 2)[:-2]
            self.rfile.readline()
            return pieces
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def any_method(self) -> None:
        parts = urlsplit(self.path)
        body = self.body()
        path = parts.path
        if path.startswith("/users/"):
            self.json({"id": int(path.rpartition("/")[2]), "name": "Ada"})
        elif path == "/echo":
            told = {
                "method": self.command,
                "query": parse_qsl(parts.query, keep_blank_values=True),
                "headers": {name.lower(): value for name, value in self.headers.items()},
                "body": body.decode("latin-1"),
            }
            self.json(told)
        elif path == "/1k":
            self.answer(b"x" * 1024)
        elif path == "/big":
            self.answer(b"x" * 1_000_000)
        elif path == "/rows":
            self.answer(b'{"n": 1}\n{"n": 2}\n', content_type="application/x-ndjson")
        elif path == "/events":
            events = b"event: price\ndata: 42\nid: 1\n\ndata: last\n\n"
            self.answer(events, content_type="text/event-stream")
        elif path == "/slow":
            time.sleep(0.5)
            self.answer(b"at last")
        elif path == "/flaky":
            self.answer(b"", next(FLAKY), retry_after="0")
        elif path == "/old":
            status = 302 if self.command in ("GET", "HEAD") else 303
            self.answer(b"", status, location="/users/7")
        elif path == "/login":
            self.answer(b"welcome", set_cookie="session=abc; HttpOnly")
        elif path == "/digest":
            self.digest()
        elif path == "/file":
            self.file()
        else:
            self.answer(b"not here", 404)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = any_method

    def digest(self) -> None:
        given = dict(re.findall(r'(\w+)="?([^",]+)"?', self.headers.get("authorization", "")))
        if not given:
            challenge = 'Digest realm="docs", nonce="n", qop="auth", algorithm=SHA-256'
            self.answer(b"", 401, www_authenticate=challenge)
            return

        def hashed(*parts: str) -> str:
            return hashlib.sha256(":".join(parts).encode()).hexdigest()

        first = hashed("ann", "docs", "secret")
        second = hashed(self.command, given["uri"])
        right = hashed(first, "n", given["nc"], given["cnonce"], "auth", second)
        self.answer(b"welcome", 200 if given["response"] == right else 403)

    def file(self) -> None:
        common = {"etag": '"v1"', "accept_ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
        if asked and self.headers.get("if-range", '"v1"') == '"v1"':
            start = int(asked[1])
            end = min(int(asked[2] or len(FILE) - 1), len(FILE) - 1)
            span = f"bytes {start}-{end}/{len(FILE)}"
            self.answer(FILE[start : end + 1], 206, content_range=span, **common)
        else:
            self.answer(FILE, **common)


if __name__ == "__main__":
    serving = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving.daemon_threads = True
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    print(serving.server_port, flush=True)
    sys.stdin.read()

"""TLS servers of every kind, one port each, in one process; `/ports` on the main port lists them.

The first argument is a folder that `certificates.write_all` has filled. A port named like a file
there shows that certificate; the others are faults of the handshake, of the version, of ALPN or
of the way the connection ends. One thread a connection: Python's ssl blocks best.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

OK = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nhello"
CUT = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello"
ports: dict[str, int] = {}
connections: dict[str, int] = {}


def read_head(connection: socket.socket) -> bool:
    got = b""
    while b"\r\n\r\n" not in got:
        more = connection.recv(65_536)
        if not more:
            return False
        got += more
    return True


def finish(connection: socket.socket) -> None:
    """FIN without close_notify, and no reset through unread bytes."""
    connection.shutdown(socket.SHUT_WR)
    with contextlib.suppress(OSError):
        while connection.recv(65_536):
            pass


def tls(kind: str, context: ssl.SSLContext) -> Callable[[socket.socket], None]:
    def serve(raw: socket.socket) -> None:
        with context.wrap_socket(raw, server_side=True) as connection:
            while read_head(connection):
                shown = (connection.getpeercert() or {}).get("subject", ())
                body = str(dict(pair[0] for pair in shown).get("commonName", kind)).encode()
                if kind.startswith("until-close"):
                    connection.sendall(UNTIL_CLOSE)
                    if "with-notify" in kind:
                        connection.unwrap()
                    finish(connection)
                    return
                if kind in {"cut-without-notify", "cut-with-notify"}:
                    connection.sendall(CUT)
                    if "with-notify" in kind:
                        connection.unwrap()
                    finish(connection)
                    return
                connection.sendall(OK % (len(body), body))
                if kind == "sized-without-notify":
                    finish(connection)
                    return

    return serve


def context_of(folder: Path, kind: str) -> ssl.SSLContext:
    named = folder / f"{kind}.pem"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # Debian refuses weak keys and digests on the server's side, too, unless told otherwise.
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.load_cert_chain(named if named.exists() else folder / "good.pem")
    if kind == "old-versions-only":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
    if kind.endswith("1.2"):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if kind.startswith("wants-a-client"):
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / "ca.pem")
    if kind == "alpn-of-another-kind":
        context.set_alpn_protocols(["spdy/3"])
    elif kind == "alpn-http-1.1":
        context.set_alpn_protocols(["http/1.1"])
    return context


def plain_http(raw: socket.socket) -> None:
    raw.recv(65_536)
    raw.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
    finish(raw)


def garbage(raw: socket.socket) -> None:
    raw.recv(65_536)
    raw.sendall(b"\x17\x99\xff" * 1000)
    finish(raw)


def record_of_nonsense(raw: socket.socket) -> None:
    raw.recv(65_536)
    raw.sendall(b"\x16\x03\x03\x00\x20" + bytes(range(32)))
    finish(raw)


def silent(raw: socket.socket) -> None:
    time.sleep(3600)


def half_a_record(raw: socket.socket) -> None:
    raw.recv(65_536)
    raw.sendall(b"\x16\x03\x03\x40\x00\x02")
    time.sleep(3600)


def closes(raw: socket.socket) -> None:
    raw.recv(65_536)
    finish(raw)


def resets(raw: socket.socket) -> None:
    raw.recv(65_536)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


RAW = {
    "plain-http": plain_http,
    "garbage": garbage,
    "record-of-nonsense": record_of_nonsense,
    "silent": silent,
    "half-a-record": half_a_record,
    "closes": closes,
    "resets": resets,
}
TLS = (
    "good good-intermediate other-key expired not-yet-valid wrong-name wrong-ip common-name-only "
    "self-signed unknown-authority unknown-authority-sent-along missing-intermediate "
    "issuer-is-no-authority name-constraint client-only-usage rsa-1024 sha-1 old-versions-only "
    "good-1.2 wants-a-client wants-a-client-1.2 alpn-of-another-kind alpn-http-1.1 "
    "until-close-with-notify until-close-without-notify sized-without-notify "
    "cut-without-notify cut-with-notify until-close-with-notify-1.2 until-close-without-notify-1.2"
).split()


def index(raw: socket.socket) -> None:
    while read_head(raw):
        body = json.dumps({"ports": ports, "connections": connections}).encode()
        raw.sendall(OK % (len(body), body))


def listen(kind: str, serve: Callable[[socket.socket], None]) -> int:
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)

    def one(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            serve(connection)

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            connections[kind] = connections.get(kind, 0) + 1
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def main(folder: Path) -> None:
    for kind in TLS:
        ports[kind] = listen(kind, tls(kind, context_of(folder, kind)))
    for kind, serve in RAW.items():
        ports[kind] = listen(kind, serve)
    print(listen("index", index), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""The server of the fetch benchmarks: nginx on loopback, one worker, pinned to a core.

It serves the same files in three ways, each at a port of its own: in the clear, over TLS with
HTTP/1.1, and over TLS with HTTP/2. The certificate is issued by an authority that trustme makes
for this one run; without trustme there is no TLS.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CONFIG = """
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    http2_max_concurrent_streams 1024;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    root {folder}/files;
    open_file_cache max=16;
    server {{
        listen 127.0.0.1:{http} backlog=4096;
        location /slow/ {{
            alias {folder}/files/;
            limit_rate 8m;
        }}
        location = /policy {{
            default_type text/plain;
            add_header Set-Cookie "session=0123456789abcdef; Path=/";
            return 200 "$http_authorization $http_cookie";
        }}
    }}
    {tls}
}}
"""
TLS = """
    ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.pem;
    ssl_protocols TLSv1.2 TLSv1.3;
    server {{ listen 127.0.0.1:{https} ssl backlog=4096; }}
    server {{ listen 127.0.0.1:{http2} ssl http2 backlog=4096; }}
"""
SIZES = {"1k": 1024, "100k": 100 * 1024, "10m": 10 * 1024 * 1024}
"""The files by name, in bytes."""


@dataclass(frozen=True)
class Server:
    """Base URLs of a running nginx; without `authority`, a PEM file, it has no TLS."""

    http: str
    https: str
    http2: str
    authority: Path | None
    files: Path


def find_nginx() -> str:
    """Path of nginx; raises FileNotFoundError that says how to get it."""
    path = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if path is None:
        message = "the fetch benchmarks need nginx: apt-get install nginx-light"
        raise FileNotFoundError(message)
    return path


@contextlib.contextmanager
def serve(core: int | None) -> Iterator[Server]:
    """Run nginx with files of 1 KiB, 100 KiB and 10 MiB, in memory where the system can."""
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx started by root serves as another user
        files = folder / "files"
        files.mkdir()
        for label, size in SIZES.items():
            (files / label).write_bytes(os.urandom(size))
        authority = _certify(folder)
        ports = dict(zip(("http", "https", "http2"), _free_ports(3), strict=True))
        tls = TLS.format(folder=folder, **ports) if authority else ""
        config = folder / "nginx.conf"
        config.write_text(CONFIG.format(folder=folder, tls=tls, **ports))
        server = subprocess.Popen(
            [find_nginx(), "-p", name, "-c", str(config), "-e", str(folder / "error.log")],
            stderr=subprocess.DEVNULL,
        )
        try:
            if core is not None and hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(server.pid, {core})
            _wait_for(ports["http"])
            yield Server(
                http=f"http://127.0.0.1:{ports['http']}",
                https=f"https://127.0.0.1:{ports['https']}",
                http2=f"https://127.0.0.1:{ports['http2']}",
                authority=authority,
                files=files,
            )
        finally:
            server.terminate()
            server.wait(10)


def _certify(folder: Path) -> Path | None:
    """Write a certificate for the server; gives the file of the authority that issued it."""
    if importlib.util.find_spec("trustme") is None:
        return None
    import trustme

    authority, issued_by = trustme.CA(), folder / "authority.pem"
    issued = authority.issue_cert("127.0.0.1", "localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    authority.cert_pem.write_to_path(str(issued_by))
    return issued_by


def _free_ports(number: int) -> list[int]:
    """Give ports that are free now; all are held until the last is found, so that none repeats."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [int(probe.getsockname()[1]) for probe in probes]


def _wait_for(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    message = "nginx did not start"
    raise RuntimeError(message)

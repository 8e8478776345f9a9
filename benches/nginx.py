"""The server of the fetch benchmarks: nginx on loopback, one worker, pinned to a core."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
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
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {folder}/files;
        open_file_cache max=16;
    }}
}}
"""


def find_nginx() -> str:
    """Path of nginx; raises FileNotFoundError that says how to get it."""
    path = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if path is None:
        message = "the fetch benchmarks need nginx: apt-get install nginx-light"
        raise FileNotFoundError(message)
    return path


@contextlib.contextmanager
def serve(core: int | None) -> Iterator[str]:
    """Run nginx with files of 1 KiB, 100 KiB and 10 MiB; gives the base URL."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx started by root serves as another user
        files = folder / "files"
        files.mkdir()
        for label, size in (("1k", 1024), ("100k", 100 * 1024), ("10m", 10 * 1024 * 1024)):
            (files / label).write_bytes(os.urandom(size))
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        config = folder / "nginx.conf"
        config.write_text(CONFIG.format(folder=folder, port=port))
        server = subprocess.Popen(
            [find_nginx(), "-p", name, "-c", str(config), "-e", str(folder / "error.log")],
            stderr=subprocess.DEVNULL,
        )
        try:
            if core is not None and hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(server.pid, {core})
            _wait_for(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(10)


def _wait_for(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    message = "nginx did not start"
    raise RuntimeError(message)

"""https: trusted roots only, and none needed for http."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

import offloop
from servers import Server, serve

FETCH = """
import asyncio, sys, offloop
async def main():
    for url in sys.argv[1:]:
        try:
            print((await offloop.fetch(url)).status_code)
        except offloop.OffloopError as error:
            print(type(error).__name__, error)
asyncio.run(main())
"""


def fetch_in_a_process(*urls: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", FETCH, *urls],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls_server(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("tls")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        folder / "leaf.pem"
    )
    with serve("plain", str(folder / "leaf.pem"), scheme="https") as running:
        yield running


def test_a_certificate_of_a_trusted_authority_is_accepted(
    tls_server: Server, authority: trustme.CA, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    ended = fetch_in_a_process(
        f"{tls_server.url}/1k", f"{tls_server.url}/to?/1k", SSL_CERT_FILE=str(tmp_path / "ca.pem")
    )
    assert (ended.stdout, ended.stderr) == ("200\n200\n", "")


def test_an_unknown_authority_is_refused_with_its_cause(tls_server: Server) -> None:
    async def main() -> None:
        await offloop.fetch(f"{tls_server.url}/1k?token=hunter2")

    with pytest.raises(offloop.TLSError, match="unknown issuer") as caught:
        asyncio.run(main())
    assert isinstance(caught.value, ConnectionError)
    assert caught.value.phase == "connect"
    assert "hunter2" not in str(caught.value)


def test_a_machine_without_roots_warns_once_and_uses_the_bundled_ones(
    tls_server: Server, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "empty.pem").touch()
    (tmp_path / "empty").mkdir()
    none = {"SSL_CERT_FILE": str(tmp_path / "empty.pem"), "SSL_CERT_DIR": str(tmp_path / "empty")}
    ended = fetch_in_a_process(f"{server.url}/1k", **none)
    assert (ended.stdout, ended.stderr) == ("200\n", "")
    ended = fetch_in_a_process(
        f"{server.url}/1k", f"{tls_server.url}/1k", f"{tls_server.url}/1k", **none
    )
    assert ended.stdout.startswith("200\nTLSError")
    assert ended.stderr.count("no root certificates") == 1
    assert len(ended.stderr.splitlines()) == 1


def test_http_on_a_tls_port_and_tls_on_an_http_port_are_errors(
    tls_server: Server, server: Server
) -> None:
    async def main() -> None:
        with pytest.raises(offloop.FetchError):
            await offloop.fetch(tls_server.url.replace("https", "http"), timeout=5)
        # That server waits for the end of a request that never comes.
        with pytest.raises((offloop.TLSError, offloop.FetchTimeout)):
            await offloop.fetch(server.url.replace("http", "https"), timeout=0.5)

    asyncio.run(main())

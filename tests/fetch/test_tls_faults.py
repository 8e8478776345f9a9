"""What can be wrong with TLS: refused with the cause in the message, and never hanging (FAULTS F6).

The certificates come from `tests/servers/certificates.py`, the servers from
`tests/servers/tls_faults.py`. Also here: `verify=`, `cert=`, `pin=`, and that connections made
under lax rules never serve a strict client (FAULTS S5).
"""

from __future__ import annotations

import asyncio
import json
import pickle
import re
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import offloop
from servers import serve
from servers.certificates import write_all

CONNECT = 0.5


@dataclass
class TlsServers:
    """One port for each kind of fault, the folder with the certificates, and the pins."""

    folder: Path
    index: str
    ports: dict[str, int]
    pins: dict[str, str]

    def url(self, kind: str, scheme: str = "https") -> str:
        return f"{scheme}://127.0.0.1:{self.ports[kind]}/x?token=hunter2"

    def file(self, name: str) -> str:
        return str(self.folder / name)

    def connections(self, kind: str) -> int:
        with urllib.request.urlopen(f"{self.index}/connections", timeout=10) as answer:
            return json.load(answer)["connections"].get(kind, 0)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServers]:
    folder = tmp_path_factory.mktemp("tls")
    pins = write_all(folder)
    with serve("tls_faults", str(folder)) as running:
        with urllib.request.urlopen(f"{running.url}/ports", timeout=10) as answer:
            yield TlsServers(folder, running.url, json.load(answer)["ports"], pins)


Fetch = Callable[..., offloop.Response]


@pytest.fixture
def fetch(tls: TlsServers) -> Fetch:
    """One GET by a client of its own that trusts `ca.pem`."""

    def fetch_once(url: str, **options: Any) -> offloop.Response:
        options.setdefault("verify", tls.file("ca.pem"))
        options.setdefault("timeout", offloop.Timeout(total=5, connect=CONNECT, read=1))

        async def main() -> offloop.Response:
            async with offloop.Client(**options) as client:
                return await client.get(url)

        return asyncio.run(main())

    return fetch_once


def refused(fetch: Fetch, url: str, cause: str, **options: Any) -> Any:
    began = time.monotonic()
    with pytest.raises(offloop.TLSError) as caught:
        fetch(url, **options)
    error = caught.value
    assert type(error) is offloop.TLSError
    assert isinstance(error, ConnectionError)
    assert re.search(cause, str(error), re.IGNORECASE), str(error)
    assert "hunter2" not in str(error) + repr(error)
    assert time.monotonic() - began < CONNECT + 2
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    return error


@pytest.mark.parametrize("kind", ["good", "good-intermediate", "good-1.2", "other-key"])
def test_a_good_certificate_is_accepted(fetch: Fetch, tls: TlsServers, kind: str) -> None:
    response = fetch(tls.url(kind))
    assert (response.status_code, response.content) == (200, kind.encode())
    assert response.timings["tls"] > 0


CERTIFICATES = {
    "expired": "expired",
    "not-yet-valid": r"not ?(yet)? ?valid ?(yet|before)|future",
    "wrong-name": "name",
    "wrong-ip": "name",
    "common-name-only": "name",
    "self-signed": "issuer|self.?signed|authority",
    "unknown-authority": "issuer|authority",
    "unknown-authority-sent-along": "issuer|authority",
    "missing-intermediate": "issuer|authority",
    "issuer-is-no-authority": "issuer|authority|EndEntityUsedAsCa|used as (a )?CA",
    "name-constraint": "constraint",
    "client-only-usage": "usage|purpose",
    "rsa-1024": "signature|key",
    "sha-1": "signature|sha.?1",
    "old-versions-only": "version",
}


@pytest.mark.parametrize("kind", CERTIFICATES)
def test_a_bad_certificate_is_refused_with_its_cause(
    fetch: Fetch, tls: TlsServers, kind: str
) -> None:
    assert refused(fetch, tls.url(kind), CERTIFICATES[kind]).phase == "connect"


def test_the_name_asked_for_is_the_name_that_counts(fetch: Fetch, tls: TlsServers) -> None:
    url = f"https://other.invalid:{tls.ports['wrong-name']}/"
    assert fetch(url, resolve={"other.invalid": "127.0.0.1"}).status_code == 200
    url = f"https://another.invalid:{tls.ports['wrong-name']}/"
    refused(fetch, url, "name", resolve={"another.invalid": "127.0.0.1"})


@pytest.mark.parametrize("kind", ["plain-http", "garbage", "record-of-nonsense", "closes"])
def test_a_port_that_speaks_no_tls_is_refused(fetch: Fetch, tls: TlsServers, kind: str) -> None:
    assert refused(fetch, tls.url(kind), "").phase == "connect"


def test_a_reset_in_the_handshake_is_a_connect_error(fetch: Fetch, tls: TlsServers) -> None:
    with pytest.raises(offloop.ConnectError) as caught:
        fetch(tls.url("resets"))
    assert caught.value.phase == "connect"


@pytest.mark.parametrize("kind", ["silent", "half-a-record"])
def test_a_stalled_handshake_is_a_connect_timeout(fetch: Fetch, tls: TlsServers, kind: str) -> None:
    began = time.monotonic()
    with pytest.raises(offloop.ConnectTimeout) as caught:
        fetch(tls.url(kind))
    assert CONNECT - 0.05 < time.monotonic() - began < CONNECT + 2
    assert (caught.value.phase, caught.value.seconds) == ("connect", CONNECT)


def test_http_on_a_tls_port_is_a_protocol_error(fetch: Fetch, tls: TlsServers) -> None:
    with pytest.raises(offloop.ProtocolError) as caught:
        fetch(tls.url("good", "http"))
    assert (type(caught.value), caught.value.phase) == (offloop.ProtocolError, "head")


@pytest.mark.parametrize("version", ["", "-1.2"])
def test_an_end_without_close_notify_ends_no_body(
    fetch: Fetch, tls: TlsServers, version: str
) -> None:
    assert fetch(tls.url(f"until-close-with-notify{version}")).content == b"hello"
    with pytest.raises(offloop.TruncatedBody) as caught:
        fetch(tls.url(f"until-close-without-notify{version}"))
    assert caught.value.phase == "body"


def test_a_body_of_known_length_needs_no_close_notify(fetch: Fetch, tls: TlsServers) -> None:
    assert fetch(tls.url("sized-without-notify")).content == b"sized-without-notify"
    for kind in ("cut-without-notify", "cut-with-notify"):
        with pytest.raises(offloop.TruncatedBody) as caught:
            fetch(tls.url(kind))
        assert (caught.value.received, caught.value.expected) == (5, 10)


@pytest.mark.parametrize("kind", ["alpn-of-another-kind", "alpn-http-1.1", "good"])
def test_without_a_common_protocol_it_is_http_1(fetch: Fetch, tls: TlsServers, kind: str) -> None:
    assert fetch(tls.url(kind)).http_version == "HTTP/1.1"


@pytest.mark.parametrize("kind", ["wants-a-client", "wants-a-client-1.2"])
def test_a_client_certificate_is_shown_when_it_is_wanted(
    fetch: Fetch, tls: TlsServers, kind: str
) -> None:
    url = tls.url(kind)
    assert fetch(url, cert=tls.file("client.pem")).content == b"the client"
    pair = (tls.file("client-split.pem"), tls.file("client-split.key"))
    assert fetch(url, cert=pair).content == b"the client"
    assert fetch(tls.url("good"), cert=pair).content == b"good"
    refused(fetch, url, "certificate|handshake", cert=None)
    refused(fetch, url, "certificate|ca|authority", cert=tls.file("client-foreign.pem"))


def test_a_certificate_without_its_key_is_refused(fetch: Fetch, tls: TlsServers) -> None:
    for cert in (
        tls.file("ca.pem"),
        tls.file("client-split.pem"),
        tls.file("no-such-file.pem"),
        (tls.file("client-split.pem"), tls.file("ca.pem")),
    ):
        with pytest.raises((ValueError, OSError, offloop.FetchError)):
            fetch(tls.url("good"), cert=cert)


def test_verify_trusts_its_file_or_folder_and_nothing_else(
    fetch: Fetch, tls: TlsServers, tmp_path: Path
) -> None:
    (tmp_path / "roots").mkdir()
    (tmp_path / "roots" / "one.pem").write_bytes((tls.folder / "ca.pem").read_bytes())
    assert fetch(tls.url("good"), verify=tmp_path / "roots").content == b"good"
    refused(fetch, tls.url("unknown-authority"), "issuer|authority", verify=tmp_path / "roots")
    foreign = tls.file("foreign-ca.pem")
    assert fetch(tls.url("unknown-authority"), verify=foreign).status_code == 200
    refused(fetch, tls.url("good"), "issuer|authority", verify=foreign)
    refused(fetch, tls.url("good"), "issuer|authority", verify=True)


def test_verify_without_a_certificate_in_it_is_refused(
    fetch: Fetch, tls: TlsServers, tmp_path: Path
) -> None:
    (tmp_path / "empty.pem").touch()
    (tmp_path / "nonsense.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n")
    for name in ("empty.pem", "nonsense.pem", "no-such-file.pem"):
        with pytest.raises((ValueError, OSError, offloop.FetchError)):
            fetch(tls.url("good"), verify=str(tmp_path / name))


def test_a_pin_accepts_its_key_and_no_other(fetch: Fetch, tls: TlsServers) -> None:
    good, other = tls.pins["good"], tls.pins["other"]
    assert fetch(tls.url("good"), pin=good).content == b"good"
    assert fetch(tls.url("good"), pin=[other, good]).content == b"good"
    refused(fetch, tls.url("good"), "pin", pin=other)
    refused(fetch, tls.url("other-key"), "pin", pin=[good])
    # A pin is asked in addition to everything else.
    refused(fetch, tls.url("expired"), "expired", pin=good)
    for nonsense in ("sha256/AAAA", "md5/AAAA", "", good.removeprefix("sha256/")):
        with pytest.raises((ValueError, TypeError)):
            offloop.Client(pin=nonsense)


def test_verify_false_warns_once_and_accepts_anything(tls: TlsServers) -> None:
    kinds = ("expired", "wrong-name", "self-signed", "unknown-authority", "client-only-usage")

    async def main() -> None:
        async with offloop.Client(verify=False) as client:
            for kind in (*kinds, *kinds):
                assert (await client.get(tls.url(kind))).content == kind.encode()

    with pytest.warns(offloop.InsecureWarning, match="verify") as caught:
        asyncio.run(main())
    assert len(caught) == 1
    assert issubclass(offloop.InsecureWarning, UserWarning)
    # A name in a file, next to it: this line, not one inside offloop.


def test_connections_of_a_lax_client_never_serve_a_strict_one(tls: TlsServers) -> None:
    async def main() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            lax = offloop.Client(verify=False)
        strict = offloop.Client(verify=tls.file("ca.pem"))
        async with lax, strict:
            before = tls.connections("wrong-ip")
            for _ in range(3):
                assert (await lax.get(tls.url("wrong-ip"))).status_code == 200
                with pytest.raises(offloop.TLSError):
                    await strict.get(tls.url("wrong-ip"))
            assert tls.connections("wrong-ip") - before == 4  # one kept, three refused

    asyncio.run(main())


def test_connections_of_one_client_certificate_never_serve_another(tls: TlsServers) -> None:
    async def main() -> None:
        options: dict[str, Any] = {"verify": tls.file("ca.pem")}
        url = tls.url("wants-a-client")
        known = offloop.Client(cert=tls.file("client.pem"), **options)
        stranger = offloop.Client(cert=tls.file("client-foreign.pem"), **options)
        nobody = offloop.Client(**options)
        async with known, stranger, nobody:
            for _ in range(3):
                assert (await known.get(url)).content == b"the client"
                for other in (stranger, nobody):
                    with pytest.raises(offloop.TLSError):
                        await other.get(url)

    asyncio.run(main())

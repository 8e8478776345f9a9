"""Proxies: http, https and SOCKS 5. Their credentials are theirs alone; nothing goes around them.

The proxy is `tests/servers/proxy.py`, which logs what it sees; where it is installed, tinyproxy is
asked, too. Names below `.test` lead somewhere only if a proxy resolves them. FAULTS S6, S10.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from certified import certify
from through_proxies import LOGIN, TOKEN, everything, fails, get, process, seen, through

import offloop
from servers import Server, serve


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certify(tmp_path_factory.mktemp("proxies"), "localhost", "origin.test")


@pytest.fixture(scope="module")
def origin() -> Iterator[Server]:
    with serve("told") as running:
        yield running


@pytest.fixture(scope="module")
def secure(folder: Path) -> Iterator[Server]:
    with serve("told", str(folder / "leaf.pem"), scheme="https") as running:
        yield running


@pytest.fixture(scope="module")
def proxy() -> Iterator[Server]:
    with serve("proxy") as running:
        yield running


@pytest.fixture(scope="module")
def login() -> Iterator[Server]:
    with serve("proxy", f"login={LOGIN}") as running:
        yield running


# HTTP.


def test_an_http_proxy_takes_the_whole_url(proxy: Server, origin: Server) -> None:
    urls = [f"http://origin.test:{origin.port}/told?secret=1#fragment"] * 2
    answers = get(through(proxy), *urls)
    log = seen(proxy)
    assert [entry[:2] for entry in log] == [
        ["absolute", f"http://origin.test:{origin.port}/told?secret=1"]
    ] * 2
    assert answers[1].attempts[-1].reused
    assert dict(answers[0].json()["headers"])["host"] == f"origin.test:{origin.port}"
    assert answers[0].json()["target"] == "/told?secret=1"


def test_a_post_goes_through_with_its_body(proxy: Server, origin: Server) -> None:
    async def main() -> None:
        async with through(proxy) as client:
            answer = await client.post(f"{origin.url}/told", content=b"z" * 100_000)
            assert len(answer.json()["body"]) == 100_000

    asyncio.run(main())


def test_https_goes_through_a_tunnel(proxy: Server, secure: Server, folder: Path) -> None:
    seen(proxy)
    client = through(proxy, verify=str(folder / "ca.pem"))
    url = f"https://origin.test:{secure.port}/told?secret=canary"
    answers = get(client, url, url)
    log = seen(proxy)
    assert [entry[:2] for entry in log] == [["connect", f"origin.test:{secure.port}"]]
    assert "canary" not in json.dumps(log)  # the proxy sees host and port, nothing of the URL
    assert answers[1].attempts[-1].reused
    assert "proxy-authorization" not in dict(answers[0].json()["headers"])


def test_the_certificate_behind_a_tunnel_is_checked(proxy: Server, secure: Server) -> None:
    fails(through(proxy), f"https://origin.test:{secure.port}/told", offloop.TLSError)


def test_an_https_proxy_is_spoken_to_in_tls(origin: Server, secure: Server, folder: Path) -> None:
    ca = folder / "ca.pem"
    with serve("proxy", f"tls={folder / 'leaf.pem'}", f"login={LOGIN}", scheme="https") as hidden:
        client = through(hidden, "https", LOGIN, verify=str(ca))
        answers = get(
            client,
            f"http://origin.test:{origin.port}/told",
            f"https://origin.test:{secure.port}/told",
        )
        assert [answer.status_code for answer in answers] == [200, 200]
        assert [entry[0] for entry in seen(hidden, ca)] == ["absolute", "connect"]
        assert TOKEN not in everything(origin) + everything(secure, ca)
        fails(through(hidden, "https", LOGIN), f"{origin.url}/told")
        fails(through(hidden, "http", LOGIN), f"{secure.url}/told")
        assert everything(origin) == "[]"


@pytest.mark.parametrize("scheme", ["http", "socks5h", "socks5"])
def test_credentials_are_for_the_proxy_and_never_for_the_origin(
    login: Server, origin: Server, secure: Server, folder: Path, scheme: str
) -> None:
    ca = folder / "ca.pem"
    names = {"origin.test": "127.0.0.1"}
    seen(login), seen(origin), seen(secure, ca)
    client = through(login, scheme, LOGIN, verify=str(ca), resolve=names)
    one, two = f"http://origin.test:{origin.port}", f"https://origin.test:{secure.port}"
    answers = get(
        client,
        f"{one}/told",
        f"{two}/told",
        f"{one}/told?status=302&header=location:{two}/told",
        f"{one}/told?status=302&header=location:{one}/told",
    )
    assert [answer.status_code for answer in answers] == [200] * 4
    log = seen(login)
    if scheme == "http":
        assert all(f"Basic {TOKEN}" in head for _, _, head in log)
        assert [how for how, _, _ in log] == ["absolute", "connect", *["absolute"] * 3]
    else:
        assert {how for how, _, _ in log} == {"socks5-login"}
    at_origins = everything(origin) + everything(secure, ca)
    assert TOKEN.lower() not in at_origins
    assert "canary" not in at_origins
    assert "proxy-" not in at_origins


def test_credentials_may_be_percent_encoded(origin: Server) -> None:
    with serve("proxy", "login=ann:p@ss:/w") as odd:
        get(through(odd, "http", "ann:p%40ss%3A%2Fw"), f"{origin.url}/told")
        get(through(odd, "socks5", "ann:p%40ss%3A%2Fw"), f"{origin.url}/told")


def test_auth_of_the_origin_travels_within_the_tunnel(
    login: Server, secure: Server, folder: Path
) -> None:
    client = through(login, "http", LOGIN, verify=str(folder / "ca.pem"), auth=("bob", "inner"))
    seen(login)
    (answer,) = get(client, f"https://origin.test:{secure.port}/told")
    expected = base64.b64encode(b"bob:inner").decode()
    assert dict(answer.json()["headers"])["authorization"] == f"Basic {expected}"
    assert expected not in json.dumps(seen(login))


@pytest.mark.parametrize("given", ["", "ann:wrong-canary"])
@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
@pytest.mark.parametrize("tls", [False, True])
def test_a_proxy_that_wants_other_credentials_is_a_proxy_error(
    login: Server, origin: Server, secure: Server, folder: Path, given: str, scheme: str, tls: bool
) -> None:
    target, ca = (secure, folder / "ca.pem") if tls else (origin, None)
    seen(target, ca)
    client = through(login, scheme, given, verify=str(folder / "ca.pem"))
    error = fails(client, f"{target.url}/told?q=canary")
    assert error.phase == "connect"
    assert everything(target, ca) == "[]"


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
def test_a_proxy_that_refuses_the_target_is_a_proxy_error(
    secure: Server, origin: Server, folder: Path, scheme: str
) -> None:
    with serve("proxy", "refuse") as refusing:
        fails(through(refusing, scheme, verify=str(folder / "ca.pem")), f"{secure.url}/told")
        if scheme != "http":
            fails(through(refusing, scheme), f"{origin.url}/told")
    assert everything(origin) + everything(secure, folder / "ca.pem") == "[][]"


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks5h"])
def test_a_proxy_that_is_not_there_is_an_error_and_never_a_direct_connection(
    origin: Server, scheme: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    seen(origin)
    for address in (f"127.0.0.1:{port}", f"ann:canary@127.0.0.1:{port}"):
        client = offloop.Client(proxy=f"{scheme}://{address}", timeout=8)
        error = fails(client, f"{origin.url}/told")
        assert isinstance(error, ConnectionError)
        assert error.errno is not None
        assert error.addresses
    nowhere = offloop.Client(proxy=f"{scheme}://nowhere.invalid:3128", timeout=8)
    fails(nowhere, f"{origin.url}/told")
    assert everything(origin) == "[]"


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
def test_a_proxy_that_never_answers_is_a_timeout(secure: Server, scheme: str) -> None:
    with serve("proxy", "mute") as silent:
        client = through(silent, scheme, timeout=offloop.Timeout(connect=0.3))
        fails(client, f"{secure.url}/told", offloop.ConnectTimeout)


def test_what_speaks_no_proxy_protocol_is_a_proxy_error(server: Server, secure: Server) -> None:
    fails(through(secure), f"{secure.url}/told")
    fails(through(server), f"{secure.url}/told")

    async def main() -> None:
        async def babble(reader: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
            out.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            out.close()

        babbling = await asyncio.start_server(babble, "127.0.0.1", 0)
        port = babbling.sockets[0].getsockname()[1]
        async with offloop.Client(proxy=f"socks5://127.0.0.1:{port}", timeout=8) as client:
            with pytest.raises(offloop.ProxyError):
                await client.get(f"{secure.url}/told")
        babbling.close()

    asyncio.run(main())


# SOCKS.


def test_socks5h_leaves_the_name_to_the_proxy(proxy: Server, origin: Server) -> None:
    seen(proxy)
    (answer,) = get(through(proxy, "socks5h"), f"http://origin.test:{origin.port}/told")
    assert answer.status_code == 200
    assert seen(proxy) == [["socks5", f"origin.test:{origin.port}", "name"]]


def test_socks5_resolves_the_name_itself(proxy: Server, origin: Server) -> None:
    seen(proxy)
    client = through(proxy, "socks5", resolve={"origin.test": "127.0.0.1"})
    get(client, f"http://origin.test:{origin.port}/told")
    assert seen(proxy) == [["socks5", f"127.0.0.1:{origin.port}", "address"]]
    fails(through(proxy, "socks5"), "http://nowhere.invalid/", offloop.DNSError)
    assert seen(proxy) == []


def test_socks_carries_tls(proxy: Server, secure: Server, folder: Path) -> None:
    seen(proxy)
    client = through(proxy, "socks5h", verify=str(folder / "ca.pem"))
    (answer,) = get(client, f"https://origin.test:{secure.port}/told")
    assert answer.status_code == 200
    assert seen(proxy) == [["socks5", f"origin.test:{secure.port}", "name"]]


# Redirects, guard, and what cannot be a proxy.


def test_a_redirect_asks_for_the_proxy_of_its_own_scheme(
    origin: Server, secure: Server, folder: Path
) -> None:
    """The proxy of http and that of https are two, each with its own credentials."""
    code = """
        async with offloop.Client(verify=sys.argv[1]) as client:
            print((await client.get(sys.argv[2])).status_code)
    """
    with serve("proxy", "login=a:one") as first, serve("proxy", "login=b:two") as second:
        ended = process(
            code,
            str(folder / "ca.pem"),
            f"{origin.url}/told?status=302&header=location:{secure.url}/told",
            HTTP_PROXY=f"http://a:one@127.0.0.1:{first.port}",
            HTTPS_PROXY=f"http://b:two@127.0.0.1:{second.port}",
        )
        assert ended == ["200"]
        one, two = seen(first), seen(second)
        assert [entry[0] for entry in one] == ["absolute"]
        assert [entry[0] for entry in two] == ["connect"]
        assert base64.b64encode(b"b:two").decode() not in json.dumps(one)
        assert base64.b64encode(b"a:one").decode() not in json.dumps(two)


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks5h"])
def test_a_guard_refuses_what_goes_through_a_proxy(
    proxy: Server, origin: Server, scheme: str
) -> None:
    seen(proxy), seen(origin)
    guard = offloop.Guard(allow=["127.0.0.0/8"], ports=[80, 443, origin.port])
    client = through(proxy, scheme, guard=guard)
    fails(client, f"{origin.url}/told", offloop.BlockedAddress)
    assert (seen(proxy), seen(origin)) == ([], [])


@pytest.mark.parametrize(
    "text",
    [
        "ftp://127.0.0.1:1",
        "http://127.0.0.1:1/path",
        "http://user:canary@",
        "http://127.0.0.1:99999",
        "socks5://us er:canary@h",
        "http://a:canary@127.0.0.1:1?q",
        "socks4://127.0.0.1",
        "",
        "http:///",
        "http://\\",
    ],
)
def test_what_is_no_proxy_is_refused_when_the_client_is_made(text: str) -> None:
    with pytest.raises(offloop.InvalidURL) as caught:
        offloop.Client(proxy=text)
    assert "canary" not in str(caught.value)


def test_a_client_shows_nothing_of_its_proxy() -> None:
    client = offloop.Client(proxy="http://ann:canary@127.0.0.1:1")
    assert "canary" not in repr(client) + str(client) + repr(client.stats())


# A proxy that others wrote.


@contextlib.contextmanager
def tinyproxy(folder: Path, *lines: str) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = folder / "tinyproxy.conf"
    config.write_text("\n".join([f"Port {port}", "Listen 127.0.0.1", "LogLevel Info", *lines, ""]))
    command = ["tinyproxy", "-d", "-c", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if "Starting main loop" in line:
                    break
            yield port
        finally:
            process.terminate()
            process.communicate(timeout=5)


@pytest.mark.skipif(not shutil.which("tinyproxy"), reason="tinyproxy is not installed")
def test_tinyproxy_works_and_keeps_its_credentials(
    origin: Server, secure: Server, folder: Path, tmp_path: Path
) -> None:
    ca = folder / "ca.pem"
    seen(origin), seen(secure, ca)
    with tinyproxy(tmp_path, "BasicAuth ann pass-canary") as port:
        urls = [f"{origin.url}/told", f"{secure.url}/told"]
        client = offloop.Client(proxy=f"http://{LOGIN}@127.0.0.1:{port}", verify=str(ca))
        assert [answer.status_code for answer in get(client, *urls, *urls)] == [200] * 4
        at_origins = everything(origin) + everything(secure, ca)
        assert TOKEN.lower() not in at_origins
        for url in urls:
            fails(offloop.Client(proxy=f"http://127.0.0.1:{port}", verify=str(ca)), url)
        wrong = f"http://ann:wrong-canary@127.0.0.1:{port}"
        fails(offloop.Client(proxy=wrong, verify=str(ca)), urls[1])
        with contextlib.suppress(offloop.ProxyError):  # tinyproxy itself answers 401, not 407
            assert get(offloop.Client(proxy=wrong), urls[0])[0].status_code == 401
        assert everything(origin) + everything(secure, ca) == "[][]"
    fails(offloop.Client(proxy=f"http://127.0.0.1:{port}"), urls[0])

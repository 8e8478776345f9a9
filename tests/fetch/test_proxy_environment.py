"""Which proxy the variables of the environment name, and for which URLs. FAULTS S7."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from certified import certify
from through_proxies import process, seen

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


FETCH = """
        for url in sys.argv[2:]:
            try:
                async with offloop.Client(trust_env=sys.argv[1] == "yes", timeout=5) as client:
                    print((await client.get(url)).status_code)
            except offloop.FetchError as error:
                print(type(error).__name__)
"""


def routes(proxy: Server, *urls: str, trust: str = "yes", **environment: str) -> list[str]:
    """Which way each URL went: "proxy" or "direct"; each has to be answered."""
    seen(proxy)
    ended = process(FETCH, trust, *urls, **environment)
    assert ended == ["200"] * len(urls), ended
    log = seen(proxy)
    asked = [target for how, target, _ in log if how != "connect"]
    return ["proxy" if url in asked else "direct" for url in urls]


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_the_environment_names_proxies(proxy: Server, origin: Server, name: str) -> None:
    url = f"{origin.url}/told"
    assert routes(proxy, url, **{name: proxy.url}) == ["proxy"]
    assert routes(proxy, url, **{name: proxy.url}, trust="no") == ["direct"]
    assert routes(proxy, url, **{name: ""}) == ["direct"]


def test_http_proxy_is_not_believed_where_a_request_can_set_it(
    proxy: Server, origin: Server
) -> None:
    """CVE-2016-1000110: to a CGI program it is the client's header `Proxy:`."""
    url = f"{origin.url}/told"
    cgi = {"REQUEST_METHOD": "GET"}
    assert routes(proxy, url, HTTP_PROXY=proxy.url, **cgi) == ["direct"]
    assert routes(proxy, url, http_proxy=proxy.url, **cgi) == ["proxy"]
    assert routes(proxy, url, ALL_PROXY=proxy.url, **cgi) == ["proxy"]


def test_https_has_its_own_variable(proxy: Server, origin: Server) -> None:
    url = f"{origin.url}/told"
    assert routes(proxy, url, HTTPS_PROXY=proxy.url) == ["direct"]
    assert process(FETCH, "yes", "https://127.0.0.1:1/", HTTPS_PROXY="http://127.0.0.1:1") == [
        "ProxyError"
    ]


def test_no_proxy_names_the_exceptions(proxy: Server, origin: Server) -> None:
    """Each entry, and whether it covers 127.0.0.1."""
    table = {
        "127.0.0.1": True,
        "127.0.0.0/8": True,
        "127.0.0.2/32": False,
        "*": True,
        "10.0.0.1, 127.0.0.1": True,
        "10.0.0.1 127.0.0.1": True,
        f"127.0.0.1:{origin.port}": True,
        "127.0.0.1:1": False,
        f"*:{origin.port}": True,
        "127.": False,
        "127.0.0.": False,
        "localhost": False,
        "0.0.1": False,
        "::1": False,
        ",": False,
    }
    environment = {"HTTP_PROXY": proxy.url}
    url = f"{origin.url}/told"
    code = """
        import os
        for entry in sys.argv[2:]:
            os.environ["NO_PROXY"] = entry
            async with offloop.Client() as client:
                await client.get(sys.argv[1] + "?" + entry.encode().hex())
    """
    seen(proxy)
    process(code, url, *table, **environment)
    log = json.dumps(seen(proxy))
    took = {entry: f"?{entry.encode().hex()} HTTP" not in log for entry in table}
    assert took == table


def test_no_proxy_knows_names_and_those_below_them(proxy: Server, origin: Server) -> None:
    table = {
        "origin.test": True,
        ".origin.test": True,
        "ORIGIN.TEST": True,
        "origin.test.": True,
        "test": True,
        ".test": True,
        "gin.test": False,
        "www.origin.test": False,
        f"origin.test:{origin.port}": True,
        "origin.test:1": False,
        "*.test": False,
    }
    code = """
        import os
        for entry in sys.argv[2:]:
            os.environ["no_proxy"] = entry
            async with offloop.Client(resolve={"origin.test": "127.0.0.1"}) as client:
                await client.get(sys.argv[1] + "?" + entry.encode().hex())
    """
    seen(proxy)
    process(code, f"http://origin.test:{origin.port}/told", *table, HTTP_PROXY=proxy.url)
    log = json.dumps(seen(proxy))
    took = {entry: f"?{entry.encode().hex()} HTTP" not in log for entry in table}
    assert took == table


def test_an_explicit_proxy_outranks_the_environment(proxy: Server, origin: Server) -> None:
    code = """
        async with offloop.Client(proxy=sys.argv[1]) as client:
            print((await client.get(sys.argv[2])).status_code)
    """
    seen(proxy)
    environment = {"HTTP_PROXY": "http://127.0.0.1:1", "NO_PROXY": "*"}
    assert process(code, proxy.url, f"{origin.url}/told", **environment) == ["200"]
    assert len(seen(proxy)) == 1


def test_a_variable_that_is_no_proxy_is_an_error_that_does_not_show_it() -> None:
    code = """
        try:
            offloop.Client()
        except offloop.InvalidURL as error:
            print(error)
    """
    (line,) = process(code, HTTPS_PROXY="gopher://ann:canary@127.0.0.1")
    assert "HTTPS_PROXY" in line
    assert "canary" not in line


def test_netrc_and_key_log_play_no_part(secure: Server, folder: Path, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login ann password canary\n")
    (tmp_path / ".netrc").chmod(0o600)
    code = """
        async with offloop.Client(verify=sys.argv[1]) as client:
            print((await client.get(sys.argv[2])).text)
    """
    environment = {
        "HOME": str(tmp_path),
        "NETRC": str(tmp_path / ".netrc"),
        "SSLKEYLOGFILE": str(tmp_path / "keys"),
    }
    (text,) = process(code, str(folder / "ca.pem"), f"{secure.url}/told", **environment)
    assert "authorization" not in text
    assert not (tmp_path / "keys").exists()

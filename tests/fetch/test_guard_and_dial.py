"""Where a connection goes: the guard, addresses of one's own, unix sockets, and the resolver.

What no test may count on, a resolver that hangs or knows a host by two addresses, is a few lines
of C that stand before the system's `getaddrinfo`. FAULTS S10, P15, R5.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import offloop
from servers import Server, serve

HERE = "127.0.0.0/8"


@pytest.fixture(scope="module")
def counting() -> Iterator[Server]:
    """Listens on every address of 127.0.0.0/8."""
    with serve("counting") as running:
        yield running


def get(url: str, **options: Any) -> offloop.Response:
    async def main() -> offloop.Response:
        options.setdefault("timeout", 10)
        async with offloop.Client(trust_env=False, **options) as client:
            return await client.get(url)

    return asyncio.run(main())


def fails(error: type[Any], url: str, **options: Any) -> Any:
    with pytest.raises(offloop.FetchError) as caught:
        get(url, **options)
    assert type(caught.value) is error, repr(caught.value)
    return caught.value


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


# The guard.

PRIVATE = [
    "127.0.0.1",
    "127.9.9.9",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "192.0.2.1",
    "198.18.0.1",
    "240.0.0.1",
    "[::1]",
    "[::]",
    "[fe80::1]",
    "[fc00::1]",
    "[ff02::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:10.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[2001:db8::1]",
    "[::127.0.0.1]",
    "8.8.8.8",  # public, but an address in the place of a name
]


def test_a_guard_refuses_addresses() -> None:
    for host in PRIVATE:
        error = fails(offloop.BlockedAddress, f"http://{host}/", guard=True)
        assert isinstance(error, ConnectionError)
        assert error.phase == "connect"


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST", "localhost.", "a.localhost", "inner.test", "mixed.test"],
)
def test_a_guard_refuses_names_that_lead_inside(host: str) -> None:
    names = {"inner.test": "10.1.2.3", "mixed.test": "::ffff:192.168.0.1"}
    fails(offloop.BlockedAddress, f"http://{host}/", guard=True, resolve=names)


def test_a_guard_refuses_other_ports(told: Server) -> None:
    fails(offloop.BlockedAddress, "http://public.test:8080/", guard=True)
    guard = offloop.Guard(allow=[HERE])
    fails(offloop.BlockedAddress, f"{told.url}/told", guard=guard)


def test_what_a_guard_allows_is_dialled(told: Server) -> None:
    guard = offloop.Guard(allow=[HERE], ports=[told.port])
    names = {"inner.test": "127.0.0.1"}
    for host in ("127.0.0.1", "inner.test"):
        url = f"http://{host}:{told.port}/told"
        assert get(url, guard=guard, resolve=names).status_code == 200
    assert get(f"{told.url}/told", guard=False).status_code == 200
    narrow = offloop.Guard(allow=["127.0.0.2/32"], ports=[told.port])
    fails(offloop.BlockedAddress, f"{told.url}/told", guard=narrow)


def test_a_guard_looks_at_every_hop(counting: Server) -> None:
    """127.0.0.2 is public and 127.0.0.1 private here; one redirects to the other."""
    with serve("told") as told:
        guard = offloop.Guard(allow=["127.0.0.1/32"], ports=[told.port, counting.port])
        for target in (f"http://127.0.0.2:{counting.port}/hold/0/x", "http://inner.test/"):
            location = quote(f"location: {target}", safe="")
            url = f"{told.url}/told?status=302&header={location}"
            error = fails(
                offloop.BlockedAddress, url, guard=guard, resolve={"inner.test": "10.0.0.1"}
            )
            assert len(error.history) == 1


def test_a_guard_checks_what_a_port_of_resolve_says(told: Server) -> None:
    names = {"inner.test": f"127.0.0.1:{told.port}"}
    guard = offloop.Guard(allow=[HERE])
    fails(offloop.BlockedAddress, "http://inner.test/told", guard=guard, resolve=names)


def test_a_kept_connection_is_no_way_around_the_guard(told: Server) -> None:
    async def main() -> None:
        names = {"inner.test": "127.0.0.1"}
        guard = offloop.Guard(allow=["127.0.0.2/32"], ports=[told.port])
        async with offloop.Client(guard=guard, resolve=names) as client:
            for _ in range(3):
                with pytest.raises(offloop.BlockedAddress):
                    await client.get(f"http://inner.test:{told.port}/told")
            assert client.stats()["opened"] == 0

    asyncio.run(main())


def test_a_guard_refuses_unix_sockets(tmp_path: Path) -> None:
    fails(offloop.BlockedAddress, "http://x.test/", guard=True, uds=tmp_path / "socket")


@pytest.mark.parametrize(
    "networks", [["10.0.0.1/8"], ["nonsense"], ["300.0.0.1"], [5], "10.0.0.0/8"]
)
def test_what_is_no_network_is_refused(networks: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        offloop.Guard(allow=networks)


# resolve=


def test_resolve_gives_a_name_an_address(told: Server) -> None:
    names = {
        "plain.test": "127.0.0.1",
        "port.test": f"127.0.0.1:{told.port}",
        f"exact.test:{told.port}": "127.0.0.1",
    }
    for url in (
        f"http://plain.test:{told.port}/told",
        f"http://PLAIN.test:{told.port}/told",
        f"http://plain.test.:{told.port}/told",
        "http://port.test/told",
        f"http://exact.test:{told.port}/told",
    ):
        response = get(url, resolve=names)
        host = dict(response.json()["headers"])["host"]
        assert host == url.split("/")[2].lower()
        assert response.url.lower() == url.lower()
    fails(offloop.DNSError, "http://exact.test:1/", resolve=names)


@pytest.mark.parametrize(
    "names",
    [{"a.test": "no address"}, {"": "127.0.0.1"}, {"a.test:x": "127.0.0.1"}, {"a b": "::1"}],
)
def test_what_resolves_to_nothing_is_refused(names: dict[str, str]) -> None:
    with pytest.raises(offloop.InvalidURL):
        offloop.Client(resolve=names)


# Unix sockets.


def test_a_unix_socket_is_dialled_instead(tmp_path: Path) -> None:
    path = tmp_path / "socket"

    async def main() -> None:
        async with offloop.Client(uds=path, timeout=10) as client:
            answers = await asyncio.gather(
                client.get("http://name.test/told?a=1"),
                client.get("http://other.test:81/told"),
                client.post("http://name.test/told", content=b"z" * 200_000),
            )
            hosts = [dict(answer.json()["headers"])["host"] for answer in answers]
            assert hosts == ["name.test", "other.test:81", "name.test"]
            assert len(answers[2].json()["body"]) == 200_000
            assert answers[0].url == "http://name.test/told?a=1"
            again = await client.get("http://name.test/told")
            assert again.attempts[-1].reused

    with serve("told", f"unix:{path}"):
        asyncio.run(main())
    error = fails(offloop.ConnectError, "http://name.test/", uds=str(path))
    assert error.errno in {errno.ENOENT, errno.ECONNREFUSED}
    error = fails(offloop.ConnectError, "http://name.test/", uds=tmp_path / "none")
    assert error.errno == errno.ENOENT


# Addresses that fail.


def test_a_refused_connection_names_the_address_and_the_errno() -> None:
    port = free_port()
    error = fails(offloop.ConnectError, f"http://127.0.0.1:{port}/?token=canary")
    assert error.errno == errno.ECONNREFUSED
    ((address, text),) = error.addresses
    assert address == f"127.0.0.1:{port}"
    assert "refused" in text.lower()
    assert "canary" not in str(error)


def test_a_name_that_does_not_exist_is_a_dns_error() -> None:
    error = fails(offloop.DNSError, "http://nowhere.invalid/?token=canary")
    assert isinstance(error, ConnectionError)
    assert "nowhere.invalid" in str(error)
    assert "canary" not in str(error)


# A resolver of one's own, before the system's.

RESOLVER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <unistd.h>

static struct addrinfo *entry(const char *address, struct addrinfo *next) {
    struct addrinfo *info = calloc(1, sizeof *info);
    struct sockaddr_storage *at = calloc(1, sizeof *at);
    struct sockaddr_in6 *six = (void *)at;
    struct sockaddr_in *four = (void *)at;
    if (inet_pton(AF_INET6, address, &six->sin6_addr) == 1) {
        six->sin6_family = info->ai_family = AF_INET6;
        info->ai_addrlen = sizeof *six;
    } else {
        inet_pton(AF_INET, address, &four->sin_addr);
        four->sin_family = info->ai_family = AF_INET;
        info->ai_addrlen = sizeof *four;
    }
    info->ai_socktype = SOCK_STREAM;
    info->ai_protocol = IPPROTO_TCP;
    info->ai_addr = (void *)at;
    info->ai_next = next;
    return info;
}

static unsigned asked;

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **result) {
    if (node && strstr(node, "hung.test")) { sleep(3600); return EAI_AGAIN; }
    if (node && !strcmp(node, "dual.test")) {
        *result = entry("::1", entry("127.0.0.1", NULL));
        return 0;
    }
    if (node && !strcmp(node, "mixed.test")) {
        *result = entry("93.184.215.14", entry("127.0.0.1", NULL));
        return 0;
    }
    if (node && !strcmp(node, "rebinding.test")) {
        *result = entry(asked++ ? "127.0.0.1" : "127.0.0.2", NULL);
        return 0;
    }
    if (node && !strcmp(node, "here.test")) { *result = entry("127.0.0.1", NULL); return 0; }
    if (node && strstr(node, ".test")) return EAI_NONAME;
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    real = dlsym(RTLD_NEXT, "getaddrinfo");
    return real(node, service, hints, result);
}

void freeaddrinfo(struct addrinfo *info) { /* leaked: half of them are not the system's */ }
"""


@pytest.fixture(scope="module")
def resolver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("there is no C compiler here, or no LD_PRELOAD")
    folder = tmp_path_factory.mktemp("resolver")
    (folder / "resolver.c").write_text(RESOLVER)
    command = [compiler, "-shared", "-fPIC", "-o", str(folder / "resolver.so")]
    subprocess.run([*command, str(folder / "resolver.c"), "-ldl"], check=True, timeout=60)
    return folder / "resolver.so"


def process(resolver: Path, code: str, *arguments: object) -> list[Any]:
    """Run the body of `main` in a process with this resolver; gives its lines, as JSON."""
    lines = textwrap.indent(textwrap.dedent(code), "    ")
    script = f"import asyncio, sys, time, json, offloop\nasync def main():\n{lines}\n"
    ended = subprocess.run(
        [sys.executable, "-c", f"{script}\nasyncio.run(main())", *map(str, arguments)],
        env={**os.environ, "LD_PRELOAD": str(resolver)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_the_second_address_answers_where_the_first_refuses(resolver: Path, told: Server) -> None:
    code = """
        async with offloop.Client(timeout=5) as client:
            began = time.monotonic()
            answer = await client.get(f"http://dual.test:{sys.argv[1]}/told")
            print(answer.status_code)
            print(json.dumps(time.monotonic() - began < 4))
    """
    assert process(resolver, code, told.port) == [200, True]


def test_an_error_lists_every_address(resolver: Path) -> None:
    code = """
        try:
            await offloop.fetch(f"http://dual.test:{sys.argv[1]}/", timeout=5)
        except offloop.ConnectError as error:
            print(json.dumps([type(error).__name__, error.errno, sorted(error.addresses)]))
    """
    port = free_port()
    ((name, number, addresses),) = process(resolver, code, port)
    assert name == "ConnectError"
    assert number is not None
    assert [address for address, _ in addresses] == [f"127.0.0.1:{port}", f"[::1]:{port}"]
    assert "refused" in addresses[0][1].lower()


def test_a_bad_certificate_outranks_a_refusal(resolver: Path, tmp_path: Path) -> None:
    """`::1` refuses, 127.0.0.1 answers with a certificate that nobody trusts."""
    trustme = pytest.importorskip("trustme")
    leaf = trustme.CA().issue_cert("dual.test")
    leaf.private_key_and_cert_chain_pem.write_to_path(tmp_path / "leaf.pem")
    code = """
        try:
            await offloop.fetch(f"https://dual.test:{sys.argv[1]}/", timeout=5)
        except offloop.FetchError as error:
            print(json.dumps([type(error).__name__, "issuer" in str(error)]))
    """
    with serve("told", str(tmp_path / "leaf.pem")) as distrusted:
        assert process(resolver, code, distrusted.port) == [["TLSError", True]]


def test_one_bad_address_refuses_the_whole_answer(resolver: Path) -> None:
    code = """
        async with offloop.Client(guard=True, timeout=5) as client:
            try:
                await client.get("http://mixed.test/")
            except offloop.FetchError as error:
                print(json.dumps(type(error).__name__))
    """
    assert process(resolver, code) == ["BlockedAddress"]


def test_what_was_checked_is_what_is_dialled(resolver: Path, counting: Server) -> None:
    """A name that is public when asked first, and private ever after."""
    code = """
        guard = offloop.Guard(allow=["127.0.0.2/32"], ports=[int(sys.argv[1])])
        async with offloop.Client(guard=guard, timeout=5) as client:
            answer = await client.get(f"http://rebinding.test:{sys.argv[1]}/hold/0/guarded")
            print(json.dumps(answer.text))
    """
    assert process(resolver, code, counting.port) == ["guarded"]


def test_a_name_of_nothing_is_a_dns_error_at_once(resolver: Path) -> None:
    code = """
        began = time.monotonic()
        try:
            await offloop.fetch("http://nothing.test/")
        except offloop.DNSError as error:
            print(json.dumps([error.phase, time.monotonic() - began < 1]))
    """
    assert process(resolver, code) == [["connect", True]]


def test_a_hung_resolver_is_a_connect_timeout_and_holds_up_nobody(
    resolver: Path, told: Server
) -> None:
    """Four of the eight threads hang; names and addresses still lead somewhere."""
    code = """
        limits = offloop.Timeout(connect=0.4)
        async with offloop.Client(timeout=limits) as client:
            hung = [client.get(f"http://{n}.hung.test/").start() for n in range(4)]
            for host in ("127.0.0.1", "here.test"):
                answer = await client.get(f"http://{host}:{sys.argv[1]}/told")
                print(answer.status_code)
            print(json.dumps(await offloop.run(lambda: "a job")))
            ended = await asyncio.gather(*hung, return_exceptions=True)
            print(json.dumps([[type(error).__name__, error.seconds] for error in ended]))
            print(client.stats()["abandoned_lookups"])
    """
    first, second, job, errors, abandoned = process(resolver, code, told.port)
    assert (first, second, job) == (200, 200, "a job")
    assert errors == [["ConnectTimeout", 0.4]] * 4
    assert abandoned == 4


def test_all_threads_of_the_resolver_may_hang_and_literals_still_work(
    resolver: Path, told: Server
) -> None:
    code = """
        limits = offloop.Timeout(connect=0.4)
        async with offloop.Client(timeout=limits, resolve={"mine.test": "127.0.0.1"}) as client:
            urls = [f"http://{n}.hung.test/" for n in range(20)]
            hung = [client.get(url).start() for url in [*urls, "http://here.test/"]]
            for host in ("127.0.0.1", "mine.test"):
                answer = await client.get(f"http://{host}:{sys.argv[1]}/told")
                print(answer.status_code)
            print(json.dumps(await offloop.run(lambda: "a job")))
            ended = await asyncio.gather(*hung, return_exceptions=True)
            print(json.dumps(sorted({type(error).__name__ for error in ended})))
            print(client.stats()["connections"])
    """
    began = time.monotonic()
    lines = process(resolver, code, told.port)
    assert lines == [200, 200, "a job", ["ConnectTimeout"], 2]  # the two that were made are kept
    assert time.monotonic() - began < 15  # the process ends, although its threads hang


def test_a_cancelled_look_up_ends_at_once(resolver: Path) -> None:
    code = """
        began = time.monotonic()
        try:
            async with asyncio.timeout(0.2):
                await offloop.fetch("http://hung.test/")
        except TimeoutError as error:
            print(json.dumps([type(error).__name__, time.monotonic() - began < 5]))
    """
    assert process(resolver, code) == [["TimeoutError", True]]

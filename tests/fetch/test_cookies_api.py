"""The cookie jar: which cookie goes to whom, over the wire and through the API.

Hosts are names that `resolve=` leads to one server, which reports the requests it got. FAULTS S11.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import stat
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from certified import certify

import offloop
from servers import Server, serve

HOSTS = (
    "example.com",
    "a.example.com",
    "b.example.com",
    "x.a.example.com",
    "notexample.com",
    "other.org",
    "one.co.uk",
    "two.co.uk",
    "me.github.io",
    "you.github.io",
)
RESOLVE = dict.fromkeys(HOSTS, "127.0.0.1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certify(tmp_path_factory.mktemp("cookies"), *HOSTS)


@pytest.fixture(scope="module")
def secure(folder: Path) -> Iterator[Server]:
    with serve("told", str(folder / "leaf.pem"), scheme="https") as running:
        yield running


def client(**options: Any) -> offloop.Client:
    options.setdefault("cookies", True)
    return offloop.Client(resolve=RESOLVE, trust_env=False, timeout=10, **options)


def to(server: Server, host: str, *cookies: str, path: str = "/told", **told: str) -> str:
    """A URL of `host` whose answer sets these cookies."""
    lines = [f"header={quote('set-cookie: ' + cookie, safe='')}" for cookie in cookies]
    lines += [f"{name}={quote(value, safe='')}" for name, value in told.items()]
    scheme = server.url.partition(":")[0]
    return f"{scheme}://{host}:{server.port}{path}?{'&'.join(lines)}"


def sent(response: offloop.Response) -> str | None:
    """The Cookie header that the server got."""
    return dict(response.json()["headers"]).get("cookie")


async def cookie_at(client: offloop.Client, server: Server, host: str, path: str = "/told") -> Any:
    return sent(await client.get(to(server, host, path=path)))


def seen(server: Server) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{server.url}/seen", timeout=10) as answer:
        log: list[dict[str, Any]] = json.load(answer)
        return log


def test_cookies_are_off_by_default(told: Server) -> None:
    async def main() -> None:
        async with client(cookies=False) as without:
            response = await without.get(to(told, "a.example.com", "id=1"))
            assert response.cookies == {"id": "1"}
            assert without.cookies is None
            assert await cookie_at(without, told, "a.example.com") is None

    asyncio.run(main())


def test_a_cookie_goes_back_to_its_host_alone(told: Server) -> None:
    async def main() -> None:
        async with client() as jar:
            await jar.get(to(told, "a.example.com", "id=1", "theme=dark; HttpOnly"))
            assert await cookie_at(jar, told, "a.example.com") == "id=1; theme=dark"
            for other in ("example.com", "b.example.com", "x.a.example.com", "other.org"):
                assert await cookie_at(jar, told, other) is None
            (one, two) = jar.cookies or ()
            assert one["host_only"] is True
            assert (one["name"], one["value"], one["domain"]) == ("id", "1", "a.example.com")
            assert (one["http_only"], two["http_only"]) == (False, True)
            assert one["expires"] is None

    asyncio.run(main())


def test_a_domain_cookie_goes_to_all_hosts_below_it(told: Server) -> None:
    async def main() -> None:
        async with client() as jar:
            await jar.get(to(told, "a.example.com", "id=1; Domain=.Example.COM"))
            for host in ("a.example.com", "b.example.com", "example.com", "x.a.example.com"):
                assert await cookie_at(jar, told, host) == "id=1"
            assert await cookie_at(jar, told, "notexample.com") is None

    asyncio.run(main())


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("a.example.com", "com"),
        ("a.example.com", ".com"),
        ("one.co.uk", "co.uk"),
        ("me.github.io", "github.io"),
        ("a.example.com", "b.example.com"),
        ("example.com", "a.example.com"),
        ("a.example.com", "other.org"),
        ("a.example.com", "ample.com"),
        ("127.0.0.1", "0.0.1"),
        ("127.0.0.1", "1"),
    ],
)
def test_nobody_sets_cookies_for_others(told: Server, host: str, domain: str) -> None:
    async def main() -> None:
        async with client() as jar:
            await jar.get(to(told, host, f"id=1; Domain={domain}"))
            assert list(jar.cookies or ()) == []
            for other in ("two.co.uk", "you.github.io", "b.example.com", "example.com"):
                assert await cookie_at(jar, told, other) is None

    asyncio.run(main())


def test_an_address_has_cookies_of_its_own(told: Server) -> None:
    async def main() -> None:
        async with client() as jar:
            await jar.get(to(told, "127.0.0.1", "id=1"))
            assert await cookie_at(jar, told, "127.0.0.1") == "id=1"
            assert await cookie_at(jar, told, "a.example.com") is None

    asyncio.run(main())


def test_a_trailing_dot_and_capitals_are_the_same_host(told: Server) -> None:
    async def main() -> None:
        async with client() as jar:
            await jar.get(to(told, "A.Example.com", "id=1"))
            assert await cookie_at(jar, told, "a.example.COM") == "id=1"

    asyncio.run(main())


def test_a_secure_cookie_never_goes_over_http(told: Server, secure: Server, folder: Path) -> None:
    async def main() -> None:
        async with client(verify=str(folder / "ca.pem")) as jar:
            await jar.get(to(secure, "a.example.com", "safe=1; Secure", "plain=2"))
            assert await cookie_at(jar, secure, "a.example.com") == "safe=1; plain=2"
            assert await cookie_at(jar, told, "a.example.com") == "plain=2"
            # Neither set nor overwritten from http (RFC 6265bis §5.7).
            await jar.get(to(told, "a.example.com", "safe=evil", "new=3; Secure"))
            assert await cookie_at(jar, secure, "a.example.com") == "safe=1; plain=2"

    asyncio.run(main())


def test_prefixed_names_keep_their_promise(told: Server, secure: Server, folder: Path) -> None:
    async def main() -> None:
        async with client(verify=str(folder / "ca.pem")) as jar:
            cookies = [
                "__Host-ok=1; Secure; Path=/",
                "__Host-domain=1; Secure; Path=/; Domain=example.com",
                "__Host-path=1; Secure; Path=/told",
                "__Secure-no=1",
                "__Secure-ok=1; Secure",
            ]
            await jar.get(to(secure, "a.example.com", *cookies))
            names = {cookie["name"] for cookie in jar.cookies or ()}
            assert names == {"__Host-ok", "__Secure-ok"}

    asyncio.run(main())


def test_a_path_bounds_a_cookie(told: Server) -> None:
    async def main() -> None:
        async with client() as jar:
            host = "a.example.com"
            await jar.get(to(told, host, "deep=1; Path=/told/deep", "flat=2; Path=/"))
            await jar.get(to(told, host, "default=3", path="/told/deep/here"))
            assert await cookie_at(jar, told, host, "/told") == "flat=2"
            assert await cookie_at(jar, told, host, "/told/deeper") == "flat=2"
            assert await cookie_at(jar, told, host, "/told/deep/x") == "deep=1; default=3; flat=2"

    asyncio.run(main())


def test_an_expired_cookie_is_gone(told: Server) -> None:
    async def main() -> None:
        async with client() as jar:
            host = "a.example.com"
            await jar.get(to(told, host, "a=1", "b=2; Max-Age=3600", "c=3; Max-Age=1"))
            await jar.get(to(told, host, "a=; Max-Age=0"))
            await jar.get(to(told, host, "b=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"))
            assert await cookie_at(jar, told, host) == "c=3"
            give_up = time.monotonic() + 3
            while await cookie_at(jar, told, host):
                assert time.monotonic() < give_up
                await asyncio.sleep(0.05)

    asyncio.run(main())


def test_a_redirect_sets_cookies_and_the_next_hop_gets_its_own(told: Server) -> None:
    async def main() -> None:
        async with client() as jar:
            there = to(told, "b.example.com")
            hop = to(
                told,
                "a.example.com",
                "mine=1",
                "ours=2; Domain=example.com",
                status="302",
            )
            response = await jar.get(f"{hop}&header={quote('location: ' + there, safe='')}")
            assert sent(response) == "ours=2"
            assert response.history[0].cookies == {"mine": "1", "ours": "2"}
            assert await cookie_at(jar, told, "a.example.com") == "mine=1; ours=2"

    asyncio.run(main())


def test_cookies_of_one_request_stay_with_it_and_its_origin(told: Server) -> None:
    async def main() -> None:
        async with client() as jar:
            host = "a.example.com"
            await jar.get(to(told, host, "kept=1"))
            response = await jar.get(to(told, host), cookies={"once": "2"})
            assert set((sent(response) or "").split("; ")) == {"kept=1", "once=2"}
            assert await cookie_at(jar, told, host) == "kept=1"
            assert jar.cookies is not None
            assert "once" not in jar.cookies
            seen(told)
            there = quote(f"location: {to(told, 'b.example.com')}", safe="")
            hop = f"{to(told, host, status='302')}&header={there}"
            response = await jar.get(hop, cookies={"once": "2"})
            assert sent(response) is None

    asyncio.run(main())


def test_a_mapping_is_sent_to_the_origin_that_is_asked(told: Server) -> None:
    async def main() -> None:
        async with client(cookies={"a": "1", "b": "2"}) as fixed:
            assert await cookie_at(fixed, told, "a.example.com") == "a=1; b=2"
            response = await fixed.get(to(told, "a.example.com"), cookies={"c": "3"})
            assert sent(response) == "a=1; b=2; c=3"
            there = quote(f"location: {to(told, 'b.example.com')}", safe="")
            hop = f"{to(told, 'a.example.com', status='302')}&header={there}"
            assert sent(await fixed.get(hop)) is None
            assert fixed.cookies is None

    asyncio.run(main())


@pytest.mark.parametrize(
    ("name", "value"),
    [("a\r\n", "1"), ("", "1"), ("x;y", "1"), ("a=b", "1"), ("\0", "1"), ("a", "1\r\nx: y")],
)
def test_a_cookie_that_would_split_the_header_is_refused(name: str, value: str) -> None:
    with pytest.raises(offloop.InvalidHeader):
        client(cookies={name: value})
    with pytest.raises(offloop.InvalidHeader):
        client().get("http://a.example.com/", cookies={name: value})


def test_responses_show_what_they_set(told: Server) -> None:
    async def main() -> None:
        async with client() as jar:
            cookies = ["a=1", 'b="quoted"', "c", "d=x=y; Path=/", "e=1; Domain=com"]
            response = await jar.get(to(told, "a.example.com", *cookies))
            shown = response.cookies
            assert isinstance(shown, dict)
            assert shown["a"] == "1"
            assert shown["d"] == "x=y"

    asyncio.run(main())


# The jar itself.


def filled() -> offloop.Cookies:
    jar = offloop.Cookies()
    jar.set("id", "1", domain="a.example.com")
    jar.set("id", "2", domain=".example.com", path="/deep")
    jar.set("safe", "grün", domain="b.example.com", secure=True, expires=int(time.time()) + 900)
    return jar


def test_a_jar_is_read_like_a_mapping() -> None:
    jar = filled()
    assert len(jar) == 3
    assert jar.get("id", domain="a.example.com") == "1"
    assert jar.get("id", path="/deep") == "2"
    assert (jar.get("none"), jar.get("none", "else")) == (None, "else")
    assert "safe" in jar
    assert jar["safe"] == "grün"
    with pytest.raises(KeyError):
        jar["none"]
    fields = {
        "name",
        "value",
        "domain",
        "host_only",
        "path",
        "secure",
        "http_only",
        "same_site",
        "expires",
    }
    assert all(set(cookie) == fields for cookie in jar)
    by_domain = {cookie["domain"]: cookie for cookie in jar}
    assert by_domain["a.example.com"]["host_only"] is True
    assert by_domain["example.com"]["host_only"] is False


def test_cookies_are_deleted_by_name_domain_and_path() -> None:
    jar = filled()
    assert jar.delete("id", domain="b.example.com") == 0
    assert jar.delete("id", path="/deep") == 1
    assert jar.delete("id") == 1
    assert jar.delete("id") == 0
    jar.clear()
    assert (len(jar), list(jar)) == (0, [])


@pytest.mark.parametrize(
    ("name", "value", "options"),
    [
        ("a;b", "1", {"domain": "a.example.com"}),
        ("a", "1\r\nx: y", {"domain": "a.example.com"}),
        ("a", "1;2", {"domain": "a.example.com"}),
        ("a", "x" * 5000, {"domain": "a.example.com"}),
        ("", "1", {"domain": "a.example.com"}),
        ("a", "1", {"domain": "a.example.com", "path": "no-slash"}),
        ("a", "1", {"domain": ".com"}),
        ("a", "1", {"domain": ".co.uk"}),
        ("a", "1", {"domain": ""}),
        ("a", "1", {"domain": "a b"}),
        ("__Host-a", "1", {"domain": ".example.com", "secure": True}),
        ("__Secure-a", "1", {"domain": "a.example.com"}),
    ],
)
def test_what_is_no_cookie_is_not_set(name: str, value: str, options: dict[str, Any]) -> None:
    jar = offloop.Cookies()
    with pytest.raises(offloop.InvalidHeader):
        jar.set(name, value, **options)
    assert len(jar) == 0


def test_a_jar_is_saved_for_its_owner_alone_and_loaded_again(tmp_path: Path) -> None:
    path = tmp_path / "cookies.json"
    jar = filled()
    jar.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["cookies.json"]
    again = offloop.Cookies()
    again.set("more", "3", domain="a.example.com")
    again.load(str(path))
    assert len(again) == 4
    by_order = [sorted(map(str, each)) for each in (jar, again)]
    assert set(by_order[0]) < set(by_order[1])
    path.write_text("no json")
    with pytest.raises(ValueError):
        again.load(path)
    with pytest.raises(FileNotFoundError):
        again.load(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        again.save(tmp_path / "none" / "cookies")
    assert len(again) == 4


def test_a_jar_is_pickled_with_its_cookies(told: Server) -> None:
    jar = filled()
    again = pickle.loads(pickle.dumps(jar))
    assert sorted(map(str, again)) == sorted(map(str, jar))
    again.set("only", "here", domain="a.example.com")
    assert "only" not in jar


def test_a_jar_that_is_given_is_shared(told: Server) -> None:
    async def main() -> None:
        jar = filled()
        async with client(cookies=jar) as one, client(cookies=jar) as two:
            assert await cookie_at(one, told, "a.example.com") == "id=1"
            await one.get(to(told, "a.example.com", "new=5"))
            assert await cookie_at(two, told, "a.example.com") == "id=1; new=5"
            assert jar["new"] == "5"
            assert one.cookies is not None
            one.cookies.delete("new")
            assert "new" not in jar

    asyncio.run(main())


def test_a_pickled_client_takes_the_jar_it_was_given_along() -> None:
    again = pickle.loads(pickle.dumps(client(cookies=filled())))
    assert len(again.cookies or ()) == 3
    assert pickle.loads(pickle.dumps(client())).cookies is not None


def test_a_jar_shows_no_values() -> None:
    jar = offloop.Cookies()
    jar.set("session", "canary", domain="a.example.com")
    assert "canary" not in repr(jar) + str(jar)


# What a server may make grow.


def test_a_host_keeps_fifty_cookies(told: Server) -> None:
    async def main() -> None:
        async with client() as jar:
            for start in range(0, 100, 20):
                names = [f"n{number}=1" for number in range(start, start + 20)]
                await jar.get(to(told, "a.example.com", *names))
            assert len(jar.cookies or ()) == 50
            await jar.get(to(told, "b.example.com", "mine=1"))
            assert jar.cookies is not None
            assert "mine" in jar.cookies
            assert "n99" in jar.cookies
            assert "n0" not in jar.cookies

    asyncio.run(main())


def test_a_jar_keeps_three_thousand_cookies() -> None:
    jar = offloop.Cookies()
    for number in range(3_100):
        jar.set("id", "1", domain=f"h{number}.example.com")
    assert len(jar) == 3_000


def test_a_cookie_has_at_most_four_kilobytes(told: Server) -> None:
    async def main() -> None:
        async with client() as jar:
            await jar.get(to(told, "a.example.com", f"big={'x' * 4100}", f"fits={'x' * 4000}"))
            assert [cookie["name"] for cookie in jar.cookies or ()] == ["fits"]

    asyncio.run(main())

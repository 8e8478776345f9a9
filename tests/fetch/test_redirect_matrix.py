"""Who sees a secret when redirects lead away from its origin, and what becomes of the method.

900 cells: 3 choices of home among three origins x 6 chains x 10 kinds of secret x 5 codes, run at
once against `tests/servers/witness.py`, whose log of raw bytes decides (FAULTS F7, S1 - S4).
Then 5 codes x 7 methods x 3 kinds of body on one origin, hop by hop (FAULTS P10).
"""

from __future__ import annotations

import asyncio
import base64
import json
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

import offloop
from servers import Server, serve

CODES = (301, 302, 303, 307, 308)
# h is home, where the secret belongs; x and y are the two others. The first hop is always home.
CHAINS = ("hx", "hxx", "hxh", "hhx", "hxy", "hh")
CANARY = "canary-7f3a"
BASIC = base64.b64encode(f"user:{CANARY}".encode()).decode()
# What FAULTS S4 lets travel to a foreign origin, and what the protocol itself needs.
TRAVELS = {"accept", "accept-language", "accept-encoding", "user-agent", "range", "if-range"}
NEEDED = {"host", "connection", "content-length"}
DECORATION = {"accept": "text/plain", "accept-language": "tlh", "x-anything": "else"}


@dataclass
class Secret:
    """How a client or a request is given a secret, and how one recognises it on the wire."""

    client: dict[str, Any] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)
    userinfo: str = ""
    query: str = ""
    path: str = "hop"
    shows_as: str = CANARY
    at_home: bool = True


def headers(**fields: str) -> dict[str, Any]:
    return {"headers": {name.replace("_", "-"): value for name, value in fields.items()}}


def secrets() -> dict[str, Secret]:
    return {
        "authorization header": Secret(request=headers(authorization=f"Token {CANARY}")),
        "basic auth": Secret(request={"auth": ("user", CANARY)}, shows_as=BASIC),
        "bearer auth": Secret(client={"auth": offloop.BearerAuth(CANARY)}),
        "digest auth": Secret(
            client={"auth": offloop.DigestAuth(CANARY, "password")}, path="digest"
        ),
        "cookie header": Secret(request=headers(cookie=f"session={CANARY}")),
        "cookies option": Secret(request={"cookies": {"session": CANARY}}),
        "x-api-key header": Secret(request=headers(x_api_key=CANARY)),
        "client's private-token header": Secret(client=headers(private_token=CANARY)),
        # Whether an origin server sees this one at all is not settled here.
        "proxy-authorization header": Secret(
            request=headers(proxy_authorization=f"Basic {CANARY}"), at_home=False
        ),
        "user info and query": Secret(
            userinfo=f"user:{CANARY}@", query=f"?key={CANARY}", shows_as=BASIC
        ),
    }


@pytest.fixture(scope="module")
def witness() -> Iterator[Server]:
    with serve("witness") as running:
        yield running


def ask(server: Server, path: str) -> Any:
    with urllib.request.urlopen(f"{server.url}/{path}", timeout=30) as answer:
        return json.load(answer)


def requests_by_cell(server: Server) -> dict[str, list[tuple[str, str]]]:
    cells = defaultdict(list)
    for origin, raw in ask(server, "seen"):
        if raw.split(" ")[1].count("/") == 4:
            cells[raw.split("/")[2]].append((origin, raw))
    return cells


def names_in(raw: str) -> set[str]:
    lines = raw.partition("\r\n\r\n")[0].split("\r\n")[1:]
    return {line.partition(":")[0].lower() for line in lines}


def plan_of(chain: str, home: str) -> str:
    others = [origin for origin in "abc" if origin != home]
    return chain.replace("h", home).replace("x", others[0]).replace("y", others[1])


@pytest.mark.parametrize("kind", secrets())
def test_no_secret_reaches_a_foreign_origin_and_none_comes_back(witness: Server, kind: str) -> None:
    secret = secrets()[kind]
    origins = ask(witness, "origins")
    cells = {}
    for home in "abc":
        for chain in CHAINS:
            for code in CODES:
                cells[f"{home}-{chain}-{code}"] = (home, plan_of(chain, home), code)

    async def fetch(client: offloop.Client, cell: str) -> offloop.Response:
        home, plan, code = cells[cell]
        start = origins[home].replace("//", f"//{secret.userinfo}")
        url = f"{start}/{secret.path}/{cell}/{code}/-{plan[1:]}{secret.query}"
        options = dict(secret.request)
        options["headers"] = {**DECORATION, **options.get("headers", {})}
        return await client.get(url, **options)

    async def main() -> list[offloop.Response]:
        async with offloop.Client(**secret.client) as client:
            return await asyncio.gather(*(fetch(client, cell) for cell in cells))

    ask(witness, "seen")
    responses = asyncio.run(main())
    seen = requests_by_cell(witness)
    for (cell, (home, plan, _)), response in zip(cells.items(), responses, strict=True):
        visited = "".join(origin for origin, _ in seen[cell])
        # A digest challenge makes two requests of one hop.
        assert squeezed(visited) == squeezed(plan), cell
        assert len(visited) == len(plan) or kind == "digest auth", cell
        abroad = False
        for origin, raw in seen[cell]:
            abroad = abroad or origin != home
            told = CANARY in raw or BASIC in raw
            if abroad:
                assert not told, (cell, raw)
                assert names_in(raw) <= TRAVELS | NEEDED, (cell, raw)
                assert DECORATION["accept"] in raw
                assert DECORATION["accept-language"] in raw
            else:
                assert "x-anything" in names_in(raw), (cell, raw)
                assert f"user:{CANARY}@" not in raw
                assert "referer" not in names_in(raw)
        at_home = [raw for origin, raw in seen[cell][: len(visited) - len(visited.lstrip(home))]]
        if secret.at_home:
            shown = [secret.shows_as in raw for raw in at_home]
            assert any(shown) if kind == "digest auth" else all(shown), (cell, at_home)
        if "digest" not in kind or not abroad:
            assert (response.status_code, response.content) == (200, b"end")
        else:
            assert response.status_code == 401
        assert CANARY not in repr(response) + repr(response.history)


def squeezed(visited: str) -> str:
    return "".join(a for a, b in zip(visited, visited[1:] + "-", strict=True) if a != b)


@pytest.mark.parametrize("code", CODES)
def test_a_jar_decides_anew_at_each_hop(witness: Server, code: int) -> None:
    origins = ask(witness, "origins")
    foreign = origins["c"]

    async def main() -> None:
        async with offloop.Client(cookies=True) as client:
            assert client.cookies is not None
            host = foreign.removeprefix("http://").rpartition(":")[0].strip("[]")
            client.cookies.set("home", CANARY, domain="127.0.0.1")
            client.cookies.set("away", "other", domain=host)
            await client.get(f"{origins['a']}/hop/jar-{code}/{code}/-cb")

    asyncio.run(main())
    home, away, again = [raw for _, raw in requests_by_cell(witness)[f"jar-{code}"]]
    assert f"home={CANARY}" in home
    assert CANARY not in away
    # Cookies know no ports (RFC 6265 §8.5), and a jar's are bound to hosts.
    assert f"home={CANARY}" in again


METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
BODIES = ("none", "bytes", "iterator")


def second_hop(code: int, method: str, body: str) -> tuple[str, bool] | None:
    """Method and presence of the body after a redirect on one origin; None where it must fail."""
    if code == 303 or (code in {301, 302} and method == "POST"):
        return "HEAD" if method == "HEAD" else "GET", False
    if body == "iterator":
        return None
    return method, body == "bytes"


@pytest.mark.parametrize("code", CODES)
def test_method_and_body_across_a_redirect(witness: Server, code: int) -> None:
    origins = ask(witness, "origins")
    ask(witness, "seen")

    async def fetch(client: offloop.Client, method: str, body: str) -> None:
        url = f"{origins['a']}/hop/{method}-{body}/{code}/-a"
        content = {"none": None, "bytes": b"payload", "iterator": iter([b"pay", b"load"])}[body]
        options: dict[str, Any] = {} if content is None else {"content": content}
        work = client.request(
            method, url, follow_redirects=True, headers={"content-type": "x/y"}, **options
        )
        if second_hop(code, method, body) is None:
            with pytest.raises(offloop.UnreplayableBody):
                await work
        else:
            assert (await work).status_code == 200

    async def main() -> None:
        async with offloop.Client() as client:
            await asyncio.gather(*(fetch(client, m, b) for m in METHODS for b in BODIES))

    asyncio.run(main())
    seen = requests_by_cell(witness)
    for method in METHODS:
        for body in BODIES:
            requests = [raw for _, raw in seen[f"{method}-{body}"]]
            expected = second_hop(code, method, body)
            assert len(requests) == 1 + bool(expected), (method, body, requests)
            assert requests[0].startswith(f"{method} ")
            assert ("pay" in requests[0]) == (body != "none")
            if expected:
                new_method, has_body = expected
                assert requests[1].startswith(f"{new_method} "), requests
                assert requests[1].endswith("payload") == has_body, requests
                kept = {name for name in names_in(requests[1]) if name.startswith("content-")}
                if not has_body and new_method != method:
                    assert kept <= {"content-length"}, requests
                    assert "transfer-encoding" not in names_in(requests[1])
                    assert "content-length: 0" in requests[1].lower() or not kept


@pytest.mark.parametrize("code", [307, 308])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_no_body_follows_to_a_foreign_origin(witness: Server, code: int, method: str) -> None:
    origins = ask(witness, "origins")
    ask(witness, "seen")

    async def main() -> None:
        async with offloop.Client() as client:
            for plan in ("-b", "-ab", "-c"):
                url = f"{origins['a']}/hop/foreign/{code}/{plan}"
                with pytest.raises(offloop.InsecureRedirect):
                    await client.request(method, url, content=CANARY, follow_redirects=True)

    asyncio.run(main())
    assert {origin for origin, _ in requests_by_cell(witness)["foreign"]} == {"a"}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_unsafe_methods_are_followed_only_when_the_request_says_so(
    witness: Server, method: str
) -> None:
    origins = ask(witness, "origins")

    async def main() -> None:
        async with offloop.Client(follow_redirects=True) as client:
            for code in CODES:
                url = f"{origins['a']}/hop/unsafe/{code}/-a"
                assert (await client.request(method, url, content=b"x")).status_code == code

    asyncio.run(main())


def test_headers_named_in_cross_origin_headers_travel(witness: Server) -> None:
    origins = ask(witness, "origins")

    async def main() -> None:
        async with offloop.Client(cross_origin_headers=("X-Trace",)) as client:
            url = f"{origins['a']}/hop/named/302/-b"
            await client.get(url, headers={"x-trace": "t1", "x-key": CANARY})

    asyncio.run(main())
    _, (_, abroad) = requests_by_cell(witness)["named"]
    assert "x-trace" in names_in(abroad)
    assert CANARY not in abroad

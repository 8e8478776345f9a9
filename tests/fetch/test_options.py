"""Options are checked when they are made, are values, and never show a secret."""

from __future__ import annotations

import copy
import dataclasses
import ipaddress
import pickle
from datetime import timedelta
from typing import Any

import pytest

import offloop
from offloop.options import (
    UNSET,
    Attempt,
    BasicAuth,
    BearerAuth,
    ClientOptions,
    DigestAuth,
    Guard,
    Limits,
    RequestOptions,
    Retry,
    Timeout,
)

CANARY = "hunter2-canary"
VALUES = [
    Timeout(total=None, stall=(1, 2)),
    Retry(methods=["POST"]),
    Limits(rate=0.5),
    Guard(allow=["10.0.0.0/8"]),
    BasicAuth("user", CANARY),
    BearerAuth(CANARY),
    DigestAuth("user", CANARY),
    Attempt(url="http://127.0.0.1/", status=200),
]


def test_defaults_are_those_of_the_documentation() -> None:
    assert dataclasses.astuple(Timeout()) == (300.0, 60.0, 10.0, 30.0, 30.0, (1024, 60.0))
    statuses = (429, 500, 502, 503, 504)
    assert dataclasses.astuple(Retry()) == (3, statuses, None, 0.1, True, 60.0, 0.2)
    assert dataclasses.astuple(Limits()) == (100, 20, 30.0, None, None, None)
    assert dataclasses.astuple(Guard()) == ((80, 443), ())


def test_durations_are_seconds_or_timedelta_and_kept_as_float() -> None:
    timeout = Timeout(total=timedelta(minutes=2), read=7, stall=(10, timedelta(seconds=3)))
    assert (timeout.total, timeout.read, timeout.stall) == (120.0, 7.0, (10, 3.0))
    assert isinstance(timeout.read, float)
    assert Limits(idle=timedelta(seconds=1)).idle == 1.0
    assert Retry(backoff=timedelta(milliseconds=10), max_wait=0).backoff == 0.01


def test_none_switches_a_phase_off() -> None:
    nothing = Timeout(total=None, pool=None, connect=None, read=None, write=None, stall=None)
    assert set(dataclasses.astuple(nothing)) == {None}
    assert Limits(connections=None, per_host=None, idle=None).connections is None


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_options_are_values(value: Any) -> None:
    for other in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value)):
        assert other == value
        assert hash(other) == hash(value)
        assert repr(other) == repr(value)
    assert dataclasses.replace(value) == value
    first = dataclasses.fields(value)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, first, getattr(value, first))


@pytest.mark.parametrize("kind", [Timeout, Retry, Limits, Guard, Attempt])
def test_only_the_auth_classes_take_arguments_by_position(kind: Any) -> None:
    with pytest.raises(TypeError, match="positional"):
        kind(1)


@pytest.mark.parametrize("phase", ["total", "pool", "connect", "read", "write"])
def test_a_timeout_is_a_positive_number(phase: str) -> None:
    far = (10**400, float("inf"), float("nan"), -1, 0, 0.0, timedelta(seconds=-1), timedelta(0))
    for value in far:
        with pytest.raises(ValueError, match=phase):
            Timeout(**{phase: value})
    for wrong in ("5", True, b"5", [5], (5, 5), object()):
        with pytest.raises(TypeError, match=phase):
            Timeout(**{phase: wrong})


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Timeout(stall=5), TypeError),  # type: ignore[arg-type]
        (lambda: Timeout(stall=(1, 2, 3)), TypeError),  # type: ignore[arg-type]
        (lambda: Timeout(stall=(1024, None)), TypeError),  # type: ignore[arg-type]
        (lambda: Timeout(stall=(0.5, 60)), TypeError),  # type: ignore[arg-type]
        (lambda: Timeout(stall=(0, 60)), ValueError),
        (lambda: Timeout(stall=(1024, 0)), ValueError),
        (lambda: Retry(attempts=-1), ValueError),
        (lambda: Retry(attempts=2**32), ValueError),
        (lambda: Retry(attempts=1.5), TypeError),  # type: ignore[arg-type]
        (lambda: Retry(attempts=True), TypeError),
        (lambda: Retry(statuses=[99]), ValueError),
        (lambda: Retry(statuses=503), TypeError),  # type: ignore[arg-type]
        (lambda: Retry(statuses=["503"]), TypeError),  # type: ignore[list-item]
        (lambda: Retry(methods="GET"), TypeError),
        (lambda: Retry(methods=[b"GET"]), TypeError),  # type: ignore[list-item]
        (lambda: Retry(methods=["GET\r\n"]), ValueError),
        (lambda: Retry(methods=[""]), ValueError),
        (lambda: Retry(backoff=-0.1), ValueError),
        (lambda: Retry(backoff=None), TypeError),  # type: ignore[arg-type]
        (lambda: Retry(max_wait=float("nan")), ValueError),
        (lambda: Retry(respect_retry_after=1), TypeError),  # type: ignore[arg-type]
        (lambda: Retry(budget=1.5), ValueError),
        (lambda: Limits(connections=0), ValueError),
        (lambda: Limits(per_host="20"), TypeError),  # type: ignore[arg-type]
        (lambda: Limits(rate=0), ValueError),
        (lambda: Limits(rate=timedelta(seconds=1)), TypeError),  # type: ignore[arg-type]
        (lambda: Guard(ports=[0]), ValueError),
        (lambda: Guard(ports=[65536]), ValueError),
        (lambda: Guard(ports=80), TypeError),  # type: ignore[arg-type]
        (lambda: Guard(allow="10.0.0.0/8"), TypeError),
        (lambda: Guard(allow=[1]), TypeError),  # type: ignore[list-item]
        (lambda: Guard(allow=["10.0.0.1/8"]), ValueError),
        (lambda: Guard(allow=["localhost"]), ValueError),
        (lambda: BasicAuth("a:b", "c"), ValueError),
        (lambda: DigestAuth("a", None), TypeError),  # type: ignore[arg-type]
        (lambda: BearerAuth(b"token"), TypeError),  # type: ignore[arg-type]
        (lambda: BearerAuth(""), ValueError),
        (lambda: BearerAuth("a b"), ValueError),
        (lambda: BearerAuth("tök"), ValueError),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(make: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        make()


def test_lists_become_tuples_and_methods_upper_case() -> None:
    assert Retry(statuses=[503], methods=["get", "m-search"]).methods == ("GET", "M-SEARCH")
    network = ipaddress.ip_network("fd00::/8")
    assert Guard(allow=["127.0.0.2", network]).allow == ("127.0.0.2/32", "fd00::/8")
    assert Guard(ports=range(80, 82)).ports == (80, 81)


@pytest.mark.parametrize("end", ["\r", "\n", "\0", "\x7f"])
def test_an_auth_that_no_header_can_carry_is_refused_without_showing_it(end: str) -> None:
    secret = CANARY + end
    for make in (BasicAuth, DigestAuth):
        for arguments in ((secret, "b"), ("a", secret)):
            with pytest.raises(ValueError, match="control character") as caught:
                make(*arguments)
            assert CANARY not in str(caught.value)
    with pytest.raises(ValueError, match="control character") as caught:
        BearerAuth(secret)
    assert CANARY not in str(caught.value)


def test_no_auth_shows_what_it_holds() -> None:
    for auth in (BasicAuth(CANARY, CANARY), DigestAuth(CANARY, CANARY), BearerAuth(CANARY)):
        for shown in (repr(auth), str(auth), f"{auth}", repr([auth])):
            assert CANARY not in shown
            assert type(auth).__name__ in shown


def test_an_attempt_shows_its_url_without_secrets() -> None:
    url = f"http://user:{CANARY}@host:81/path?key={CANARY}#{CANARY}"
    attempt = Attempt(url=url, error="ConnectError: refused", reused=True, took=0.25)
    assert repr(attempt) == "<Attempt http://host:81/path ConnectError: refused, reused, 0.250 s>"
    assert attempt.url == url
    assert "404" in repr(Attempt(url="/x", status=404))


def test_left_out_is_not_none() -> None:
    assert repr(UNSET) == "UNSET"
    assert pickle.loads(pickle.dumps(UNSET)) is UNSET is copy.deepcopy(UNSET)


def test_the_option_names_are_all_there() -> None:
    assert set(RequestOptions.__annotations__) == set(
        "params headers cookies content data json files auth timeout follow_redirects retries "
        "max_body".split()
    )
    assert set(ClientOptions.__annotations__) == set(
        "base_url headers params cookies auth timeout limits retries retry_stale follow_redirects "
        "max_redirects http1 http2 proxy trust_env verify cert pin max_body "
        "max_decompression_ratio cross_origin_headers resolve uds guard hooks transport".split()
    )


@pytest.mark.parametrize("size", [-1, 2**64])
def test_a_size_that_is_none_is_a_value_error_that_names_the_option(size: int) -> None:
    with pytest.raises(ValueError, match="max_body"):
        offloop.Client(max_body=size)
    client = offloop.Client()
    with pytest.raises(ValueError, match="max_body"):
        client.get("http://127.0.0.1:1/", max_body=size)

"""Fields that check what they are given, and the checks: for the classes of `offloop.options`.

A check takes the name of the field, for its message, and the value; it gives what is kept, or
raises TypeError or ValueError. This module imports nothing of offloop but its exceptions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from offloop.exceptions import InvalidHeader

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

    Network: TypeAlias = str | IPv4Network | IPv6Network

_Given = TypeVar("_Given")
_Kept = TypeVar("_Kept")


class Checked(Generic[_Given, _Kept]):
    """A field of a dataclass that is checked, and converted, when it is given.

    Type checkers know what may go in and what comes out:
    https://docs.python.org/3/library/dataclasses.html#descriptor-typed-fields
    """

    def __init__(self, default: _Kept, convert: Callable[[str, _Given], _Kept]) -> None:
        self._default = default
        self._convert = convert
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> _Kept:
        if instance is None:
            return self._default
        kept: _Kept = instance.__dict__[self._name]
        return kept

    def __set__(self, instance: object, value: _Given) -> None:
        instance.__dict__[self._name] = self._convert(self._name, value)


Duration: TypeAlias = float | timedelta

LONGEST = 1e18
"""Seconds that Rust's and every system's clock can still count; arbitrary. None is for ever."""


def real(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    if not -LONGEST <= value <= LONGEST:  # nor is NaN
        raise ValueError(f"{name} must be a finite number")
    return float(value)


def rate(name: str, value: float | None) -> float | None:
    if value is None:
        return None
    if (number := real(name, value)) <= 0:
        raise ValueError(f"{name} must be positive, not {number}; None stands for no limit")
    return number


def share(name: str, value: float) -> float:
    if not 0 <= (number := real(name, value)) <= 1:
        raise ValueError(f"{name} must be from 0 to 1, not {number}")
    return number


def plain(value: Duration) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else value


def wait(name: str, value: Duration) -> float:
    if (seconds := real(name, plain(value))) < 0:
        raise ValueError(f"{name} must not be negative, not {seconds}")
    return seconds


def limit(name: str, value: Duration | None) -> float | None:
    return rate(name, None if value is None else plain(value))


def stall(name: str, value: tuple[int, Duration] | None) -> tuple[int, float] | None:
    if value is None:
        return None
    if not isinstance(value, tuple) or len(value) != 2:  # noqa: PLR2004 - rate and window
        raise TypeError(f"{name} must be a tuple (bytes per second, seconds) or None")
    seconds = limit(f"{name}[1]", value[1])
    if seconds is None:
        raise TypeError(f"{name}[1] must be seconds; {name}=None switches it off")
    return count(1)(f"{name}[0]", value[0]), seconds


def count(lowest: int, highest: int = 2**32 - 1) -> Callable[[str, int], int]:
    def check(name: str, value: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an int, not {type(value).__name__}")
        if not lowest <= value <= highest:
            raise ValueError(f"{name} must be {lowest} to {highest}, not {value}")
        return value

    return check


def bound(name: str, value: int | None) -> int | None:
    return None if value is None else count(1)(name, value)


def several(
    check: Callable[[str, _Given], _Kept],
) -> Callable[[str, Iterable[_Given]], tuple[_Kept, ...]]:
    def check_each(name: str, value: Iterable[_Given]) -> tuple[_Kept, ...]:
        if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
            raise TypeError(f"{name} must be a list or a tuple, not {type(value).__name__}")
        return tuple([check(f"{name}[{index}]", each) for index, each in enumerate(value)])

    return check_each


def method(name: str, value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be str, not {type(value).__name__}")
    if not value.isascii() or not value.replace("-", "").isalnum():
        raise ValueError(f"{name} is {value!r}, which is no request method")
    return value.upper()


def methods(name: str, value: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if value is None else several(method)(name, value)


def network(name: str, value: Network) -> str:
    import ipaddress

    if not isinstance(value, (str, ipaddress.IPv4Network, ipaddress.IPv6Network)):
        raise TypeError(f"{name} must be a network as str, not {type(value).__name__}")
    # Strict: a network with host bits set may have been meant narrower than it would be read.
    return str(ipaddress.ip_network(value))


def flag(name: str, value: bool) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be a bool, not {type(value).__name__}")
    return value


def secret(name: str, value: str) -> None:
    """Refuse what no header can carry; the message never shows it."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be str, not {type(value).__name__}")
    if any(character < " " or character == "\x7f" for character in value):
        raise InvalidHeader(f"{name} has a control character")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidHeader(f"{name} contains a lone surrogate")

"""Functions, results and exceptions that break what is asked of them, for `test_odd_objects`."""

from __future__ import annotations

import threading
from typing import Any


class NotedError(Exception):
    """With notes that are none."""


def fail_with_notes(notes: Any) -> None:
    error = NotedError("mine")
    error.__notes__ = notes
    raise error


class NoNotesError(Exception):
    """Takes no notes, and has none to show."""

    def add_note(self, note: str) -> None:
        raise RuntimeError("no notes")


class DumbError(Exception):
    """Says nothing: asking it for a text ends the program."""

    def __str__(self) -> str:
        raise SystemExit(4)

    __repr__ = __str__


class StuckError(Exception):
    """Does not travel: packing it ends the program."""

    def __reduce__(self) -> Any:
        raise SystemExit(5)


class DeafError(Exception):
    """Has no attributes."""

    def __getattribute__(self, name: str) -> Any:
        raise ZeroDivisionError(name)


class UnequalError(Exception):
    """Is not to be compared."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")


ERRORS = [NoNotesError, DumbError, StuckError, DeafError, UnequalError]


def fail(number: int) -> None:
    raise ERRORS[number]("mine")


class Nameless:
    """A key that has no repr."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class Exiting:
    """Does not travel: packing it ends the program."""

    def __reduce__(self) -> Any:
        raise SystemExit(6)


class Closed:
    """Neither travels nor shows its parts."""

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("no parts")

    def __reduce__(self) -> Any:
        raise RuntimeError("no way")


class Kind(type):
    """A class of classes without names."""

    def __getattribute__(cls, name: str) -> Any:
        if name in {"__module__", "__qualname__"}:
            raise RuntimeError("no name")
        return super().__getattribute__(name)


def give_nameless_key() -> Any:
    return {Nameless(): threading.Lock()}


def give_exiting() -> Any:
    return Exiting()


def give_closed() -> Any:
    return Closed()


def give_of_nameless_class() -> Any:
    class Local(metaclass=Kind):
        pass

    return Local()


class Secretive:
    """Called, it answers; asked, it raises what `getattr` does not catch."""

    def __getattr__(self, name: str) -> Any:
        raise KeyError(name)

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __reduce__(self) -> Any:
        return Secretive, ()

    def __call__(self) -> str:
        return "called"


class Misnamed(Secretive):
    """Its names are no text."""

    def __init__(self) -> None:
        self.__qualname__ = 5
        self.__module__ = ["x"]  # type: ignore[assignment]

    def __reduce__(self) -> Any:
        return Misnamed, ()

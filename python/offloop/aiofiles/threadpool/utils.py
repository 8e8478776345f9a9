"""Class decorators that give a class the methods of the file it wraps, as aiofiles has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

C = TypeVar("C", bound=type)


def _give(make: Callable[[str], object], attrs: tuple[str, ...]) -> Callable[[C], C]:
    def cls_builder(cls: C) -> C:
        for name in attrs:
            setattr(cls, name, make(name))
        return cls

    return cls_builder


def delegate_to_executor(*attrs: str) -> Callable[[C], C]:
    """Give methods that are called by a thread."""

    def make(name: str) -> object:
        async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            return await self._do(getattr(self._file, name), *args, **kwargs)

        method.__name__ = name
        return method

    return _give(make, attrs)


def cond_delegate_to_executor(*attrs: str) -> Callable[[C], C]:
    """Give methods that are called by a thread once a spooled file is on disk."""

    def make(name: str) -> object:
        async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            if self._file._rolled:
                return await self._do(getattr(self._file, name), *args, **kwargs)
            return getattr(self._file, name)(*args, **kwargs)

        method.__name__ = name
        return method

    return _give(make, attrs)


def proxy_method_directly(*attrs: str) -> Callable[[C], C]:
    """Give methods that are called at once."""

    def make(name: str) -> object:
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            return getattr(self._file, name)(*args, **kwargs)

        method.__name__ = name
        return method

    return _give(make, attrs)


def proxy_property_directly(*attrs: str) -> Callable[[C], C]:
    """Give the attributes of the file."""

    def make(name: str) -> object:
        return property(lambda self: getattr(self._file, name))

    return _give(make, attrs)

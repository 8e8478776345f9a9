"""offloop: one awaitable for everything that would block or crowd asyncio's event loop.

What it exports stands in `_public.py`, and is loaded when the first name is asked for: `import
offloop` alone costs next to nothing, where asyncio and the extension take some 30 ms.
"""

import sys

TYPE_CHECKING = False  # `typing` would be the greatest part of the import
if TYPE_CHECKING:
    from offloop._public import *  # noqa: F403  # pyright: ignore[reportWildcardImportFromLibrary]
    from offloop._public import __all__ as __all__
else:

    def __getattr__(name: str) -> object:
        # `from offloop import options` asks for an attribute first, also while we are loading.
        if name not in _FUNCTIONS and not name.startswith("__"):
            import importlib

            try:
                module = importlib.import_module(f"{__name__}.{name}")
            except ModuleNotFoundError as error:
                if error.name != f"{__name__}.{name}":
                    raise
            else:
                if name == "_offloop":
                    # A module with operations was imported by itself.
                    importlib.import_module("offloop._lifecycle").make_ready()
                return module
        if not name.startswith("_") or name == "__all__":
            from offloop import _public

            found = {each: getattr(_public, each) for each in _public.__all__}
            globals().update(found, __all__=_public.__all__)
            if name in globals():
                return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__getattr__("__all__")})

    _Module = type(sys)

    class _Package(_Module):
        """Keeps the function `offloop.fetch` from being hidden by the module of that name."""

        def __setattr__(self, name: str, value: object) -> None:
            if not (isinstance(value, _Module) and name in _FUNCTIONS):
                super().__setattr__(name, value)

    _FUNCTIONS = frozenset({"download", "fetch", "watch"})
    """Public functions that share their name with a module."""

    sys.modules[__name__].__class__ = _Package

    if "OFFLOOP_WATCH" in __import__("os").environ:
        import importlib

        importlib.import_module("offloop._watch.session").install_from_environment()

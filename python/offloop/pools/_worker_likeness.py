"""How a worker process becomes like its parent: the main module, multiprocessing's key, limits.

Loaded by `_worker` in the worker alone, and as that is: by its path, without offloop.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def share_key(key: bytes) -> None:
    """Give multiprocessing the parent's key, with which proxies of its managers are let in.

    When it is imported: most workers never do, and it would double their start.
    """
    finder: Any = next(it for it in sys.meta_path if getattr(it, "__name__", "") == "PathFinder")

    class Finder:
        @staticmethod
        def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
            if name != "multiprocessing.process":
                return None
            sys.meta_path.remove(Finder)
            spec = finder.find_spec(name, path, target)
            if spec is None:
                return None
            load = spec.loader.exec_module

            def load_with_key(module: Any) -> None:
                load(module)
                module.current_process().authkey = key

            spec.loader.exec_module = load_with_key
            return spec

    sys.meta_path.insert(0, Finder)


def lazy_main(worker: Any, name: str | None, path: str | None) -> Any:
    """Make a `__main__` that becomes the parent's when something of it is first asked for.

    As multiprocessing does it, under the name ``__mp_main__``; but most functions are not in the
    main module, and then it need not run here at all.
    """
    main = type(sys)("__main__")
    if path is not None:
        main.__file__ = path
    failure: ImportError | None = None

    def __getattr__(attribute: str) -> Any:  # noqa: N807 - PEP 562
        nonlocal failure
        if attribute[:2] == "__" == attribute[-2:] or not (name or path):
            raise AttributeError(f"the main module of this worker has no {attribute!r}")
        if failure is None and sys.modules["__mp_main__"] is main:
            try:
                _import_main(worker, name, path)
            except BaseException as error:  # noqa: BLE001 - also sys.exit() at its end
                text = f"the main module failed in the worker: {error!r:.500}"
                failed: ImportError = worker.MainFailedError(text)
                failed.__cause__ = error
                failure = failed
        if failure is not None:
            raise failure
        return getattr(sys.modules["__mp_main__"], attribute)

    main.__getattr__ = __getattr__  # type: ignore[method-assign]
    return main


def _import_main(worker: Any, name: str | None, path: str | None) -> None:
    import runpy

    worker.importing_main = True  # `offloop.pools.process` reads it
    try:
        if name is not None:
            content = runpy.run_module(name, run_name="__mp_main__", alter_sys=True)
        else:
            content = runpy.run_path(path or "", run_name="__mp_main__")
    finally:
        worker.importing_main = False
    module = type(sys)("__mp_main__")
    module.__dict__.update(content)
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module


def limit(stack: int, memory: int | None) -> None:
    """Have at least `stack` bytes of stack, and at most `memory` bytes of address space."""
    import resource

    unlimited = (-1, resource.RLIM_INFINITY)
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if soft not in unlimited and soft < stack:
        wanted = stack if hard in unlimited else min(stack, hard)
        resource.setrlimit(resource.RLIMIT_STACK, (wanted, hard))
    if memory is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        if hard not in unlimited:
            memory = min(memory, hard)
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))

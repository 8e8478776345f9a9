"""What the options of the pytest plugin switch on; nothing here is imported without one of them.

`settings` reads options and ini file; `blocks` watches the loops while tests run, `verdict` says
which stalls are findings, and `baseline` which of them are known; `forgotten` collects what was
never awaited; `summary` gathers it all, from the workers of pytest-xdist too, and prints it.

PYTEST_DONT_REWRITE: there is nothing to rewrite here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from offloop.testing._pytest.settings import read

if TYPE_CHECKING:
    import pytest


def switch_on(config: pytest.Config) -> None:
    """Register what the options ask for."""
    settings = read(config)
    if settings is None:
        return
    from offloop.testing._pytest.summary import Summary

    known = None
    if settings.limit is not None:
        from offloop.testing._pytest.baseline import Baseline
        from offloop.testing._pytest.blocks import Blocks

        known = Baseline.of(settings)
        config.pluginmanager.register(Blocks(config, settings, known), "offloop-blocks")
    if settings.forgotten is not None:
        from offloop.testing._pytest.forgotten import Forgotten

        config.pluginmanager.register(Forgotten(config, settings), "offloop-forgotten")
    config.pluginmanager.register(Summary(config, settings, known), "offloop-summary")

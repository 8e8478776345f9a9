"""Offloading: blocking calls leave the event loop's thread and come back as one awaitable.

`run` is the extension's own function: a Python function around it would cost a tenth of a call.
"""

from offloop._offloop import run

__all__ = ["run"]

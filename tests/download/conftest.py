"""The counting server of the tests for `fetch_all`: downloads go through the same scheduler."""

from batch.conftest import _counting, counting

__all__ = ["_counting", "counting"]

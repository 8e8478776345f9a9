"""A certificate of a new authority, for servers on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

trustme = pytest.importorskip("trustme")


def certify(folder: Path, *names: str) -> Path:
    """Write `ca.pem`, whom to trust, and `leaf.pem`, key and chain for 127.0.0.1 and the names."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    leaf = authority.issue_cert("127.0.0.1", *names)
    leaf.private_key_and_cert_chain_pem.write_to_path(folder / "leaf.pem")
    return folder

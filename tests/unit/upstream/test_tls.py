"""TLS contexts towards endpoints are kept as long as nothing that they are made of has changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from waypost.upstream import tls


def test_the_authorities_of_the_system_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "authorities.pem"
    bundle.write_text("")
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    first, problems = tls.contexts({"c": None}, {})
    assert problems == []
    kept, _ = tls.contexts({"c": None}, first)
    assert kept["c"] is first["c"]
    bundle.write_text("# another authority\n")
    renewed, _ = tls.contexts({"c": None}, kept)
    assert renewed["c"] is not kept["c"]

"""The glossary: each term once, and names of code that exist where it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .support.pages import ROOT

TEXT = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
NAMES = re.findall(r"^\| `(\w+)` \| (core )?`([\w./]+)` \|", TEXT, re.MULTILINE)


def test_no_term_is_explained_twice() -> None:
    terms = [term.strip("`") for term in re.findall(r"^\| ([^|]+?) \|", TEXT, re.MULTILINE)]
    terms = [term for term in terms if term not in ("term", "name") and set(term) != {"-"}]
    assert len(terms) > 80
    assert sorted(terms) == sorted(set(terms))


@pytest.mark.parametrize(("name", "core", "place"), NAMES, ids=[each[0] for each in NAMES])
def test_a_name_of_the_code_exists_where_the_glossary_says(name: str, core: str, place: str) -> None:
    root = ROOT / "rust/core/src" if core else ROOT / "python/waypost"
    path = root / place
    files: list[Path] = [path] if path.is_file() else list(path.rglob("*.rs" if core else "*.py"))
    defines = re.compile(rf"^(?:pub(?:\(\w+\))? )?(?:struct|enum|class|type) {name}\b|^{name}\b.* = ", re.MULTILINE)
    assert any(defines.search(each.read_text(encoding="utf-8")) for each in files)

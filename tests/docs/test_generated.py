"""Pages that are made from the code are current."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from .support.pages import ROOT


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = _generator()


@pytest.mark.parametrize("name", GENERATOR.PAGES)
def test_a_generated_page_is_current(name: str) -> None:
    found, wanted = GENERATOR.current(name)
    assert found == wanted, "write it anew with `make docs-generate`"

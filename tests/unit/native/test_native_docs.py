"""`help()` of the extension says what its stub says."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import waypost
from waypost import Matcher, _native

STUB = ast.parse((Path(waypost.__file__).parent / "_native.pyi").read_text(encoding="utf-8"))


def documented() -> Iterator[tuple[str, str]]:
    """Each name of the extension that has a docstring, but special methods, and its first sentence."""
    for node in STUB.body:
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            continue
        inner = [each for each in node.body if isinstance(each, ast.FunctionDef) and not each.name.startswith("__")]
        for name, each in [(node.name, node), *((f"{node.name}.{each.name}", each) for each in inner)]:
            text = ast.get_docstring(each)  # type: ignore[arg-type]
            if text:
                paragraph = " ".join(text.split("\n\n")[0].split())
                found = re.match(r".+?[.?](?=\s+[A-Z`]|$)", paragraph)
                yield name, found[0] if found else paragraph


def test_help_of_the_matcher_says_all_that_its_stub_says() -> None:
    (stub,) = (node for node in STUB.body if isinstance(node, ast.ClassDef) and node.name == "Matcher")
    of = {each.name: ast.get_docstring(each) for each in stub.body if isinstance(each, ast.FunctionDef)}
    # A constructor is told of with its class.
    assert inspect.getdoc(Matcher) == f"{ast.get_docstring(stub)}\n\n{of['__new__']}"
    for name, text in of.items():
        if not name.startswith("__"):
            assert inspect.getdoc(getattr(Matcher, name)) == text


@pytest.mark.parametrize(("name", "sentence"), list(documented()))
def test_a_docstring_begins_as_the_stub_does(name: str, sentence: str) -> None:
    found = _native
    for part in name.split("."):
        found = getattr(found, part)
    assert " ".join((found.__doc__ or "").split()).startswith(sentence)

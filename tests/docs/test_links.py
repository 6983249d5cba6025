"""Links of the documents that are read where the project is hosted. `make docs` checks those of the site."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from .support.pages import PAGES, ROOT

DOCUMENTS = [*(page.path for page in PAGES), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)")


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=[path.relative_to(ROOT).as_posix() for path in DOCUMENTS])
def test_links_lead_somewhere(document: Path) -> None:
    for name, anchor in LINK.findall(document.read_text(encoding="utf-8")):
        target = (document.parent / name).resolve() if name else document
        assert target.exists(), name
        assert not anchor or anchor in anchors(target), f"{name}#{anchor}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=[path.relative_to(ROOT).as_posix() for path in DOCUMENTS])
def test_a_list_begins_after_an_empty_line(document: Path) -> None:
    """Or the site shows it as a paragraph, although code hosts do not."""
    lines = ["", *document.read_text(encoding="utf-8").splitlines()]
    fenced = False
    for before, line in itertools.pairwise(lines):
        fenced ^= line.startswith("```")
        if not fenced and re.match(r"[-*] |\d+\. ", line):
            assert not before or re.match(r"[-*] |\d+\. | {2,}", before), line


def test_every_page_is_in_the_overview() -> None:
    overview = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    linked = {name for name, _ in LINK.findall(overview)}
    pages = {page.path.relative_to(ROOT / "docs").as_posix() for page in PAGES[1:]}
    assert {name for name in pages if not name.startswith("decisions/")} - {"index.md"} <= linked

"""What the site has beyond the pages of docs/: documents of the project around it, and each decision in the navigation.

A link in a page is one that works where the project's files are read. Here it becomes one that works on the site.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
AROUND = ("CHANGELOG.md", "CONTRIBUTING.md", "benches/RESULTS.md", "benches/plots/*.svg", "examples/*.yaml", "LICENSE")
"""Files of the project that are on the site as they are, below the same names."""
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")
"""The target of a link to a file, without its anchor."""


def on_config(config: MkDocsConfig) -> None:
    for section in config.nav or ():
        if "Decisions" in section:
            found = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("*.md") if path.stem != "index")
            section["Decisions"] += [f"decisions/{name}" for name in found]


def on_files(files: Files, config: MkDocsConfig) -> None:
    for name in around():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Let links lead to where their files are on the site."""
    here = page.file.src_uri
    outside = here in set(around())

    def moved(found: re.Match[str]) -> str:
        own = posixpath.dirname(here if outside else f"docs/{here}")
        target = posixpath.normpath(posixpath.join(own, found[1]))
        return posixpath.relpath(target.removeprefix("docs/"), posixpath.dirname(here) or ".")

    return LINK.sub(moved, markdown)


def around() -> Iterator[str]:
    for pattern in AROUND:
        for path in sorted(ROOT.glob(pattern)):
            yield path.relative_to(ROOT).as_posix()

"""The pages of the documentation: their sections, and the blocks of code in these."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["PAGES", "ROOT", "Block", "Page", "Section", "commands", "read_page"]

ROOT = Path(__file__).parents[3]

_FILE = re.compile(r"# (\w[\w./-]*\.(?:yaml|py|service|conf)|Dockerfile)\n")
"""The first line of a block that is a file."""


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    where: str
    """`docs/page.md:12`"""

    @property
    def file(self) -> str | None:
        """The name of the file that the block is, in its first line."""
        found = _FILE.match(self.text)
        return found[1] if found else None


@dataclass
class Section:
    title: str
    prose: str = ""
    blocks: list[Block] = field(default_factory=list)


@dataclass(frozen=True)
class Page:
    name: str
    """The file's name, relative to the project."""
    text: str
    sections: tuple[Section, ...]

    @property
    def path(self) -> Path:
        return ROOT / self.name


def read_page(name: str, markdown: str) -> Page:
    """Split a page at its headings of the first two levels."""
    sections = [Section("(top)")]
    fence: list[str] | None = None
    language, start = "", 0
    for number, line in enumerate(markdown.splitlines(), 1):
        if fence is not None:
            if line == "```":
                sections[-1].blocks.append(Block(language, "".join(fence), f"{name}:{start}"))
                fence = None
            else:
                fence.append(line + "\n")
        elif line.startswith("```"):
            fence, language, start = [], line[3:], number
        elif re.match(r"##? ", line):
            sections.append(Section(line.lstrip("# ")))
        else:
            assert "```" not in line, f"{name}:{number}: a fence has to stand at the start of its line"
            sections[-1].prose += line + "\n"
    assert fence is None, f"{name}: the block that begins in line {start} does not end"
    return Page(name, markdown, tuple(sections))


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Each command of a console block, and the output that is shown for it."""
    command: str | None = None
    output: list[str] = []
    lines = iter(text.splitlines())
    for line in lines:
        if not line.startswith("$ "):
            output.append(line + "\n")
            continue
        if command is not None:
            yield command, "".join(output)
        assert command is not None or not output, f"output before the first command: {output}"
        command, output = line[2:], []
        while command.endswith("\\"):
            command += "\n" + next(lines)
    assert command is not None, "a console block without a command"
    yield command, "".join(output)


PAGES = tuple(
    read_page(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
)

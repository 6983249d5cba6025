"""The paths that a Rust source names, for rules on imports: `use` trees, `crate::…` and `super::…` anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

Module: TypeAlias = tuple[str, ...]
"""A module's path within its crate, or that of an item."""

COMMENT = re.compile(r"//[^\n]*|/\*|\*/")
SKIPPED = re.compile(
    r"""
    //[^\n]*                               # a comment; those in stars may nest
    | b?r(?P<hashes>\#*)".*?"(?P=hashes)   # a raw string
    | b?"(?:[^"\\]|\\.)*"                 # a string
    | b?'(?:[^'\\]|\\.[^']*)'             # a character; a lifetime has no quote at its end
    """,
    re.VERBOSE | re.DOTALL,
)
TOKEN = re.compile(r"\w+|::|[{}(),;*]|\S")
ROOTS = ("crate", "super", "self")


def module_of(path: Path, sources: Path) -> Module:
    """The module that a file holds; `()` for the crate's own."""
    parts = path.relative_to(sources).with_suffix("").parts
    return parts[:-1] if parts[-1] in ("lib", "mod") else parts


def paths_named(source: str, module: Module) -> Iterator[Module]:
    """Every path into the crate that `source`, the source of `module`, names. `a::*` counts as `a`."""
    tokens = TOKEN.findall(plain(source))
    inside = [module]
    """The module that each open brace is in."""
    position = 0
    while position < len(tokens):
        token = tokens[position]
        if token == "{":
            before = tokens[max(0, position - 2) : position]
            inside.append((*inside[-1], before[1]) if before[:1] == ["mod"] else inside[-1])
        elif token == "}":
            inside.pop()
        elif token in ROOTS and tokens[position + 1 : position + 2] == ["::"]:
            found: list[Module] = []
            is_visibility = tokens[position - 2 : position] == ["(", "in"]
            position = read_tree(tokens, position, None, inside[-1], found)
            yield from () if is_visibility else found
            continue
        position += 1


def plain(source: str) -> str:
    """The source without comments and literals."""
    out = []
    position = 0
    while position < len(source):
        if source.startswith("/*", position):
            position = end_of_comment(source, position)
        elif match := SKIPPED.match(source, position):
            position = match.end()
            out.append(" ")
        elif word := re.compile(r"\w+").match(source, position):  # so that no literal begins within one
            out.append(word.group())
            position = word.end()
        else:
            out.append(source[position])
            position += 1
    return "".join(out)


def end_of_comment(source: str, start: int) -> int:
    depth = 0
    for match in re.compile(r"/\*|\*/").finditer(source, start):
        depth += 1 if match.group() == "/*" else -1
        if depth == 0:
            return match.end()
    return len(source)


def read_tree(tokens: list[str], position: int, base: Module | None, module: Module, found: list[Module]) -> int:
    """Reads a path, or a tree of them, below `base` as far as it goes; returns where it ends."""
    path = base or ()
    first = base is None
    while position < len(tokens):
        token = tokens[position]
        if token == "{":
            position += 1
            while tokens[position] != "}":
                position = read_tree(tokens, position, path, module, found)
                if tokens[position] == ",":
                    position += 1
            return position + 1
        if token == "crate" and first:
            path = ()
        elif token == "self":
            path = module if first else path
        elif token == "super":
            path = module[:-1] if first else path[:-1]
        elif token != "*":
            path = (*path, token)
        first = False
        position += 1
        if tokens[position : position + 1] != ["::"]:
            break
        position += 1
    found.append(path)
    if tokens[position : position + 1] == ["as"]:
        position += 2
    return position

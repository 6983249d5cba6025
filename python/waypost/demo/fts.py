"""Full-text search for untrusted text, in SQLite's FTS5."""

from __future__ import annotations

import re
import sqlite3
from typing import Final

from waypost.errors import WaypostError

__all__ = ["MAX_CHARACTERS", "MAX_WORDS", "create_table", "expression"]

MAX_CHARACTERS: Final = 8192
"""Characters of a query that are read, so that a query of any length is cheap."""

MAX_WORDS: Final = 64
"""Distinct words of a query that are searched for."""

_WORD = re.compile(r"[^\W_]+")


def expression(text: str) -> str | None:
    """An FTS5 expression that matches rows with any word of `text`, or `None` if `text` has no word.

    FTS5 has a query language (NEAR, column filters, prefixes). The words are quoted and hold only letters and digits,
    so that none is taken for an operator. Text beyond `MAX_CHARACTERS` or `MAX_WORDS` is ignored.
    """
    words: dict[str, None] = {}
    for found in _WORD.finditer(text[:MAX_CHARACTERS]):
        words[found[0].lower()] = None
        if len(words) == MAX_WORDS:
            break
    return " OR ".join(f'"{word}"' for word in words) or None


def create_table(database: sqlite3.Connection, name: str, columns: str) -> None:
    """Create an FTS5 table with English stemming. `name` and `columns` must not come from a message."""
    try:
        database.execute(f"CREATE VIRTUAL TABLE {name} USING fts5({columns}, tokenize = 'porter unicode61')")
    except sqlite3.OperationalError as error:
        message = f"the demo needs Python's sqlite3 with the FTS5 extension: {error}"
        raise WaypostError("internal", message) from error

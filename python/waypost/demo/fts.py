"""Full-text search for untrusted text, in SQLite's FTS5."""

from __future__ import annotations

import re
import sqlite3
from types import TracebackType
from typing import Final, Self

from waypost.errors import WaypostError

__all__ = ["MAX_CHARACTERS", "MAX_WORDS", "Table", "expression"]

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


class Table:
    """One FTS5 table in memory, with English stemming. For one thread; a context manager that closes itself."""

    def __init__(self, name: str, columns: str) -> None:
        """`name` and `columns` must not come from a message."""
        self._database = sqlite3.connect(":memory:", isolation_level=None)
        try:
            self._database.execute(f"CREATE VIRTUAL TABLE {name} USING fts5({columns}, tokenize = 'porter unicode61')")
        except sqlite3.OperationalError as error:
            self.close()
            message = f"the demo needs Python's sqlite3 with the FTS5 extension: {error}"
            raise WaypostError("internal", message) from error

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

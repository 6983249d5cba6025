"""New API keys: the key for its caller, and the entry for the configuration."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from typing import Any, Final

from waypost.config.load import from_dict
from waypost.errors import ConfigError, Problem

__all__ = ["entry_text", "new_key"]

_PREFIX: Final = "wp-"
"""Lets people, and programs that search for secrets, recognise a key."""
_BYTES: Final = 32
"""Random bytes of a key. A hash of so many needs no salt and no slow function."""
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_WORDS: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
"""Words that a reader of YAML may take for something other than strings."""


def new_key(name: str, fields: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """A new key, and its entry with these fields below `keys`. Raises `ConfigError` if the entry would not be valid."""
    key = _PREFIX + secrets.token_urlsafe(_BYTES)
    digest = hashlib.sha256(key.encode()).hexdigest()
    entry = {"name": name, "hash": f"sha256:{digest}", **fields}
    reply = {"name": "any", "reply": {"text": ""}}
    try:
        from_dict({"keys": [entry], "routes": [reply]})
    except ConfigError as error:
        raise ConfigError(
            [Problem(problem.path, f"{problem.path[-1]}: {problem.message}") for problem in error.problems]
        ) from None
    return key, entry


def entry_text(value: Any) -> str:
    """An entry in YAML's flow style, on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{entry_text(name)}: {entry_text(item)}" for name, item in value.items()) + "}"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value)

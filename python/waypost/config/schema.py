"""The JSON Schema of a configuration, for editors."""

from __future__ import annotations

from typing import Any


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a configuration file."""
    return {}

"""Waypost: a stateless routing proxy for AI traffic, and its matcher as a library.

>>> from waypost import Matcher
>>> Matcher({"gold": {"tenant": ["acme"]}}).first('{"tenant": "acme"}')
'gold'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from waypost._native import Cost, Decision, Explanation, LinearRules, Matcher, Verdict, __version__
from waypost.errors import ConfigError, EnvelopeError, PatternError, Problem, UpstreamError, WaypostError

if TYPE_CHECKING:
    from waypost.app import create_app
    from waypost.config import Config
    from waypost.table import RouteTable, load_config

__all__ = [
    "Config",
    "ConfigError",
    "Cost",
    "Decision",
    "EnvelopeError",
    "Explanation",
    "LinearRules",
    "Matcher",
    "PatternError",
    "Problem",
    "RouteTable",
    "UpstreamError",
    "Verdict",
    "WaypostError",
    "__version__",
    "create_app",
    "load_config",
]

# These are imported on first use, so that the matcher alone does not load YAML and Starlette.
_LAZY = {
    "Config": "waypost.config",
    "RouteTable": "waypost.table",
    "create_app": "waypost.app",
    "load_config": "waypost.table",
}


if not TYPE_CHECKING:  # type checkers would accept any name

    def __getattr__(name: str) -> Any:
        try:
            module = _LAZY[name]
        except KeyError:
            message = f"module 'waypost' has no attribute {name!r}"
            raise AttributeError(message) from None
        value = globals()[name] = getattr(importlib.import_module(module), name)
        return value


def __dir__() -> list[str]:
    return sorted(__all__)

"""Configuration: YAML files in; one checked `Config` out, or every problem with its position.

This package checks the shape of a configuration. The Rust extension checks its meaning when it compiles
`Config.to_native()`; `Config.relocate` adds positions to the problems that it finds. This package does not import the
extension. For both kinds of problems in one report, pass `meaning` (as `waypost.table.read_config` does).
"""

from waypost.config.config import Config
from waypost.config.listen import Listen, ListenTls
from waypost.config.load import from_dict, load_config, parse_config
from waypost.config.model import Cluster, Credential, Endpoint, Limits, Route, Tls
from waypost.config.policy import Timeout
from waypost.config.schema import json_schema

__all__ = [
    "Cluster",
    "Config",
    "Credential",
    "Endpoint",
    "Limits",
    "Listen",
    "ListenTls",
    "Route",
    "Timeout",
    "Tls",
    "from_dict",
    "json_schema",
    "load_config",
    "parse_config",
]

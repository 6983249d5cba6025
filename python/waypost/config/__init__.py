"""Configuration: YAML files in, one checked `Config` out, or every problem with its place.

Python checks shape here; Rust checks meaning, when it compiles `Config.to_native()`. `Config.relocate` gives the
problems that Rust finds their places. This package does not know the extension: whoever wants both in one report
passes what finds the problems of meaning (`waypost.table.read_config` does).
"""

from waypost.config.config import Config
from waypost.config.load import from_dict, load_config, parse_config
from waypost.config.model import Cluster, Credential, Endpoint, Limits, Listen, Route, Tls
from waypost.config.policy import Timeout
from waypost.config.schema import json_schema

__all__ = [
    "Cluster",
    "Config",
    "Credential",
    "Endpoint",
    "Limits",
    "Listen",
    "Route",
    "Timeout",
    "Tls",
    "from_dict",
    "json_schema",
    "load_config",
    "parse_config",
]

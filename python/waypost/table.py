"""Reads and compiles configurations, for `RouteTable` and for serving."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Self, TypeAlias

from waypost import _native, config
from waypost.config import Config
from waypost.config.positions import Path
from waypost.errors import ConfigError, Problem

__all__ = ["ConfigSource", "RouteTable", "compile_config", "load_config", "read_config"]

ConfigSource: TypeAlias = str | os.PathLike[str] | Mapping[str, Any]
"""The path of a configuration file, or a mapping with the keys of one."""


def load_config(source: ConfigSource, *, environ: Mapping[str, str] | None = None) -> Config:
    """Read a configuration file and its includes, or the same from a mapping.

    References (`${…}`) in a file are replaced from `environ`, by default the environment. In a mapping they are
    replaced only with `environ`; without it, strings are literal. Relative paths in a mapping start at the current
    directory. Raises `ConfigError` with every problem of shape and of meaning, each with its position in the file, or
    its path in the mapping.
    """
    loaded = read_config(source, environ=environ)
    problems = [Problem(path, message) for path, message in _problems_of_meaning(loaded)]
    if problems:
        raise ConfigError(loaded.relocate(problems))
    return loaded


def read_config(source: ConfigSource, *, environ: Mapping[str, str] | None = None, offline: bool = False) -> Config:
    """`load_config` for callers that compile the result (`create_app`, `compile_config`).

    Compiling finds the problems of meaning, so this does not look for them, which takes time. If there is a problem of
    shape, nothing will be compiled, so `ConfigError` has the problems of meaning too.

    For `offline` see `waypost.config.load_config`.
    """
    if isinstance(source, Mapping):
        return config.from_dict(source, environ=environ, meaning=_problems_of_meaning)
    variables = os.environ if environ is None else environ
    return config.load_config(source, environ=variables, meaning=_problems_of_meaning, offline=offline)


def compile_config(config: Config, recorder: _native.Recorder | None = None) -> _native.Snapshot:
    """Compile a configuration into a snapshot. `recorder` counts and logs its messages.

    Raises `ConfigError` with every problem of meaning, each with its position.
    """
    try:
        return _native.Snapshot(config.to_native(), recorder)
    except ConfigError as error:
        raise ConfigError(config.relocate(error.problems)) from None


def _problems_of_meaning(config: Config) -> Iterator[tuple[Path, str]]:
    """The problems that serving `config`, which may be partial, would find."""
    yield from _native.Snapshot.problems(config.to_native())
    settings = {name: cluster.tls for name, cluster in config.clusters.items() if cluster.tls and cluster.https}
    if settings:
        from waypost.upstream import tls  # noqa: PLC0415 - importing ssl takes longer than everything else

        yield from tls.contexts(settings, {})[1]
    if config.listen.tls is not None:
        from waypost.server_tls import server_tls  # noqa: PLC0415 - as above

        for setting, message in server_tls(config.listen.tls)[1]:
            yield ("listen", "tls", *([setting] if setting else [])), message


class RouteTable(_native.RouteTable):
    """Routes compiled for deciding: `RouteTable(routes=[...])`, or `RouteTable.load("waypost.yaml")`.

    Thread-safe and immutable. The time of a decision depends on the message and on the routes that nearly match it.
    """

    @classmethod
    def load(cls, source: ConfigSource) -> Self:
        """The routes of a configuration: of a file and its includes, or of a mapping.

        Checks the whole configuration, including clusters. Raises `ConfigError` with every problem and its position.
        """
        config = read_config(source)
        compile_config(config)  # finds the problems between routes and clusters
        return cls(config.to_native()["routes"], depth=config.limits.depth)

"""`RouteTable` with what the extension leaves out: reading a configuration file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Self

from waypost import _native, config
from waypost.config import Config
from waypost.config.positions import Path
from waypost.errors import ConfigError, Problem

__all__ = ["RouteTable", "compile_config", "load_config", "read_config"]


def load_config(path: str | os.PathLike[str], *, environ: Mapping[str, str] = os.environ) -> Config:
    """Read a configuration file, and what it includes.

    Raises `ConfigError` with every problem, of shape and of meaning, each with its place.
    """
    loaded = read_config(path, environ=environ)
    problems = [Problem(path, message) for path, message in _meaning(loaded)]
    if problems:
        raise ConfigError(loaded.relocate(problems))
    return loaded


def read_config(path: str | os.PathLike[str], *, environ: Mapping[str, str] = os.environ) -> Config:
    """`load_config` for whoever goes on to compile what it gives (`create_app`, `compile_config`).

    That finds the problems of meaning, and takes its time: it need not be done twice. Where there is a problem of
    shape, so that nothing will be compiled, `ConfigError` holds those of meaning too.
    """
    return config.load_config(path, environ=environ, meaning=_meaning)


def compile_config(config: Config, recorder: _native.Recorder | None = None) -> _native.Snapshot:
    """The snapshot of a configuration. Raises `ConfigError` with every problem of meaning, each with its place.

    `recorder` counts and logs its messages.
    """
    try:
        return _native.Snapshot(config.to_native(), recorder)
    except ConfigError as error:
        raise ConfigError(config.relocate(error.problems)) from None


def _meaning(draft: Config) -> Iterator[tuple[Path, str]]:
    """What serving `draft` would find."""
    yield from _native.Snapshot.problems(draft.to_native())
    settings = {name: cluster.tls for name, cluster in draft.clusters.items() if cluster.tls and cluster.https}
    if settings:
        from waypost.upstream import tls  # noqa: PLC0415 - importing ssl costs more than all the rest

        yield from tls.contexts(settings, {})[1]


class RouteTable(_native.RouteTable):
    """Routes compiled for deciding: `RouteTable(routes=[...])`, or `RouteTable.load("waypost.yaml")`.

    Thread-safe and immutable. Deciding takes time for the message and the routes that come near to matching it.
    """

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The routes of a configuration file, its includes among them.

        The whole file is checked, clusters too. Raises `ConfigError` with every problem and its place.
        """
        config = read_config(path)
        compile_config(config)  # Some problems only show when routes and clusters are seen together.
        return cls(config.to_native()["routes"], depth=config.limits.depth)

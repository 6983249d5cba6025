"""`waypost check`: everything that `waypost serve` does, except to listen and to serve."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from waypost.access_log import try_target
from waypost.app import create_app
from waypost.binding import Overrides, problems
from waypost.config import Config
from waypost.config.load import below
from waypost.errors import ConfigError, Problem, counted
from waypost.gateway import log_problem
from waypost.table import compile_config, read_config

__all__ = ["Report", "check", "check_offline"]


@dataclass(frozen=True, slots=True)
class Report:
    """What is known of a configuration that can be served."""

    summary: str
    """The numbers of routes and clusters, such as `3 routes, 1 cluster`."""
    warnings: tuple[Problem, ...]


def check(
    path: str | os.PathLike[str], overrides: Overrides, *, insecure_no_auth: bool = False, running: bool = False
) -> Report:
    """Check that the configuration in `path` can be served with these options.

    With `running`, a process serves it already, so that its address is in use. Raises `ConfigError` with every problem.
    """
    config = overrides.apply(read_config(path))
    found = config.relocate(_problems_of_place(config, insecure_no_auth=insecure_no_auth, running=running))
    try:
        generation = create_app(config).state.gateway.generation
    except ConfigError as error:
        raise ConfigError([*error.problems, *found]) from None
    if found:
        raise ConfigError(found)
    return Report(generation.summary, tuple(generation.warnings))


def check_offline(path: str | os.PathLike[str]) -> Report:
    """Check what can be told of the configuration in `path` without the environment and the files of its values.

    Raises `ConfigError` with every problem.
    """
    config = read_config(path, offline=True)
    unknown = f", {counted(len(config.unknown), 'value')} not known offline" if config.unknown else ""
    try:
        snapshot = compile_config(config)
    except ConfigError as error:
        found = [problem for problem in error.problems if not below(problem.path, config.unknown)]
        if found:
            raise ConfigError(found) from None
        counts = len(config.routes), len(config.clusters)
        warnings: Iterable[Problem] = ()
    else:
        counts = len(snapshot.table), len(snapshot.clusters)
        warnings = config.relocate(Problem(each, f"warning: {message}") for each, message in snapshot.warnings)
    summary = f"{counted(counts[0], 'route')}, {counted(counts[1], 'cluster')}{unknown}"
    return Report(summary, (*config.warnings, *warnings))


def _problems_of_place(config: Config, *, insecure_no_auth: bool, running: bool) -> Iterator[Problem]:
    """What this host does not let a process do that serves `config`."""
    try:
        try_target(config.access_log)
    except OSError as exc:
        yield log_problem(config, exc)
    for path, message in problems(config, insecure_no_auth=insecure_no_auth, running=running):
        yield Problem(path, message)

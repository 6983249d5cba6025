"""What administration may see of a process, as plain data that any interface can render.

The data consists of mappings, lists, strings, numbers, booleans and `None`, and holds no secret. A number in the
configuration that needs more than 64 bits is a `Decimal`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from waypost.config.shown import shown
from waypost.errors import Problem, format_path
from waypost.gateway import Gateway

__all__ = ["ReadModel"]


class ReadModel:
    """Reads the gateway of one process and changes nothing. Safe to call from any thread."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def clusters(self) -> list[dict[str, Any]]:
        """The state of all clusters and endpoints, as all workers see them, ordered by name. Times are in seconds."""
        return self._gateway.registry.view()

    def decisions(self) -> dict[str, Any]:
        """The latest messages of this worker that are over: `decisions`, newest first, each as in `Recorder.recent`."""
        return {**self._worker(), "decisions": self._gateway.recorder.recent()}

    def configuration(self) -> dict[str, Any]:
        """The configuration in force, with all of its keys in `configuration`, as `waypost.config.shown` renders them.

        `loaded` is the time at which it came into force (RFC 3339), `files` lists the files that were read. `summary`
        and `warnings` are those of `Generation`.
        """
        generation = self._gateway.generation
        return {
            **self._worker(),
            "loaded": _time(generation.loaded),
            "summary": generation.summary,
            "files": [str(file) for file in generation.config.files],
            "warnings": [_problem(warning) for warning in generation.warnings],
            "configuration": shown(generation.config),
        }

    def _worker(self) -> dict[str, Any]:
        """The number of the worker that answers, and how many there are. The data beside it is of that worker alone."""
        return {"worker": self._gateway.worker, "workers": self._gateway.workers}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _problem(problem: Problem) -> dict[str, Any]:
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "path": format_path(problem.path),
        "message": problem.message.removeprefix("warning: "),
    }

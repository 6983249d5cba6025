"""What administration may see, as data: whoever shows it decides how.

Everything here is made of mappings, lists, strings, numbers, booleans and `None`, and holds no secret. A number of a
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
    """Reads one process's gateway, and changes nothing. Any thread may ask."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def clusters(self) -> list[dict[str, Any]]:
        """How clusters and endpoints fare, those of other workers included, by name. Times are in seconds."""
        return self._gateway.registry.view()

    def decisions(self) -> dict[str, Any]:
        """What became of this worker's latest messages: `decisions`, newest first, as `Recorder.recent` has them."""
        return {**self._speaker(), "decisions": self._gateway.recorder.recent()}

    def configuration(self) -> dict[str, Any]:
        """The configuration in force: `loaded` (when, RFC 3339), its `summary`, the `files` that were read, `warnings`,
        and all of its keys in `configuration`, as `waypost.config.shown` has them.
        """
        generation = self._gateway.generation
        return {
            **self._speaker(),
            "loaded": _time(generation.loaded),
            "summary": generation.summary,
            "files": [str(file) for file in generation.config.files],
            "warnings": [_problem(warning) for warning in generation.warnings],
            "configuration": shown(generation.config),
        }

    def _speaker(self) -> dict[str, Any]:
        """Which of how many workers answers: what follows is of this one alone."""
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

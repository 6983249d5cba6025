"""The configuration that everything else is built from."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from msgspec import field as struct_field

from waypost.config.answer import Reply
from waypost.config.model import Cluster, Credential, Document, Key, Route
from waypost.config.policy import native_policy
from waypost.config.positions import Path
from waypost.config.source import Source
from waypost.errors import Problem

__all__ = ["Config", "Sources"]


@dataclass(slots=True, repr=False)
class Sources:
    """Which source holds what. All are equal: where a configuration was written is no part of what it says."""

    sources: list[Source] = field(compare=False, default_factory=list)
    """In the order in which they were read: the main file, then what it includes."""
    routed: list[Source] = field(compare=False, default_factory=list)
    """The sources that hold routes, in the order of these routes."""
    clusters: dict[str, Source] = field(compare=False, default_factory=dict)
    """The source of each cluster."""

    def source(self, path: Path) -> Source | None:
        if len(path) > 1 and path[0] == "routes" and isinstance(path[1], int) and self.routed:
            index = bisect_right(self.routed, path[1], key=lambda source: source.first_route)
            return self.routed[max(index - 1, 0)]
        if len(path) > 1 and path[0] == "clusters" and isinstance(path[1], str):
            return self.clusters.get(path[1], self.sources[0] if self.sources else None)
        return self.sources[0] if self.sources else None


class Config(Document, frozen=True, kw_only=True):
    """A configuration whose shape is right: all files together, references replaced, defaults filled in.

    Sizes are in bytes, times in seconds. Routes are those of the main file, then those of what it includes, in the
    order written. `repr` never shows a credential.
    """

    files: tuple[FilePath, ...] = ()
    """Everything that was read, absolute: the configuration, what it includes, and what `${file:}` and `tls` name."""
    directories: tuple[FilePath, ...] = ()
    """Directories in which a new file can change the configuration: where the globs of `include` look, absolute."""
    warnings: tuple[Problem, ...] = ()
    """What is legal in the files but probably not meant, each with its place; the compiler has warnings of its own."""
    _places: Sources = struct_field(default_factory=Sources)

    def to_native(self) -> dict[str, Any]:
        """The part that Rust compiles (`waypost._native.Snapshot`), as plain values. Holds credentials."""
        return {
            "depth": self.limits.depth,
            "limits": {"header": self.limits.header, "body": self.limits.body},
            "clusters": {name: _native_cluster(cluster) for name, cluster in self.clusters.items()},
            "routes": [_native_route(route) for route in self.routes],
            "keys": [_native_key(key) for key in self.keys],
            "trusted": list(self.listen.trusted),
        }

    def locate(self, path: Path) -> tuple[str, int, int]:
        """File, line and column (from 1) of the known value nearest to `path`; `("", 0, 0)` where nothing is known.

        `path` counts routes as `routes` does, over all files. For JSON lines this reads the line again.
        """
        source = self._places.source(path)
        return ("", 0, 0) if source is None else (source.file, *source.place(path))

    def relocate(self, problems: Iterable[Problem]) -> list[Problem]:
        """`problems` that were found by path, each with its place, in the order of files and lines."""
        order = {id(source): index for index, source in enumerate(self._places.sources)}
        found: list[tuple[int, Problem]] = []
        for problem in problems:
            source = self._places.source(problem.path)
            file, line, column = ("", 0, 0) if source is None else (source.file, *source.place(problem.path))
            found.append((order.get(id(source), 0), Problem(problem.path, problem.message, file, line, column)))
        found.sort(key=lambda each: (each[0], each[1].line, each[1].column))
        return [problem for _, problem in found]


def _native_cluster(cluster: Cluster) -> dict[str, Any]:
    credential: Any = cluster.credential
    if isinstance(credential, Credential):
        credential = {"header": credential.header, "value": credential.value}
    return {
        "speaks": cluster.speaks,
        "endpoints": [{"url": endpoint.url, "weight": endpoint.weight} for endpoint in cluster.endpoints],
        "credential": credential,
        "model": cluster.model,
        **native_policy(cluster),
    }


def _native_key(key: Key) -> dict[str, Any]:
    identity = {"tenant": key.tenant, "agent": key.agent, "labels": key.labels}
    return {"name": key.name, "hash": key.hash, "identity": identity, "admin": key.admin}


def _native_route(route: Route) -> dict[str, Any]:
    return {
        "name": route.name,
        "match": route.match,
        "to": route.to,
        "fallback": list(route.fallback),
        "reply": None if route.reply is None else _native_reply(route.reply),
        "mirror": None if route.mirror is None else {"to": route.mirror.to, "share": route.mirror.share},
        "precedence": route.precedence,
    }


def _native_reply(reply: Reply) -> dict[str, Any]:
    return {"status": reply.status, "headers": reply.fields, "body": reply.body, "error": reply.error}

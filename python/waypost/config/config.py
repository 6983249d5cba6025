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
from waypost.config.packed import Routes
from waypost.config.policy import native_policy
from waypost.config.positions import Path
from waypost.config.source import Source
from waypost.errors import Problem

__all__ = ["Config", "SourceMap"]


@dataclass(slots=True, repr=False)
class SourceMap:
    """The source of each route and cluster.

    All instances are equal, so that two configurations compare by their content and not by their files.
    """

    sources: list[Source] = field(compare=False, default_factory=list)
    """All sources in the order in which they were read: the main file, then its includes."""
    routed: list[Source] = field(compare=False, default_factory=list)
    """The sources that contain routes, in the order of these routes."""
    clusters: dict[str, Source] = field(compare=False, default_factory=dict)
    """The source of each cluster."""

    def source(self, path: Path) -> Source | None:
        """The source that contains the value at `path`."""
        if len(path) > 1 and path[0] == "routes" and isinstance(path[1], int) and self.routed:
            index = bisect_right(self.routed, path[1], key=lambda source: source.first_route)
            return self.routed[max(index - 1, 0)]
        if len(path) > 1 and path[0] == "clusters" and isinstance(path[1], str):
            return self.clusters.get(path[1], self.sources[0] if self.sources else None)
        return self.sources[0] if self.sources else None


class Config(Document, frozen=True, kw_only=True):
    """A configuration of valid shape: all files combined, references replaced, defaults filled in.

    Sizes are in bytes, times in seconds. The routes of the main file come first, then those of its includes, in the
    order written. `repr` never shows a credential.
    """

    files: tuple[FilePath, ...] = ()
    """Absolute paths of all files read: the configuration, its includes, and those named by `${file:}` and `tls`."""
    directories: tuple[FilePath, ...] = ()
    """Absolute paths of the directories that the globs of `include` search: a new file there can match."""
    warnings: tuple[Problem, ...] = ()
    """Legal but probably unintended settings, with their positions. The compiler adds warnings of its own."""
    unknown: tuple[Path, ...] = ()
    """Paths of the values that stand for unknown ones, if the files were read offline."""
    _source_map: SourceMap = struct_field(default_factory=SourceMap)

    def to_native(self) -> dict[str, Any]:
        """The part that Rust compiles (`waypost._native.Snapshot`), as plain values. Contains credentials."""
        return {
            "depth": self.limits.depth,
            "limits": {"header": self.limits.header, "body": self.limits.body},
            "clusters": {name: _native_cluster(cluster) for name, cluster in self.clusters.items()},
            "routes": _native_routes(self.routes),
            "keys": [_native_key(key) for key in self.keys],
            "trusted": list(self.listen.trusted),
            "hosts": list(self.listen.hosts),
        }

    def locate(self, path: Path) -> tuple[str, int, int]:
        """File, line and column (from 1) of the value nearest to `path`, or `("", 0, 0)` without positions.

        `path` numbers routes over all files, as `routes` does. In a file of JSON lines, this reads the line again.
        """
        source = self._source_map.source(path)
        return ("", 0, 0) if source is None else (source.file, *source.locate(path))

    def relocate(self, problems: Iterable[Problem]) -> list[Problem]:
        """`problems`, which are known by path, with their positions, sorted by file and line."""
        order = {id(source): index for index, source in enumerate(self._source_map.sources)}
        found: list[tuple[int, Problem]] = []
        for problem in problems:
            source = self._source_map.source(problem.path)
            file, line, column = ("", 0, 0) if source is None else (source.file, *source.locate(problem.path))
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
    certificate = None if key.certificate is None else key.certificate.known_by
    return {
        "name": key.name,
        "hash": key.hash,
        "certificate": certificate,
        "identity": identity,
        "admin": key.admin,
        "messages": key.sends_messages,
        "debug": key.debug,
    }


def _native_routes(routes: list[Route] | Routes) -> list[Any]:
    return routes.native(_native_route) if isinstance(routes, Routes) else [_native_route(route) for route in routes]


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

"""Large files of routes: read by the extension, without an object for each part of each route.

A server reloads 100,000 routes while it serves. Reading them in Python takes many times as long, and holds the
interpreter's lock. So the extension reads the plain routes, and Python the others. Where anything is wrong, the whole
configuration is read again in the complete way, which knows what to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, Final, Self, overload

from waypost._native import RouteFile
from waypost.config import jsontext, yaml12
from waypost.config.model import Route
from waypost.config.positions import Fault, Path, Position, UnreadableError
from waypost.config.source import Source, TreeSource

__all__ = [
    "LARGE",
    "IncompleteError",
    "PackedPart",
    "PackedSource",
    "Routes",
    "names_differ",
    "pack_lines",
    "pack_tree",
]

LARGE: Final = 2**16
"""Size from which a file is read by the extension, in characters. Smaller ones take few milliseconds in any case."""


class IncompleteError(Exception):
    """The configuration has to be read in the complete way."""


class PackedSource(Source):
    """A file whose routes the extension has read. Positions are computed on demand."""

    def __init__(
        self,
        file: str,
        base: FilePath,
        routes: RouteFile,
        first_route: int,
        compose: _Compose,
        rest: Source | None = None,
    ) -> None:
        """`compose` reads one route. `rest` has everything else in the file."""
        super().__init__(file, base, first_route)
        self.routes = routes
        self.rest = rest
        self._compose = compose

    def read(self, index: int) -> Any:
        """The value of one route. Raises `IncompleteError` if it has a fault."""
        _, column, text = self.routes.written(index)
        try:
            value, _, faults = self._compose(" " * column + text)
        except UnreadableError:
            raise IncompleteError from None
        if faults:
            raise IncompleteError
        return value

    def locate(self, path: Path, *, key: bool = False) -> tuple[int, int]:
        local = self.local_path(path)
        if len(local) < 2 or local[0] != "routes" or not isinstance(local[1], int):
            return (1, 1) if self.rest is None else self.rest.locate(local, key=key)
        if not 0 <= local[1] < len(self.routes):
            return (1, 1)
        line, column, text = self.routes.written(local[1])
        try:
            positions = self._compose(" " * column + text)[1]
        except UnreadableError:
            return (line + 1, column + 1)
        found = positions.find(local[2:], key=key)
        return (line + found[0], found[1])


_Compose = Callable[[str], tuple[Any, Position, list[Fault]]]


def pack_tree(file: str, base: FilePath, text: str, first_route: int) -> tuple[PackedSource, Any] | None:
    """The source of a YAML file and the values of everything in it but its routes; `None` if it has none to pack."""
    packed = None if file.endswith(".json") or len(text) < LARGE else RouteFile.yaml(text)
    if packed is None:
        return None
    routes, rest = packed
    try:
        tree = TreeSource(file, base, rest)
    except UnreadableError:
        raise IncompleteError from None
    if tree.faults:
        raise IncompleteError
    return PackedSource(file, base, routes, first_route, yaml12.compose, tree), tree.value


def pack_lines(file: str, base: FilePath, text: str, first_route: int) -> PackedSource | None:
    """The source of a file of JSON lines; `None` if it is small."""
    routes = None if len(text) < LARGE else RouteFile.lines(text)
    return None if routes is None else PackedSource(file, base, routes, first_route, jsontext.compose)


class PackedPart:
    """The routes of one file: plain ones as the extension has them, the others built."""

    def __init__(self, routes: RouteFile, others: Mapping[int, Route]) -> None:
        self.routes = routes
        self.others = others

    def __len__(self) -> int:
        return len(self.routes)

    def route(self, index: int) -> Route:
        """The route at a position of the file."""
        plain = self.routes.route(index)
        return self.others[index] if plain is None else Route(**plain)


def names_differ(parts: Sequence[PackedPart | list[Any]]) -> bool:
    """Whether no two routes have the same name."""
    packed = [part.routes for part in parts if isinstance(part, PackedPart)]
    built = [part.others.values() if isinstance(part, PackedPart) else part for part in parts]
    return RouteFile.names_differ(packed, [route.name for routes in built for route in routes])


class Routes(Sequence[Route]):
    """The routes of a configuration with large files. Plain ones are built when they are asked for."""

    def __init__(self, parts: Sequence[PackedPart | list[Route]]) -> None:
        self._parts = tuple(part for part in parts if len(part))
        self._length = sum(map(len, self._parts))

    def native(self, build: Callable[[Route], dict[str, Any]]) -> list[Any]:
        """What `waypost._native.Snapshot` takes: mappings, and files with the mappings of their other routes."""
        out: list[Any] = []
        for part in self._parts:
            if isinstance(part, PackedPart):
                out.append((part.routes, {index: build(route) for index, route in part.others.items()}))
            else:
                out.extend(map(build, part))
        return out

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Route: ...
    @overload
    def __getitem__(self, index: slice) -> list[Route]: ...
    def __getitem__(self, index: int | slice) -> Route | list[Route]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(self._length))]
        at = index + self._length if index < 0 else index
        if at >= 0:
            for part in self._parts:
                if at < len(part):
                    return part.route(at) if isinstance(part, PackedPart) else part[at]
                at -= len(part)
        raise IndexError(index)

    def __iter__(self) -> Iterator[Route]:
        for part in self._parts:
            yield from map(part.route, range(len(part))) if isinstance(part, PackedPart) else part

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (Routes, list)):
            return NotImplemented
        return len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment] # as a list

    def __repr__(self) -> str:
        return f"<{self._length} routes>"

    def __copy__(self) -> Self:
        return self

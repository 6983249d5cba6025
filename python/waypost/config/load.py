"""Reads a configuration file and everything that it includes into one `Config`."""

from __future__ import annotations

import gc
import glob
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path as FilePath
from typing import Any, Final, TypeAlias

from msgspec import Struct, inspect, structs

from waypost.config.config import Config, Sources
from waypost.config.model import Document, Fragment
from waypost.config.partial import draft
from waypost.config.positions import EMPTY, REPORTED, Fault, Path, Reported, ShapeError, UnreadableError
from waypost.config.source import LinesSource, Source, TreeSource, decode, read_bytes
from waypost.config.walk import Walker, struct_type
from waypost.errors import ConfigError, Problem, counted

__all__ = ["from_dict", "load_config", "parse_config"]

MAX_INCLUDES: Final = 32
"""How deep files may include each other."""
_LISTED: Final = 12  # names in a message

Meaning: TypeAlias = Callable[[Config], Iterable[tuple[Path, str]]]
"""Finds the problems of meaning, each with its path, in a configuration of which not all is known."""


def load_config(
    path: str | os.PathLike[str], *, environ: Mapping[str, str] = os.environ, meaning: Meaning | None = None
) -> Config:
    """Read the configuration file at `path`, and what it includes.

    Raises `ConfigError` with every problem of shape: YAML, keys, types, bounds, references, names that are there
    twice or that nothing has. Where there are any, what `meaning` finds in the rest is among them. Where there are
    none, that is left to whoever compiles it (`Config.to_native`).
    """
    file = os.fspath(path)
    try:
        data = read_bytes(file)
    except ShapeError as error:
        raise ConfigError([Problem((), str(error))]) from None
    with _uncollected():
        loader = _Loader(environ, meaning)
        loader.files.append(_absolute(file))
        loader.stack.append(os.path.realpath(file))
        loader.main_text(data, file, FilePath(file).parent)
        return loader.finish()


def parse_config(
    text: str | bytes,
    *,
    file: str = "<string>",
    base: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] = os.environ,
    meaning: Meaning | None = None,
) -> Config:
    """Read a configuration from `text`. `file` is its name in problems; relative paths start at `base`, else at
    the current directory. A name that ends in `.json` makes it JSON. Raises as `load_config` does.
    """
    with _uncollected():
        loader = _Loader(environ, meaning)
        loader.main_text(text, file, FilePath(base or ""))
        return loader.finish()


def from_dict(
    obj: Mapping[str, Any], *, environ: Mapping[str, str] | None = None, meaning: Meaning | None = None
) -> Config:
    """Make a configuration of Python objects: the keys are those of a file, and so are the checks.

    Strings are taken as they are, unless `environ` is given: then `${…}` is replaced in them. Relative paths start
    at the current directory. Raises as `load_config` does; problems have a path but no place.
    """
    loader = _Loader(environ, meaning)
    loader.document(Source("", FilePath()), obj, Document)
    return loader.finish()


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the cycle collector from walking, again and again, what is being built: half of the time for many routes."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Loader:
    def __init__(self, environ: Mapping[str, str] | None, meaning: Meaning | None) -> None:
        self.meaning = meaning
        self.walker = Walker(Source("", FilePath()), environ)
        self.places = Sources()
        self.files: list[FilePath] = []
        self.directories: list[FilePath] = []
        self.stack: list[str] = []
        """Real paths of the files that are being read: each is included by the one before."""
        self.included: dict[str, str] = {}
        """Real path of each included file, and where it was included."""
        self.built: dict[str, Any] = {}
        self.clusters: dict[str, Any] = {}
        """By name, built or `Reported`."""
        self.routes: list[Any] = []
        """Built or `Reported`."""
        self.route_count = 0
        self.warnings: list[Problem] = []
        self.complete = True
        """Every file could be read, so that a cluster which nobody has seen does not exist."""

    # ── sources ──

    def main_text(self, text: str | bytes, file: str, base: FilePath) -> None:
        source = self.tree(text, file, base)
        if source is not None:
            self.document(source, source.value, Document)

    def tree(self, text: str | bytes, file: str, base: FilePath) -> TreeSource | None:
        try:
            source = TreeSource(file, base, decode(text) if isinstance(text, bytes) else text, self.route_count)
        except UnreadableError as fault:
            self.unreadable(file, base, fault)
            return None
        self.faults(source, source.faults)
        return source

    def unreadable(self, file: str, base: FilePath, fault: UnreadableError) -> None:
        self.complete = False
        source = Source(file, base)
        self.places.sources.append(source)
        self.walker.problems.append((source, Problem((), fault.message, file, fault.line, fault.column)))

    def faults(self, source: Source, faults: list[Fault]) -> None:
        for fault in faults:
            path = source.combined(fault.path)
            problem = Problem(path, fault.message, source.file, fault.line, fault.column)
            self.walker.problems.append((source, problem))
            if fault.loses_key:
                source.incomplete.add(path)
            if (fault.path == () and (fault.loses_key or fault.key in ("clusters", "include"))) or (
                fault.path == ("clusters",) and fault.loses_key
            ):
                self.complete = False

    # ── what they hold ──

    def document(self, source: Source, value: Any, cls: type[Struct]) -> None:
        """Take in a file that holds `cls`, and what it includes."""
        self.places.sources.append(source)
        self.walker.source = source
        if value is EMPTY:
            self.walker.problem((), "the file is empty")
        elif not isinstance(value, Mapping):
            self.walker.problem((), "must be a mapping of keys such as `routes` and `clusters`")
            self.complete = False
        else:
            self.keys(source, value, cls)

    def keys(self, source: Source, value: Mapping[Any, Any], cls: type[Struct]) -> None:
        routes = value.get("routes")
        clusters = value.get("clusters")
        built = self.walker.fields(cls, {key: item for key, item in value.items() if key != "routes"}, ())
        if "routes" in value:
            built["routes"] = self.take_routes(source, routes)
        if isinstance(clusters, Mapping):
            self.take_clusters(source, clusters, built["clusters"])
        elif "clusters" in built:
            self.complete = False
        include = built.pop("include", None)
        self.built = {**built, **self.built}
        if isinstance(include, list):
            for index, pattern in enumerate(include):
                self.include(source, pattern, ("include", index))
        elif isinstance(include, Reported):
            self.complete = False
            for index, pattern in enumerate(include.known or ()):
                if isinstance(pattern, str):
                    self.include(source, pattern, ("include", index))

    def take_clusters(self, source: Source, raw: Mapping[str, Any], built: Any) -> None:
        known = built.known if isinstance(built, Reported) else built
        for name in raw:
            first = self.places.clusters.get(name)
            if first is None:
                self.places.clusters[name] = source
                self.clusters[name] = known.get(name, REPORTED)
            else:
                place = _place(first, ("clusters", name))
                self.walker.problem(("clusters",), f"cluster `{name}` is there already: {place}", key=name)
                self.clusters[name] = REPORTED  # either may be the one that is meant

    def take_routes(self, source: Source, raw: Any) -> Any:
        field = next(each for each in struct_type(Fragment).fields if each.name == "routes")
        info = field.type.type if isinstance(field.type, inspect.Metadata) else field.type
        first = self.route_count
        if not isinstance(raw, (list, tuple)) or not isinstance(info, inspect.ListType):
            return self.walker.build(field.type, raw, ("routes",))
        source.first_route = first
        if raw:
            self.places.routed.append(source)
            self.route_count += len(raw)
        built = self.walker.items(info, raw, ("routes",), first)
        self.routes.extend(built.known if isinstance(built, Reported) else built)
        return built

    # ── includes ──

    def include(self, source: Source, pattern: str, path: Path) -> None:
        self.walker.source = source
        name = str(source.base / pattern)
        if not glob.has_magic(pattern):
            self.include_file(source, name, path)
            return
        base = glob.escape(str(source.base)) if source.base.parts else ""
        try:
            found = sorted(glob.glob(os.path.join(base, pattern), recursive=True))  # noqa: PTH118, PTH207
        except ValueError:
            found = []
        if not found:
            place = source.place(path)
            message = f"warning: no file matches `{pattern}`"
            self.warnings.append(Problem(path, message, source.file, *place))
        fixed: list[str] = []
        for part in FilePath(name).parts[:-1]:
            if glob.has_magic(part) and len(fixed) >= len(source.base.parts):
                break
            fixed.append(part)
        self.directories.append(_absolute(str(FilePath(*fixed))))
        self.directories.extend(_absolute(os.path.dirname(each)) for each in found)  # noqa: PTH120
        for each in found:
            self.include_file(source, str(FilePath(each)), path)

    def include_file(self, source: Source, file: str, path: Path) -> None:
        walker = self.walker
        walker.source = source
        extension = FilePath(file).suffix
        if extension not in (".yaml", ".yml", ".json", ".jsonl"):
            walker.problem(path, f"`{file}`: only .yaml, .yml, .json and .jsonl files can be included")
            self.complete = False
            return
        self.files.append(_absolute(file))
        try:
            data = read_bytes(file)
            real = os.path.realpath(file)
        except ShapeError as error:
            self.complete = False
            walker.problem(path, str(error))
            return
        if real in self.stack:
            walker.problem(path, f"`{file}` includes itself, by way of {counted(len(self.stack), 'file')}")
            return
        if real in self.included:
            walker.problem(path, f"`{file}` is included already: {self.included[real]}")
            return
        if len(self.stack) >= MAX_INCLUDES:
            walker.problem(path, f"files include each other more than {MAX_INCLUDES} deep")
            self.complete = False
            return
        self.included[real] = _place(source, path)
        self.stack.append(real)
        base = FilePath(file).parent
        if extension == ".jsonl":
            self.lines(data, file, base)
        else:
            inner = self.tree(data, file, base)
            if inner is not None:
                self.document(inner, inner.value, Fragment)
        self.stack.pop()

    def lines(self, data: bytes, file: str, base: FilePath) -> None:
        try:
            source = LinesSource(file, base, decode(data), self.route_count)
        except UnreadableError as fault:
            self.unreadable(file, base, fault)
            return
        self.places.sources.append(source)
        self.walker.source = source
        values, faults = source.read()
        self.faults(source, faults)
        self.take_routes(source, values)

    # ── all together ──

    def finish(self) -> Config:
        self.check_names()
        self.check_keys()
        if self.complete:
            self.check_references()
        if self.walker.problems:
            if self.meaning is not None:
                self.check_meaning(self.meaning)
            order = {id(source): index for index, source in enumerate(self.places.sources)}
            self.walker.problems.sort(key=lambda each: (order.get(id(each[0]), 0), each[1].line, each[1].column))
            raise ConfigError(problem for _, problem in self.walker.problems)
        built = {**self.built, "clusters": self.clusters, "routes": self.routes}
        files = dict.fromkeys((*self.files, *self.walker.files))
        return Config(
            **built,
            files=tuple(files),
            directories=tuple(dict.fromkeys(self.directories)),
            warnings=tuple(self.warnings),
            _places=self.places,
        )

    def check_names(self) -> None:
        first: dict[str, tuple[Source, Path]] = {}
        for name, written, source, path in self.walker.names:
            other = first.setdefault(name, (source, path))
            if other[1] != path:
                self.walker.source = source
                self.walker.problem(path, f"route name `{written}` is there already: {_place(*other)}")

    def check_keys(self) -> None:
        """Names and hashes that two keys share: which of them a caller is would depend on nothing he did."""
        keys = self.built.get("keys")
        first: dict[tuple[str, str], Path] = {}
        for index, key in enumerate((keys.known if isinstance(keys, Reported) else keys) or ()):
            known = key.known if isinstance(key, Reported) else structs.asdict(key)
            for field in ("name", "hash"):
                value = (known or {}).get(field)
                if not isinstance(value, str):
                    continue
                path = ("keys", index, field)
                other = first.setdefault((field, value), path)
                if other != path:
                    self.walker.source = source = self.places.sources[0]
                    what = f"key name `{value}`" if field == "name" else "this hash"
                    self.walker.problem(path, f"{what} is there already: {_place(source, other)}")

    def check_meaning(self, meaning: Meaning) -> None:
        for path, message in meaning(draft(self.clusters, self.routes, self.places)):
            self.walker.source = self.places.source(path) or Source("", FilePath())
            self.walker.problem(path, message)

    def check_references(self) -> None:
        known = sorted(self.places.clusters)
        listed = ", ".join(known[:_LISTED]) + (f" and {len(known) - _LISTED} more" if len(known) > _LISTED else "")
        for name, written, source, path in self.walker.references:
            if name not in self.places.clusters:
                self.walker.source = source
                meant = self.walker.suggest(written, known)
                self.walker.problem(path, f"unknown cluster `{written}`{meant or '.'} Known: {listed or 'none'}")


def _place(source: Source, path: Path) -> str:
    """Where `path` is, for a message."""
    shown = str(Problem(path, "")).removesuffix(": ")
    if not source.file:
        return shown
    line, column = source.place(path)
    return f"{source.file}:{line}:{column} ({shown})"


def _absolute(path: str) -> FilePath:
    return FilePath(os.path.abspath(path))  # noqa: PTH100 - links must stay links: they are what changes

"""Reads a configuration file and its includes into one `Config`."""

from __future__ import annotations

import gc
import glob
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path as FilePath
from typing import Any, Final, TypeAlias

from msgspec import Struct, inspect, structs

from waypost.config.certificate import ClientCertificate
from waypost.config.config import Config, SourceMap
from waypost.config.listen import Listen
from waypost.config.model import Document, Fragment
from waypost.config.packed import (
    IncompleteError,
    PackedPart,
    PackedSource,
    Routes,
    names_differ,
    pack_lines,
    pack_tree,
)
from waypost.config.partial import partial_config
from waypost.config.positions import EMPTY, REPORTED, Fault, Path, Reported, ShapeError, UnreadableError
from waypost.config.source import LinesSource, Source, TreeSource, decode, read_bytes
from waypost.config.walk import Walker, struct_type
from waypost.errors import ConfigError, Problem, counted

__all__ = ["below", "from_dict", "load_config", "parse_config"]

MAX_INCLUDES: Final = 32
"""Maximum nesting of includes."""
_CAUTIONS: Final = 20
"""How many values that are probably not meant are warned of."""
_LISTED: Final = 12
"""How many names a message lists."""

MeaningCheck: TypeAlias = Callable[[Config], Iterable[tuple[Path, str]]]
"""Finds the problems of meaning, as (path, message), in a partial configuration."""


def load_config(
    path: str | os.PathLike[str],
    *,
    environ: Mapping[str, str] = os.environ,
    meaning: MeaningCheck | None = None,
    offline: bool = False,
) -> Config:
    """Read the configuration file at `path`, and its includes.

    Raises `ConfigError` with every problem of shape: YAML, keys, types, bounds, references, duplicate and unknown
    names. If there are any, the error also holds the problems that `meaning` finds in the valid parts. If there
    are none, compiling the result (`Config.to_native`) checks its meaning.

    With `offline`, variables need not be set, and the files that values name need not be there: something valid stands
    for what is not known (`Config.unknown`). Such a configuration cannot be served.
    """
    file = os.fspath(path)
    try:
        data = read_bytes(file)
    except ShapeError as error:
        raise ConfigError([Problem((), str(error))]) from None

    def load(loader: _Loader) -> Config:
        loader.files.append(_absolute(file))
        loader.stack.append(os.path.realpath(file))
        loader.main_text(data, file, FilePath(file).parent)
        return loader.finish()

    return _loaded(load, environ, meaning, offline=offline)


def parse_config(
    text: str | bytes,
    *,
    file: str = "<string>",
    base: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] = os.environ,
    meaning: MeaningCheck | None = None,
) -> Config:
    """Read a configuration from `text`, and its includes. Raises as `load_config` does.

    `file` is the name that problems show; if it ends in `.json`, `text` is JSON. Relative paths start at `base`, by
    default the current directory.
    """

    def load(loader: _Loader) -> Config:
        loader.main_text(text, file, FilePath(base or ""))
        return loader.finish()

    return _loaded(load, environ, meaning)


def _loaded(
    load: Callable[[_Loader], Config],
    environ: Mapping[str, str] | None,
    meaning: MeaningCheck | None,
    *,
    offline: bool = False,
) -> Config:
    """Load with large files of routes packed; if anything is wrong, load again to report it."""
    with _gc_paused():
        try:
            return load(_Loader(environ, meaning, offline=offline, pack=True))
        except IncompleteError:
            return load(_Loader(environ, meaning, offline=offline))


def from_dict(
    obj: Mapping[str, Any], *, environ: Mapping[str, str] | None = None, meaning: MeaningCheck | None = None
) -> Config:
    """Build a configuration from Python objects, with the keys and the checks of a file.

    With `environ`, references (`${…}`) in strings are replaced; without it, strings are literal. Relative paths start
    at the current directory. Raises as `load_config` does; problems have a path but no position.
    """
    with _gc_paused():
        loader = _Loader(environ, meaning)
        loader.document(Source("", FilePath()), obj, Document)
        if environ is None:
            loader.warn_of_literals()
        return loader.finish()


@contextmanager
def _gc_paused() -> Iterator[None]:
    """Pause garbage collection. It would walk the growing configuration again and again: half of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Loader:
    def __init__(
        self,
        environ: Mapping[str, str] | None,
        meaning: MeaningCheck | None,
        *,
        offline: bool = False,
        pack: bool = False,
    ) -> None:
        """With `pack`, large files of routes are packed; then any problem is an `IncompleteError`."""
        self.meaning = meaning
        self.pack = pack
        self.parts: list[PackedPart | list[Any]] = []
        """The routes of each file."""
        self.walker = Walker(Source("", FilePath()), environ, offline=offline)
        self.source_map = SourceMap()
        self.files: list[FilePath] = []
        self.directories: list[FilePath] = []
        self.stack: list[str] = []
        """Real paths of the files that are being read, each included by the one before."""
        self.included: dict[str, str] = {}
        """The location of each include, by the real path of the included file."""
        self.built: dict[str, Any] = {}
        self.clusters: dict[str, Any] = {}
        """Clusters by name, built or `Reported`."""
        self.routes: list[Any] = []
        """Routes, built or `Reported`."""
        self.route_count = 0
        self.warnings: list[Problem] = []
        self.complete = True
        """All clusters have been seen, so that a reference to any other is a problem."""

    # ── sources ──

    def main_text(self, text: str | bytes, file: str, base: FilePath) -> None:
        read = self.tree(text, file, base)
        if read is not None:
            self.document(*read, Document)

    def tree(self, text: str | bytes, file: str, base: FilePath) -> tuple[Source, Any] | None:
        """The source of a file and its value."""
        try:
            decoded = decode(text) if isinstance(text, bytes) else text
            packed = pack_tree(file, base, decoded, self.route_count) if self.pack else None
            if packed is not None:
                return packed
            source = TreeSource(file, base, decoded, self.route_count)
        except UnreadableError as fault:
            self.unreadable(file, base, fault)
            return None
        self.faults(source, source.faults)
        return source, source.value

    def unreadable(self, file: str, base: FilePath, fault: UnreadableError) -> None:
        self.complete = False
        source = Source(file, base)
        self.source_map.sources.append(source)
        self.walker.problems.append((source, Problem((), fault.message, file, fault.line, fault.column)))

    def faults(self, source: Source, faults: list[Fault]) -> None:
        for fault in faults:
            path = source.global_path(fault.path)
            problem = Problem(path, fault.message, source.file, fault.line, fault.column)
            self.walker.problems.append((source, problem))
            if fault.loses_key:
                source.incomplete.add(path)
            if (fault.path == () and (fault.loses_key or fault.key in ("clusters", "include"))) or (
                fault.path == ("clusters",) and fault.loses_key
            ):
                self.complete = False

    # ── contents ──

    def document(self, source: Source, value: Any, cls: type[Struct]) -> None:
        """Read a file that contains `cls`, and its includes."""
        self.source_map.sources.append(source)
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
            first = self.source_map.clusters.get(name)
            if first is None:
                self.source_map.clusters[name] = source
                self.clusters[name] = known.get(name, REPORTED)
            else:
                location = _location(first, ("clusters", name))
                self.walker.problem(("clusters",), f"duplicate cluster `{name}`; first at {location}", key=name)
                self.clusters[name] = REPORTED  # either definition may be the intended one

    def take_routes(self, source: Source, raw: Any) -> Any:
        field = next(each for each in struct_type(Fragment).fields if each.name == "routes")
        info = field.type.type if isinstance(field.type, inspect.Metadata) else field.type
        first = self.route_count
        if not isinstance(raw, (list, tuple)) or not isinstance(info, inspect.ListType):
            return self.walker.build(field.type, raw, ("routes",))
        if isinstance(source, PackedSource):
            return self.take_packed(source, info.item_type)
        source.first_route = first
        if raw:
            self.source_map.routed.append(source)
            self.route_count += len(raw)
        built = self.walker.items(info, raw, ("routes",), first)
        routes = built.known if isinstance(built, Reported) else built
        self.parts.append(routes)
        self.routes.extend(routes)
        return built

    def take_packed(self, source: PackedSource, item: inspect.Type) -> list[Any]:
        source.first_route = first = self.route_count
        if len(source.routes):
            self.source_map.routed.append(source)
            self.route_count += len(source.routes)
        others = {
            index: self.walker.build(item, source.read(index), ("routes", first + index))
            for index in source.routes.others()
        }
        if self.walker.problems:
            raise IncompleteError
        self.parts.append(PackedPart(source.routes, others))
        return []

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
            location = source.locate(path)
            message = f"warning: no file matches `{pattern}`"
            self.warnings.append(Problem(path, message, source.file, *location))
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
            walker.problem(path, f"`{file}` includes itself, through {counted(len(self.stack), 'file')}")
            return
        if real in self.included:
            walker.problem(path, f"`{file}` is already included at {self.included[real]}")
            return
        if len(self.stack) >= MAX_INCLUDES:
            walker.problem(path, f"includes are nested more than {MAX_INCLUDES} levels deep")
            self.complete = False
            return
        self.included[real] = _location(source, path)
        self.stack.append(real)
        base = FilePath(file).parent
        if extension == ".jsonl":
            self.lines(data, file, base)
        else:
            read = self.tree(data, file, base)
            if read is not None:
                self.document(*read, Fragment)
        self.stack.pop()

    def lines(self, data: bytes, file: str, base: FilePath) -> None:
        try:
            text = decode(data)
        except UnreadableError as fault:
            self.unreadable(file, base, fault)
            return
        packed = pack_lines(file, base, text, self.route_count) if self.pack else None
        if packed is not None:
            self.source_map.sources.append(packed)
            self.walker.source = packed
            self.take_routes(packed, [])
            return
        source = LinesSource(file, base, text, self.route_count)
        self.source_map.sources.append(source)
        self.walker.source = source
        values, faults = source.read()
        self.faults(source, faults)
        self.take_routes(source, values)

    # ── the whole configuration ──

    def finish(self) -> Config:
        packed = [part for part in self.parts if isinstance(part, PackedPart)]
        if packed:
            right = self.complete and not self.walker.problems and self.names_clusters(packed)
            if not right or not names_differ(self.parts):
                raise IncompleteError
        self.check_names()
        self.check_keys()
        if self.complete:
            self.check_references()
        if self.walker.unknown:
            known = [each for each in self.walker.problems if not below(each[1].path, self.walker.unknown)]
            self.walker.problems[:] = known
        for source, path, message in self.walker.warnings[:_CAUTIONS]:
            self.warnings.append(Problem(path, f"warning: {message}", source.file, *source.locate(path)))
        if (more := len(self.walker.warnings) - _CAUTIONS) > 0:
            self.warnings.append(Problem((), f"warning: {more} more values are probably not meant as they are"))
        if self.walker.problems:
            if packed:
                raise IncompleteError
            if self.meaning is not None:
                self.report_meaning(self.meaning)
            order = {id(source): index for index, source in enumerate(self.source_map.sources)}
            self.walker.problems.sort(key=lambda each: (order.get(id(each[0]), 0), each[1].line, each[1].column))
            raise ConfigError(problem for _, problem in self.walker.problems)
        built = {**self.built, "clusters": self.clusters, "routes": Routes(self.parts) if packed else self.routes}
        files = dict.fromkeys((*self.files, *self.walker.files))
        return Config(
            **built,
            files=tuple(files),
            directories=tuple(dict.fromkeys(self.directories)),
            warnings=tuple(self.warnings),
            unknown=tuple(self.walker.unknown),
            _source_map=self.source_map,
        )

    def warn_of_literals(self) -> None:
        """Warn of credentials that look like references and will be sent as they are written."""
        for name, cluster in self.clusters.items():
            value = getattr(getattr(cluster, "credential", None), "value", None)
            if isinstance(value, str) and "${" in value:
                path = ("clusters", name, "credential", "value")
                message = "warning: `${` is literal here: references in a mapping are replaced only with `environ`"
                self.warnings.append(Problem(path, message))

    def names_clusters(self, packed: Iterable[PackedPart]) -> bool:
        """Whether all clusters that packed routes name exist."""
        return all(name in self.clusters for part in packed for name in part.routes.clusters())

    def check_names(self) -> None:
        first: dict[str, tuple[Source, Path]] = {}
        for name, written, source, path in self.walker.names:
            other = first.setdefault(name, (source, path))
            if other[1] != path:
                self.walker.source = source
                self.walker.problem(path, f"duplicate route name `{written}`; first at {_location(*other)}")

    def check_keys(self) -> None:
        """Report each name, hash and certificate that two keys share: a caller's identity would be ambiguous."""
        keys = self.built.get("keys")
        first: dict[tuple[str, str], Path] = {}
        for index, key in enumerate((keys.known if isinstance(keys, Reported) else keys) or ()):
            known = (key.known or {}) if isinstance(key, Reported) else structs.asdict(key)
            shared: list[tuple[str, Any, Path]] = [(each, known.get(each), (each,)) for each in ("name", "hash")]
            certificate = known.get("certificate")
            if isinstance(certificate, ClientCertificate):
                kind, value = certificate.known_by
                shared.append((kind, value, ("certificate", kind)))
            for field, value, below in shared:
                if not isinstance(value, str):
                    continue
                path: Path = ("keys", index, *below)
                other = first.setdefault((field, value), path)
                if other != path:
                    self.walker.source = source = self.source_map.sources[0]
                    what = f"key name `{value}`" if field == "name" else below[0]
                    self.walker.problem(path, f"duplicate {what}; first at {_location(source, other)}")
        named = next((path[:3] for path in first.values() if path[2] == "certificate"), None)
        listen = self.built.get("listen", Listen())
        if named and isinstance(listen, Listen) and (listen.tls is None or listen.tls.client_ca is None):
            self.walker.source = self.source_map.sources[0]
            self.walker.problem(named, "no client presents a certificate, because `listen.tls.client_ca` is not set")

    def report_meaning(self, meaning: MeaningCheck) -> None:
        for path, message in meaning(partial_config(self.clusters, self.routes, self.source_map)):
            if below(path, self.walker.unknown) or (self.walker.offline and "tls" in path):
                continue  # the files may be elsewhere
            self.walker.source = self.source_map.source(path) or Source("", FilePath())
            self.walker.problem(path, message)

    def check_references(self) -> None:
        known = sorted(self.source_map.clusters)
        listed = ", ".join(known[:_LISTED]) + (f" and {len(known) - _LISTED} more" if len(known) > _LISTED else "")
        for name, written, source, path in self.walker.references:
            if name not in self.source_map.clusters:
                self.walker.source = source
                meant = self.walker.suggest(written, known)
                self.walker.problem(path, f"unknown cluster `{written}`{meant or '.'} Known: {listed or 'none'}")


def below(path: Path, others: Iterable[Path]) -> bool:
    """Whether `path` is one of `others`, leads into one, or is that of a list with one."""
    for other in others:
        ahead = other[len(path) :]
        if path[: len(other)] == other or (path == other[: len(path)] and all(isinstance(step, int) for step in ahead)):
            return True
    return False


def _location(source: Source, path: Path) -> str:
    """The file and position of `path`, for a message."""
    shown = str(Problem(path, "")).removesuffix(": ")
    if not source.file:
        return shown
    line, column = source.locate(path)
    return f"{source.file}:{line}:{column} ({shown})"


def _absolute(path: str) -> FilePath:
    return FilePath(os.path.abspath(path))  # noqa: PTH100 - links must stay links: they are what changes

"""The shape of the project: which module may import which, how long files may be, what an import costs.

`rust_paths.py` beside this file reads the paths that Rust sources name.
"""

from __future__ import annotations

import ast
import graphlib
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import waypost

from .rust_paths import Module, module_of, paths_named

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "python" / "waypost"

FLOORS = (
    ("errors", "_native"),
    ("config", "loop"),
    ("sink", "stores"),
    ("upstream", "dialects"),
    ("exchange",),
    ("answers", "server_tls"),
    ("binding", "table", "access_log", "workers"),
    ("gateway",),
    ("entry", "admin"),
    ("app",),
    ("",),
    ("watch", "demo"),
    ("server", "checking"),
    ("cli",),
    ("__main__",),
)
"""Parts of the package, lowest first; "" is `waypost` itself. A part may import those of lower floors only, also for
type checkers and inside functions."""

LONGEST = {"python": 500, "rust": 500, "benches": 500, "tests": 600, "rust/core/tests": 600}
"""Lines that a file may have, by the directory that it is in; tables of cases make tests long."""
REASON = "500 lines"
"""A longer file says, in its first twelve lines, why it has more than these."""

CRATE = ROOT / "rust" / "core" / "src"

ROOMS: dict[Module, tuple[tuple[str, ...], ...]] = {
    (): (
        ("hash", "text"),
        ("dialect", "http1", "json", "log", "pattern", "translate"),
        ("auth",),
        ("table",),
        ("cluster", "route_file"),
        ("metrics",),
        ("engine",),
    ),
    ("table",): (
        ("action", "cost", "error", "ids", "or_limit", "work"),
        ("lookup", "message"),
        ("index", "scope"),
        ("explain",),
        ("rules",),
        ("layer",),
        ("matcher", "routes"),
        ("cliffs",),
    ),
    ("cluster",): (
        ("endpoint", "failure", "time"),
        ("lesson", "policy", "rng", "window"),
        ("admission", "choice", "health"),
        ("load",),
        ("slots",),
        ("members",),
        ("state",),
        ("attempt", "report"),
        ("group",),
        ("learning",),
        ("addresses",),
        ("registry",),
        ("tests",),
    ),
}
"""The rooms of the Rust core, by their module path: `()` is the crate. Of each, the modules in it, lowest first.

A module may name those of lower floors, and none through what the room's own `mod.rs` gives out again.
"""

RUNTIME_PACKAGES = 15


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted([*PACKAGE.rglob("*.py"), PACKAGE / "_native.pyi"])}


def part_of(module: str) -> str:
    return module.partition(".")[0]


def imported(tree: ast.AST) -> Iterator[str]:
    """The modules of the package that a module imports, wherever the import stands. Relative to the package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "waypost":
                    yield alias.name.partition(".")[2]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used here"
            if node.module and node.module.split(".")[0] == "waypost":
                base = node.module.partition(".")[2]
                for alias in node.names:
                    inner = f"{base}.{alias.name}".lstrip(".")
                    yield inner if inner in MODULES else base


def imports_of(module: str) -> set[str]:
    return set(imported(ast.parse(MODULES[module].read_text(encoding="utf-8"))))


def test_every_part_has_a_floor() -> None:
    placed = [part for floor in FLOORS for part in floor]
    assert sorted(placed) == sorted({part_of(module) for module in MODULES})


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downwards(module: str) -> None:
    floors = {part: number for number, floor in enumerate(FLOORS) for part in floor}
    own = part_of(module)
    wrong = [other for other in imports_of(module) if part_of(other) != own and floors[part_of(other)] >= floors[own]]
    assert wrong == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = graphlib.TopologicalSorter({module: imports_of(module) for module in MODULES})
    graph.prepare()  # raises CycleError, which names the cycle


EXCHANGE_KNOWS = {"dialects.errors"}
"""What the exchange and the ways in know of dialects: how an error is told. Translations are given to them."""


def test_the_exchange_knows_no_translation() -> None:
    modules = [module for module in MODULES if part_of(module) in ("exchange", "entry")]
    known = {other for module in modules for other in imports_of(module) if part_of(other) == "dialects"}
    assert known == EXCHANGE_KNOWS


def test_the_rules_see_imports_wherever_they_stand() -> None:
    source = """
from typing import TYPE_CHECKING
import waypost.app
from waypost import Matcher, errors
if TYPE_CHECKING:
    from waypost.entry.asgi import DataPath
def late():
    from waypost.upstream import pool
"""
    assert set(imported(ast.parse(source))) == {"app", "", "errors", "entry.asgi", "upstream.pool"}


RUST_MODULES = {module_of(path, CRATE): path for path in sorted(CRATE.rglob("*.rs"))}


@pytest.mark.parametrize("room", ROOMS, ids="::".join)
def test_every_module_of_a_room_has_a_floor(room: Module) -> None:
    inside = {module[len(room)] for module in RUST_MODULES if len(module) > len(room) and module[: len(room)] == room}
    assert sorted(part for floor in ROOMS[room] for part in floor) == sorted(inside)


@pytest.mark.parametrize("room", ROOMS, ids="::".join)
def test_rust_modules_name_only_what_is_on_lower_floors(room: Module) -> None:
    floors = {part: number for number, floor in enumerate(ROOMS[room]) for part in floor}
    depth = len(room)
    wrong = []
    seen = 0
    for module, path in RUST_MODULES.items():
        if len(module) == depth or module[:depth] != room:
            continue
        own = module[depth]
        for named in paths_named(path.read_text(encoding="utf-8"), module):
            if named[:depth] != room or (len(named) > depth and named[depth] == own):
                continue
            other = named[depth] if len(named) > depth else "*"
            seen += 1
            if floors.get(other, len(floors)) >= floors[own]:
                wrong.append(f"{'::'.join(module)} names {'::'.join(named)}")
    assert seen > 0
    assert wrong == []


def test_rust_paths_are_seen_wherever_they_stand() -> None:
    source = """
//! [`crate::comment`], "a quote that is left open
use std::fmt;
use crate::json::{self, Kind, keys::{Keys as K, *}};
pub(crate) use super::rules::Rules;
use super::{
    ids, // two of the room
    super::pattern::Pattern,
};
/* use crate::gone; /* and */ use crate::gone; */
fn first<'a>(text: &'a str, quote: char) -> crate::table::Found {
    let text = ("use crate::text;", r#"use crate::"raw""#, b'"', '\\'', '"');
    super::work::step(1)
}
mod tests {
    use super::*;
    use super::super::layer;
    mod inner { use super::super::super::cost::Cost; }
}
pub(in crate::visible) fn last() { super::explain::explain() }
"""
    assert set(paths_named(source, ("table", "matcher"))) == {
        ("json",),
        ("json", "Kind"),
        ("json", "keys", "Keys"),
        ("json", "keys"),
        ("table", "rules", "Rules"),
        ("table", "ids"),
        ("pattern", "Pattern"),
        ("table", "Found"),
        ("table", "work", "step"),
        ("table", "matcher"),
        ("table", "layer"),
        ("table", "cost", "Cost"),
        ("table", "explain", "explain"),
    }


def source_files() -> Iterator[tuple[Path, int]]:
    """Every source file, and how long it may be."""
    for top in ("python", "rust", "benches", "tests"):
        for path in sorted((ROOT / top).rglob("*")):
            relative = path.relative_to(ROOT)
            if path.suffix in (".py", ".pyi", ".rs") and "target" not in relative.parts:
                directory = max((each for each in LONGEST if relative.is_relative_to(each)), key=len)
                yield path, LONGEST[directory]


def test_no_file_is_long_without_a_reason() -> None:
    found = list(source_files())
    assert len(found) > len(MODULES)
    long = []
    for path, longest in found:
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > longest and REASON not in "\n".join(lines[:12]):
            long.append(f"{path.relative_to(ROOT)}: {len(lines)}")
    assert long == []


@pytest.mark.parametrize("module", [module for module in MODULES if module != "__main__"])
def test_what_a_module_offers_is_there(module: str) -> None:
    loaded = importlib.import_module(f"waypost.{module}".rstrip("."))
    for name in getattr(loaded, "__all__", ()):
        assert hasattr(loaded, name), name


def test_the_public_names_are_sorted_and_lazy_ones_are_among_them() -> None:
    assert waypost.__all__ == sorted(waypost.__all__)
    assert set(waypost._LAZY) <= set(waypost.__all__)
    assert dir(waypost) == waypost.__all__


def test_a_name_that_is_not_offered_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Router'"):
        waypost.Router  # noqa: B018


def test_the_matcher_alone_loads_no_dependency() -> None:
    code = "import sys; from waypost import Matcher, WaypostError; Matcher({}); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=PACKAGE.parent,
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "waypost" in loaded
    assert (
        loaded & {"starlette", "yaml", "uvicorn", "uvloop", "msgspec", "orjson", "watchfiles", "asyncio", "ssl"}
        == set()
    )


def test_running_takes_few_packages() -> None:
    lock = (ROOT / "requirements" / "runtime.txt").read_text(encoding="utf-8")
    packages = re.findall(r"^([A-Za-z0-9._-]+)==", lock, re.MULTILINE)
    assert "uvicorn" in packages
    assert len(set(packages)) <= RUNTIME_PACKAGES

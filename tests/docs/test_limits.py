"""`docs/reference/limits.md` lists every time, size and count that the code has, with the values that it has."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from waypost.config import units
from waypost.config.model import Document

from .test_tables import codes, rows

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "python" / "waypost"
PAGE = "reference/limits.md"
FIXED = rows(PAGE, "| limit | value | in the code |")

INTERNAL = {
    "access_log.py": {"_MODE"},
    "config/listen.py": {"_PORT"},
    "config/load.py": {"_LISTED"},
    "config/new_key.py": {"_BYTES"},
    "config/shown.py": {"_PLAIN_INTEGERS"},
    "config/walk.py": {"_SUGGESTIONS"},
    "config/wording.py": {"_SHOWN"},
    "config/yaml12.py": {"_LONG"},
    "dialects/pairs/envelope_openai.py": {"_SHOWN"},
    "entry/http2_renewal.py": {
        "DATA",
        "HEADERS",
        "RST_STREAM",
        "_ACK",
        "_ENABLE_CONNECT_PROTOCOL",
        "_END_HEADERS",
        "_END_STREAM",
        "_HEADER_TABLE_SIZE",
        "_LARGEST",
        "_PIECE",
        "_SETTINGS",
        "_WINDOW",
        "_WINDOW_UPDATE",
    },
    "entry/uvicorn_http1.py": {"_COPY_LIMIT"},
    "exchange/runtime.py": {"_SPARE_LIMIT"},
    "loop/outbox.py": {"_ENOUGH", "_PATIENCE", "_INTERVAL", "_EVENTS", "_MANY_EVENTS"},
    "loop/wheel.py": {"TICK"},
    "stores/log.py": {"LOG_COST", "ENTRY_COST", "TOKEN_COST"},
    "stores/memory.py": {"RECORD_COST", "SWEEP"},
    "stores/store.py": {"KEY_BYTES", "BATCH_BYTES", "REPEAT_WINDOW"},
}
"""Numbers of the code that limit nothing which a user could notice."""

OPERATORS: dict[type[ast.operator], Callable[[Any, Any], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
}
UNITS = {"ms": 0.001, "s": 1, "KiB": 1 << 10, "MiB": 1 << 20}


def evaluated(node: ast.expr) -> float | None:
    """The number that a constant is made of, or `None` if it is something else."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, (int, float)) and not isinstance(node.value, bool) else None
    if isinstance(node, ast.BinOp):
        left, right = evaluated(node.left), evaluated(node.right)
        return None if left is None or right is None else OPERATORS[type(node.op)](left, right)
    return None


def numbers(path: Path) -> dict[str, float]:
    """The constants of a module that are numbers."""
    found: dict[str, float] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            target: Any = node.target
        elif isinstance(node, ast.Assign):
            target = node.targets[0]
        else:
            continue
        value = None if node.value is None else evaluated(node.value)
        if value is not None and isinstance(target, ast.Name) and target.id.isupper():
            found[target.id] = value
    return found


def rust_number(path: Path, name: str) -> float:
    (text,) = re.findall(rf"\bconst {name}: [^=]+= ([^;]+);", path.read_text(encoding="utf-8"))
    text = re.sub(r"Duration::from_secs\((\w+)\)", r"\1", text)
    text = re.sub(r"Duration::from_millis\((\w+)\)", r"(\1 / 1000)", text).replace("_", "")
    value = evaluated(ast.parse(text, mode="eval").body)
    assert value is not None, text
    return value


def written(cell: str) -> set[float]:
    """What a value may be in the code: in the unit that is written, or in seconds and bytes."""
    number, _, unit = cell.replace(",", "").partition(" ")
    return {float(number), float(number) * UNITS.get(unit, 1)}


@pytest.mark.parametrize("row", FIXED, ids=[row[2] for row in FIXED])
def test_a_limit_is_what_the_page_says(row: list[str]) -> None:
    file, name = codes(row[2])
    value = rust_number(ROOT / file, name) if file.startswith("rust/") else numbers(PACKAGE / file)[name]
    assert any(abs(value - each) < 1e-9 for each in written(row[1])), f"{row[0]}: {value} in the code"


def test_every_number_of_the_code_is_listed() -> None:
    listed = {tuple(codes(row[2])) for row in FIXED}
    assert len(listed) == len(FIXED)
    internal = {(file, name) for file, names in INTERNAL.items() for name in names}
    found = {
        (str(path.relative_to(PACKAGE)), name)
        for path in sorted(PACKAGE.rglob("*.py"))
        if "demo" not in path.parts
        for name in numbers(path)
    }
    missing = found - listed - internal
    assert not missing, (
        f"list these in docs/{PAGE}, or in INTERNAL here if no user could notice them: {sorted(missing)}"
    )
    assert not internal - found, "these are gone from the code"


def test_keys_have_the_defaults_that_the_page_says() -> None:
    for row in rows(PAGE, "| key | default | fits |"):
        section, name = codes(row[0])[0].split(".")[:2]
        if section == "clusters":
            assert row[1] == ""
            continue
        value = getattr(getattr(Document(), section), name)
        text = units.format_size(value) if isinstance(value, int) else units.format_duration(value)
        assert row[1] == text, name

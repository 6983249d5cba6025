"""The benches: that each still runs, and that their plots and quantiles are right. Figures are asserted nowhere."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", ["proxy", "streams", "cost", "soak", "matcher", "scale", "compile"])
def test_a_quick_run_prints_tables_and_leaves_the_results(name: str) -> None:
    kept = (ROOT / "benches" / "RESULTS.md").read_text("utf-8")
    command = [sys.executable, "-m", "benches", name, "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    needs = {"proxy": "wrk", "streams": "cargo"}
    tables = re.findall(r"^### ", done.stdout, re.MULTILINE)
    assert len(tables) >= (2 if name not in needs or shutil.which(needs[name]) else 1)
    assert (ROOT / "benches" / "RESULTS.md").read_text("utf-8") == kept


@pytest.fixture
def plot(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("benches.plot")


@pytest.fixture
def timing(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("benches.timing")


def drawn(plot: ModuleType, **lines: list[tuple[float, float]]) -> ET.Element:
    text = plot.log_log("a < b", "rules", [plot.Line(name, points) for name, points in lines.items()], "about")
    return ET.fromstring(text)  # noqa: S314


def test_equal_factors_are_equal_distances(plot: ModuleType) -> None:
    picture = drawn(plot, line=[(10, 1e-6), (100, 1e-5), (1_000, 1e-4)])
    points = [(float(dot.get("cx", "")), float(dot.get("cy", ""))) for dot in picture.iter(f"{SVG}circle")]
    steps = {(round(b[0] - a[0]), round(b[1] - a[1])) for a, b in pairwise(points)}
    assert len(points) == 3
    assert len(steps) == 1
    across, up = steps.pop()
    assert across > 0 > up


def test_lines_are_named_and_the_names_do_not_overlap(plot: ModuleType) -> None:
    names = [f"line{number}" for number in range(8)]
    picture = drawn(plot, **{name: [(10, 1e-6), (100, 1.01e-6)] for name in names})
    places = {text.text: float(text.get("y", "")) for text in picture.iter(f"{SVG}text")}
    baselines = sorted(places[name] for name in names)
    assert all(b - a >= 15 for a, b in pairwise(baselines))
    assert baselines[-1] < float(picture.get("height", ""))


def test_axes_are_in_units_for_people(plot: ModuleType) -> None:
    picture = drawn(plot, line=[(10, 2e-7), (100_000, 0.5)])
    shown = {text.text for text in picture.iter(f"{SVG}text")}
    assert {"100 ns", "1 µs", "10 µs", "1 ms", "1 s", "10", "100,000"} <= shown


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_quantile_is_one_of_the_values(timing: ModuleType, share: float, expected: int) -> None:
    assert timing.quantile(range(100, 0, -1), share) == expected
    assert timing.quantile([3, 1, 2], 0.5) == 2


def test_calls_are_timed_one_by_one_and_a_slow_case_sits_out(timing: ModuleType) -> None:
    calls: list[str] = []
    cases = {"a": (calls.append, ["x", "y"]), "b": (calls.append, ["z"])}
    least = timing.interleaved_calls(cases, 3, 60.0)
    passes = 4  # of each item twice in a row, after all of them once
    turn = [*"xy", *"xxyy" * passes, *"z", *"zz" * passes]
    assert calls[4:] == turn * 3  # after two of each case to see how long they take
    assert {key: [len(seconds) for seconds in kinds] for key, kinds in least.items()} == {"a": [2] * 3, "b": [1] * 3}
    calls.clear()
    timing.interleaved_calls(cases, 3, 1e-9)
    assert calls[4:] == turn


def test_a_line_keeps_its_look_whatever_its_place(plot: ModuleType) -> None:
    points = [(10, 1e-6), (100, 1e-5)]
    alone = plot.log_log("a", "x", [plot.Line("nginx", points, look=3)], "")
    among = plot.log_log("a", "x", [plot.Line("waypost", points), plot.Line("nginx", points, look=3)], "")
    for text in (alone, among):
        picture = ET.fromstring(text)  # noqa: S314
        looks = [path.get("class") for path in picture.iter(f"{SVG}path") if "line" in path.get("class", "").split()]
        assert looks[-1] == "line s3"


@pytest.mark.parametrize("routes", [10, 100, 1_000, 100_000])
def test_callers_are_spread_over_the_routes(monkeypatch: pytest.MonkeyPatch, routes: int) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    gateway = importlib.import_module("benches.gateway")
    patterns = importlib.import_module("benches.corpus").rules(routes)
    callers = gateway.callers(routes)
    assert len(dict(callers)) == len({route for _, route in callers}) == len(callers) <= gateway.KEYS
    for key, route in callers:
        assert patterns[route]["tenant"] == [key.removeprefix("key-of-")]
        assert patterns[route]["model"] == [{"prefix": "llama-"}]
    assert len(callers) == 1 or int(callers[-1][1].removeprefix("rule-")) > routes * 0.85

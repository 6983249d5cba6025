"""The benches: that each still runs, and that their plots and quantiles are right. Figures are asserted nowhere."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

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


@pytest.fixture
def revision(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("benches.revision")


def git(directory: Path, *arguments: str) -> str:
    author = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", *author, *arguments]
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(revision: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose commit `old` builds an interpreter that says `old`, and counts how often it is built."""
    monkeypatch.setattr(revision, "_ROOT", tmp_path)
    monkeypatch.setattr(revision, "_BUILDS", tmp_path / ".venv-bench")
    python = ".venv/bin/python"
    build = f"@mkdir -p .venv/bin && cp program {python} && chmod +x {python} && touch .venv/.built && echo >> ../built"
    (tmp_path / "Makefile").write_text(f"build:\n\t{build}\n", "utf-8")
    (tmp_path / "program").write_text("#!/bin/sh\necho old\n", "utf-8")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "old")
    git(tmp_path, "tag", "old")
    (tmp_path / "program").write_text("#!/bin/sh\necho new\n", "utf-8")
    git(tmp_path, "commit", "--quiet", "--all", "--message", "new")
    return tmp_path


def test_another_revision_is_built_once_and_the_checkout_stays(revision: ModuleType, checkout: Path) -> None:
    for _ in range(2):
        other = revision.build("old")
        assert other.name == git(checkout, "rev-parse", "--short", "old")
        assert subprocess.run([other.python], capture_output=True, check=True).stdout == b"old\n"
    assert (checkout / ".venv-bench" / "built").read_text("utf-8") == "\n"
    assert git(checkout, "status", "--porcelain", "--untracked-files=no") == ""


def test_a_revision_that_is_not_there_or_does_not_build_says_so(revision: ModuleType, checkout: Path) -> None:
    with pytest.raises(RuntimeError, match=r"git rev-parse .* younger"):
        revision.build("younger")
    (checkout / "Makefile").write_text("build:\n\t@echo it is broken; false\n", "utf-8")
    git(checkout, "commit", "--quiet", "--all", "--message", "broken")
    with pytest.raises(RuntimeError, match=r"make build .*it is broken"):
        revision.build("HEAD")


def test_two_builds_are_compared_on_both_paths_in_turn(
    revision: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = importlib.import_module("benches.proxy")
    costs = {"uvicorn": 40.0, "fast": 15.0, "asgi": 50.0, "their fast": 20.0, "their asgi": 100.0, "nginx": 10.0}
    turns: list[str] = []

    def rounds(contestants: list[Any], *_: object, **__: object) -> None:
        for one in contestants:
            path = "asgi" if "--no-fast-path" in one.name else "fast"
            what = f"their {path}" if "of old" in one.name else path if "waypost" in one.name else one.name.split()[0]
            turns.append(what)
            one.cost, one.p50 = [costs[what], costs[what] * 2], [costs[what]]

    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/started\nexec {sys.executable} "$@"\n', "utf-8")
    program.chmod(0o755)
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(proxy.contest, "rounds", rounds)
    table = proxy.run(quick=True, against=revision.Revision("old", str(program)))[-1]
    assert turns[:5] == ["uvicorn", "asgi", "their asgi", "fast", "their fast"]
    started = (tmp_path / "started").read_text("utf-8").splitlines()
    assert len(started) == 2 + 2  # both paths; one start for the page cache, one that counts
    assert sum("--no-fast-path" in line for line in started) == 1
    figures = {row[0]: row[1:] for row in table.rows}
    assert figures["fast path: CPU µs per request"] == (15, 20, 0.75, 0.75, "≤ 0.75", "ok")
    assert figures["ASGI path: CPU µs per request"] == (50, 100, 0.5, 0.5, "≤ 0.9", "ok")
    assert {"exec to first routed answer, s", "resident after that answer, MB"} <= set(figures)


def test_the_median_of_the_ratios_of_rounds_counts(revision: ModuleType) -> None:
    assert revision.compare("a", [30, 10, 20], [40, 20, 10], 0.75) == ("a", 10, 10, 1.0, 0.75, "≤ 0.75", "ok")
    assert revision.compare("a", [3, 3, 1], [4, 2, 1], 0.9) == ("a", 1, 1, 1.0, 1.0, "≤ 0.9", "MISSED")
    assert revision.compare("a", [1], [2]) == ("a", 1, 2, 0.5, 0.5, "", "")


def test_a_plain_run_leaves_what_was_measured_against_another_revision(revision: ModuleType, tmp_path: Path) -> None:
    main = importlib.import_module("benches.__main__")
    path = tmp_path / "RESULTS.md"
    for name in ("proxy --against", "streams", "proxy", "proxy"):
        main.store(path, name, f"of {name}", main.SECTIONS)
    sections = re.findall(r"^## (.+)\n\nof (.+)$", path.read_text("utf-8"), re.MULTILINE)
    assert sections == [(name, name) for name in ("proxy", "proxy --against", "streams")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cost", "--against", "HEAD"], "there is no bench that takes --against 'cost'; benches: startup, proxy"),
        (["proxy", "--against", "no-such-revision"], "--against: git rev-parse"),
    ],
)
def test_what_cannot_be_compared_is_a_usage_error(arguments: list[str], said: str) -> None:
    command = [sys.executable, "-m", "benches", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert said in done.stderr

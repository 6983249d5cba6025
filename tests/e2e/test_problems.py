"""A configuration with problems of every sort, in several files: each command that reads it prints all of them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .support.proxy import command, environment
from .support.site import Launcher

CHAT = b'{"model": "m"}'
MAIN = "waypost-0.yaml"
FILES = {
    MAIN: """\
clusters:
  local: {speaks: openai, endpoints: [http://127.0.0.1:9100], modle: m}
routes:
  - {name: a, match: {kind: model, tenant: ["${UNSET}", {prefx: x}]}, to: local}
  - {name: b, match: {kind: tool}, to: local}
include: [more.yaml, tenants.jsonl]
limits: {body: 1XB}
""",
    "more.yaml": "routes:\n  - {name: b, match: {kind: modle}, to: local, prio: 1}\n",
    "tenants.jsonl": '{"name": "t", "match": {"tenant": [{"cidr": "x"}]}, "to": "lokal"}\n{"name": 3, "to": "local"}\n',
}
PROBLEMS = (
    (f"{MAIN}:2:63: clusters.local: ", "unknown key `modle`"),
    (f"{MAIN}:4:45: routes[0].match.tenant[0]: ", "`UNSET` is not set"),
    (f"{MAIN}:4:65: routes[0].match.tenant[1].prefx: ", "unknown predicate `prefx`"),
    (f"{MAIN}:5:40: routes[1].to: ", "envelopes of kind tool cannot be sent to it"),
    (f"{MAIN}:7:16: limits.body: ", "unknown unit"),
    ("more.yaml:2:12: routes[2].name: ", "duplicate route name"),
    ("more.yaml:2:29: routes[2].match.kind: ", '"modle" is not a kind'),
    ("more.yaml:2:48: routes[2]: ", "unknown key `prio`"),
    ("tenants.jsonl:1:45: routes[3].match.tenant[0].cidr: ", "not an address block"),
    ("tenants.jsonl:1:59: routes[3].to: ", "unknown cluster `lokal`; did you mean `local`?"),
    ("tenants.jsonl:2:10: routes[4].name: ", "must be a string"),
)


def write(directory: Path) -> Path:
    """The main file last, so that whoever waits for a change of it reads the others as they are."""
    for name, text in reversed(FILES.items()):
        new = directory / f".{name}.new"
        new.write_text(text)
        new.replace(directory / name)
    return directory / MAIN


def all_are_in(lines: list[str], directory: Path) -> None:
    """`lines` are the problems, in order and each once."""
    assert len(lines) == len(PROBLEMS), lines
    for line, (place, words) in zip(lines, PROBLEMS, strict=True):
        assert line.startswith(f"{directory}/{place}"), line
        assert words in line


def test_check_prints_them(tmp_path: Path) -> None:
    done = command("check", "--running", str(write(tmp_path)))
    assert done.returncode == 1
    all_are_in(done.stdout.decode().splitlines(), tmp_path)
    assert done.stderr.decode() == f"{tmp_path}/{MAIN}: {len(PROBLEMS)} problems\n"


@pytest.mark.parametrize(
    "arguments", [("serve", "--port", "0"), ("serve", "--port", "0", "--workers", "2"), ("explain",)]
)
def test_no_command_runs_with_them(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    name, *options = arguments
    done = command(name, str(write(tmp_path)), *options)
    assert (done.returncode, done.stdout) == (1, b"")
    *lines, last = done.stderr.decode().splitlines()
    all_are_in(lines, tmp_path)
    assert last.endswith(f": {len(PROBLEMS)} problems")


def test_neither_does_the_factory(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from waypost.app import from_env; from_env()"],
        env=environment(WAYPOST_CONFIG=str(write(tmp_path))),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    all_are_in(done.stderr.splitlines(), tmp_path)


def test_a_reload_reports_them_and_changes_nothing(launch: Launcher) -> None:
    server = launch.server()
    proxy = launch.serve(
        f"clusters: {{c: {{speaks: openai, endpoints: ['{server.url}']}}}}\nroutes: [{{name: first, to: c}}]\n"
    )
    assert proxy.config is not None
    assert proxy.config.name == MAIN
    assert proxy.ask("POST", "/v1/chat/completions", CHAT).get("x-waypost-route") == "first"
    write(proxy.config.parent)
    proxy.signal(signal.SIGHUP)
    proxy.wait_for(r"waypost: not reloaded: \d+ problems; the old configuration stays in force")
    # The change of the file reloads as well: what the first of them said.
    report = proxy.output.partition("waypost: not reloaded")[0]
    lines = [line for line in report.splitlines() if not line.startswith("waypost: ")]
    all_are_in([line for line in lines if ": warning: " not in line], proxy.config.parent)
    assert proxy.ask("POST", "/v1/chat/completions", CHAT).get("x-waypost-route") == "first"

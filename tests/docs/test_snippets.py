"""Every block of the README is run, and what it shows is compared with what comes out.

How a block is read:

- A block whose first line is `# NAME` with the ending .yaml or .py is a file; later blocks find it. A configuration
  has to pass `waypost check`, unless a console block of its section runs that command on it.
- `console`: lines that begin with `$ ` are run, the lines below are their output. A server keeps running until its
  section ends or another one starts; upstreams, which have a terminal of their own, until the section ends. Ports are
  replaced by free ones: 8080, and 9100 with those that are 100, 200 and 300 above it.
- `python`: run in order, with one namespace for each section (`## …`). `# -> X` says what a statement prints, or the
  `repr` of its value; a statement that shows something has to say so.

`…` stands for any text within a line, and on a line of its own for any lines. Times in milliseconds are not compared.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import waypost

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

NOT_RUN = {
    "make test": "this test is part of it",
    "pip install dist/waypost-*.whl": "`.ci/run` does, in an empty environment without Rust",
}
"""Commands that are not run, and why. No output may be shown for them."""
STANDS_FOR = {"make demo ARGS=--once": "waypost demo --once"}
"""Commands of which only the part after the build is run."""
PATIENCE = 30.0
"""Seconds for one command, or until a server says what it should."""
UPSTREAM_PORTS = (9100, 9200, 9300, 9400)


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        found = re.match(r"# ([\w.-]+\.(?:yaml|py))\n", self.text)
        return found[1] if found else None


@dataclass
class Section:
    title: str
    text: str = ""
    blocks: list[Block] = field(default_factory=list)


def read_sections(markdown: str) -> list[Section]:
    sections: list[Section] = []
    fence: list[str] | None = None
    language, start = "", 0
    for number, line in enumerate(markdown.splitlines(), 1):
        if fence is not None:
            if line == "```":
                sections[-1].blocks.append(Block(language, "".join(fence), start))
                fence = None
            else:
                fence.append(line + "\n")
        elif line.startswith("```"):
            fence, language, start = [], line[3:], number
        elif re.match(r"##? ", line):
            sections.append(Section(line.lstrip("# ")))
        else:
            sections[-1].text += line + "\n"
    assert fence is None, f"the block that begins in line {start} does not end"
    return sections


SECTIONS = read_sections(README)


# What was shown, against what came.


def shown_as_regex(shown: str) -> re.Pattern[str]:
    out = ""
    for line in steady(shown).splitlines():
        if line == "…":
            out += r"(?:.*\n)*?"
        else:
            out += ".*?".join(re.escape(part) for part in line.split("…")) + r"\n"
    return re.compile(out)


def steady(text: str) -> str:
    """`text` without what is different each time."""
    text = "\n".join(line.rstrip() for line in text.replace("\r\n", "\n").split("\n"))
    text = re.sub(r" *\b\d+\.\d ms\b", " # ms", text)
    return text if not text or text.endswith("\n") else text + "\n"


def same(shown: str, came: str) -> bool:
    return shown_as_regex(shown).fullmatch(steady(came)) is not None


def report(where: str, shown: str, came: str) -> str:
    return f"{where}\n--- shown\n{shown}\n--- came\n{came}"


# Console blocks.


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Each command of a block, and the output that is shown for it."""
    command: str | None = None
    output: list[str] = []
    lines = iter(text.splitlines())
    for line in lines:
        if not line.startswith("$ "):
            output.append(line + "\n")
            continue
        if command is not None:
            yield command, "".join(output)
        assert command is not None or not output, f"output before the first command: {output}"
        command, output = line[2:], []
        while command.endswith("\\"):
            command += "\n" + next(lines)
    assert command is not None, "a console block without a command"
    yield command, "".join(output)


class Process:
    """A server that was started by a command."""

    def __init__(self, command: str, cwd: Path, environ: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "-c", f"exec env {command}"], cwd=cwd, env=environ,
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.output = ""
        self.ended = False
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._news:
                self.output += line
                self._news.notify_all()
        with self._news:
            self.ended = True
            self._news.notify_all()

    def wait_for(self, is_there: Any) -> bool:
        with self._news:
            self._news.wait_for(lambda: is_there(self.output) or self.ended, PATIENCE)
            return bool(is_there(self.output))

    def stop(self) -> int:
        self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._reader.join()
            if self._process.stdout is not None:
                self._process.stdout.close()


class Session:
    """Runs the blocks of one section."""

    def __init__(self, cwd: Path, environ: dict[str, str], ports: dict[str, str]) -> None:
        self._cwd = cwd
        self._environ = environ
        self._ports = ports
        self._server: Process | None = None
        self._upstreams: Process | None = None
        self._namespace: dict[str, Any] = {"__name__": "readme"}

    def write(self, block: Block) -> None:
        assert block.file
        (self._cwd / block.file).write_text(self.ported(block.text), encoding="utf-8")

    def ported(self, text: str) -> str:
        return re.sub(r"\b(" + "|".join(self._ports) + r")\b", lambda found: self._ports[found[0]], text)

    def unported(self, text: str) -> str:
        for shown, real in self._ports.items():
            text = re.sub(rf"\b{real}\b", shown, text)
        return text

    def run(self, block: Block) -> None:
        where = f"README.md:{block.line}"
        if block.language == "console":
            for command, shown in commands(block.text):
                self.command(where, command, shown)
        elif block.file is not None:
            self.write(block)
        elif block.language == "python":
            run_python(where, self.ported(block.text), self._namespace)
        else:
            pytest.fail(f"{where}: nobody knows how to run this block")

    def command(self, where: str, command: str, shown: str) -> None:
        if command in NOT_RUN:
            assert not shown, f"{where}: output is shown for a command that is not run: {command}"
            return
        command = self.ported(STANDS_FOR.get(command, command))
        if re.search(r"\bwaypost serve\b|\bwaypost demo\b(?!.*--once)|\buvicorn\b", command):
            if "waypost serve" in command and "--port" not in command:
                command += f" --port {self._ports['8080']}"  # the default port may be taken
            upstreams = "--upstreams" in command
            if not upstreams:
                self.stop_server()
            server = Process(command, self._cwd, self._environ)
            if not server.wait_for(lambda output: same(shown, self.unported(output))):
                server.stop()
                pytest.fail(report(f"{where}: {command}", shown, self.unported(server.output)))
            if upstreams:
                assert self._upstreams is None
                self._upstreams = server
            else:
                self._server = server
            return
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {command}"], cwd=self._cwd, env=self._environ, timeout=PATIENCE,
            text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        came = self.unported(done.stdout)
        assert same(shown, came), report(f"{where}: {command}", shown, came)

    def close(self) -> None:
        self.stop_server()
        self._server, self._upstreams = self._upstreams, None
        self.stop_server()

    def stop_server(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            code = server.stop()
            assert code == 0, f"exit code {code} after SIGINT\n{server.output}"


# Python blocks.


def run_python(where: str, source: str, namespace: dict[str, Any]) -> None:
    lines = source.splitlines()
    for node in ast.parse(source).body:
        end = node.end_lineno or node.lineno
        while end < len(lines) and lines[end].startswith("# -> "):
            end += 1
        own = lines[node.lineno - 1 : end]
        shown = [line.partition("# -> ")[2] + "\n" for line in own if "# -> " in line]
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            if isinstance(node, ast.Expr):
                value = eval(compile(ast.Expression(node.value), where, "eval"), namespace)  # noqa: S307
                if value is not None or (shown and not out.getvalue()):
                    print(repr(value))
            else:
                exec(compile(ast.Module([node], []), where, "exec"), namespace)  # noqa: S102
        came = out.getvalue()
        assert same("".join(shown), came), report(f"{where}: {own[0]}", "".join(shown), came)


# Fixtures.


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which `waypost` and `uvicorn` are those of this interpreter."""
    scripts = tmp_path_factory.mktemp("bin")
    for name in ("waypost", "uvicorn"):
        script = scripts / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {name} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith(("_proxy", "_api_key"))}
    return kept | {
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(waypost.__file__).parents[1]),
        "PYTHONUNBUFFERED": "1",
        "COLUMNS": "100",
    }


def free_ports() -> dict[str, str]:
    """A free port for each that the README shows; those of upstreams are as far apart as they are there."""
    for _ in range(1000):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError, OverflowError):
            sockets = [stack.enter_context(socket.socket()) for _ in range(1 + len(UPSTREAM_PORTS))]
            for sock in sockets[:2]:
                sock.bind(("127.0.0.1", 0))
            port, first = (sock.getsockname()[1] for sock in sockets[:2])
            found = {shown: first + shown - UPSTREAM_PORTS[0] for shown in UPSTREAM_PORTS}
            for sock, number in zip(sockets[2:], list(found.values())[1:], strict=True):
                sock.bind(("127.0.0.1", number))
            return {"8080": str(port)} | {str(shown): str(number) for shown, number in found.items()}
    raise AssertionError("no free ports")


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]) -> Iterator[Session]:
    monkeypatch.chdir(tmp_path)
    session = Session(tmp_path, environ, free_ports())
    try:
        yield session
    finally:
        session.close()


# The README's sections.


@pytest.mark.parametrize("index", range(len(SECTIONS)), ids=[each.title for each in SECTIONS])
def test_what_a_section_shows_is_what_happens(index: int, session: Session) -> None:
    this = SECTIONS[index]
    if any("curl " in block.text for block in this.blocks) and shutil.which("curl") is None:
        pytest.skip("needs curl")
    for earlier in SECTIONS[:index]:
        for block in earlier.blocks:
            if block.file is not None:
                session.write(block)
    console = "".join(block.text for block in this.blocks if block.language == "console")
    for block in this.blocks:
        session.run(block)
        if block.language == "yaml" and f"waypost check {block.file}\n" not in console:
            session.command(f"README.md:{block.line}", f"waypost check {block.file}", "…\n")
            session.command(f"README.md:{block.line}", f"waypost check {block.file} > /dev/null && echo ok", "ok\n")


def test_commands_that_are_not_run_are_there() -> None:
    used = {
        command for each in SECTIONS for b in each.blocks if b.language == "console" for command, _ in commands(b.text)
    }
    assert set(NOT_RUN) | set(STANDS_FOR) <= used


def test_make_demo_is_what_stands_for_it() -> None:
    assert re.search(
        r"^demo: build.*\n\t\$\(BIN\)/waypost demo \$\(ARGS\)$", (ROOT / "Makefile").read_text(), re.MULTILINE
    )


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", "1 + 1  # -> 3\n"),
        ("python", "1 + 1\n"),
        ("python", "print('a')  # -> b\n"),
        ("python", "for n in (1, 2):\n    print(n)\n# -> 1\n"),
        ("python", "x = 1  # -> 1\n"),
        ("console", "$ echo a\nb\n"),
        ("console", "$ echo a\n"),
        ("console", "$ echo a; echo b\na\n"),
        ("console", "$ make test\nall is well\n"),
        ("console", "$ waypost serve nowhere.yaml\nwaypost: listening on …\n"),
        ("text", "a\n"),
    ],
)
def test_a_wrong_claim_is_noticed(language: str, text: str, session: Session) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        session.run(Block(language, text, 1))


@pytest.mark.parametrize(
    ("shown", "came", "equal"),
    [
        ("a…c\n", "abc\n", True),
        ("a…c\n", "ab\nc\n", False),
        ("a\n…\nc\n", "a\nc\n", True),
        ("a\n…\nc\n", "a\nb\nb\nc\n", True),
        ("a\n…\nc\n", "a\nb\n", False),
        ("q    2.1 ms  why\n", "q  1002.7 ms  why\n", True),
        ("a.c\n", "abc\n", False),
    ],
)
def test_the_ellipsis(shown: str, came: str, equal: bool) -> None:
    assert same(shown, came) is equal

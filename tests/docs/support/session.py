"""Runs the blocks of one page.

- A block whose first line is `# NAME` is a file, with the endings of `pages.py`. Later blocks find it.
- `console`: lines that begin with `$ ` are run, the lines below are their output. A server keeps running until another
  one starts or the page ends; upstreams and nginx, which have terminals of their own, until the page ends. `export`
  holds for the rest of the page. Ports are replaced by free ones, see `PORTS`.
- `python`: run in order, with one namespace for the page. `# -> X` says what a statement prints, or the `repr` of its
  value; a statement that shows something has to say so.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .compare import report, same
from .pages import Block, commands

__all__ = ["NOT_RUN", "STANDS_FOR", "Session", "free_ports"]

NOT_RUN = {
    "make test": "this test is part of it",
    "make wheel": "`.ci/run` does",
    "pip install dist/waypost-*.whl": "`.ci/run` does, in an empty environment without Rust",
    "sudo certbot certonly --standalone -d gateway.example.com": "needs a name that Let's Encrypt can reach",
    "sudo python3 -m venv /opt/waypost": "changes the system",
    "sudo /opt/waypost/bin/pip install waypost-*.whl": "changes the system",
    "sudo cp waypost.service /etc/systemd/system/": "changes the system; the unit is verified",
    "sudo systemctl daemon-reload": "changes the system",
    "sudo systemctl enable --now waypost": "changes the system",
    "waypost check --running /etc/waypost/waypost.yaml && sudo systemctl reload waypost": "changes the system",
    "docker build -t registry.example/waypost:0.1.0 .": "needs Docker and a registry; the file's form is checked",
    "kubectl apply -f kubernetes.yaml": "needs a cluster; how the manifests name each other is checked",
}
"""Commands that are not run, and why. No output may be shown for them."""
STANDS_FOR = {"make demo ARGS=--once": "waypost demo --once"}
"""Commands of which only the part after the build is run."""

PORTS = (8080, 8443)
"""Ports that pages show Waypost, and what stands before it, listening on."""
UPSTREAM_PORTS = (9100, 9200, 9300, 9400, 9101, 9102)
"""Ports of endpoints. The free ones that replace them are as far apart. Nothing listens on the last two at first."""
PATIENCE = 30.0
"""Seconds for one command, or until a server says what it should."""
_SERVER = re.compile(r"\bwaypost serve\b|\bwaypost demo\b(?!.*--once)|\buvicorn\b|^nginx (?!.*-t\b)")


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

    def wait_for(self, is_there: Callable[[str], bool], every: float | None = None) -> bool:
        """Whether `is_there` of the output comes true. `every` so many seconds it is asked without news, too."""
        deadline = time.monotonic() + PATIENCE
        with self._news:
            while not is_there(self.output) and not self.ended and time.monotonic() < deadline:
                self._news.wait(every or deadline - time.monotonic())
            return is_there(self.output)

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
    def __init__(self, cwd: Path, environ: dict[str, str]) -> None:
        """`cwd` is where the page's files are; `environ` finds `waypost`, `uvicorn` and `python` on its PATH."""
        self.cwd = cwd
        self._environ = dict(environ)
        self._ports = free_ports()
        self._servers: dict[str, Process] = {}
        self._namespace: dict[str, Any] = {"__name__": "page"}

    def run(self, block: Block) -> None:
        if block.language == "console":
            for command, shown in commands(block.text):
                self.command(block.where, command, shown)
        elif block.file is not None:
            path = self.cwd / block.file
            assert path.resolve().is_relative_to(self.cwd.resolve()), block.where
            path.parent.mkdir(exist_ok=True)
            path.write_text(self._ported(block.text), encoding="utf-8")
        elif block.language == "python":
            with contextlib.chdir(self.cwd):
                run_python(block.where, self._ported(block.text), self._namespace)
        else:
            raise AssertionError(f"{block.where}: nobody knows how to run this block")

    def command(self, where: str, command: str, shown: str) -> None:
        if command in NOT_RUN:
            assert not shown, f"{where}: output is shown for a command that is not run: {command}"
            return
        command = self._ported(STANDS_FOR.get(command, command))
        command = re.sub(r"\bwaypost check\b(?! --)", "waypost check --running", command)  # the port may be taken
        if command.startswith("export "):
            self._export(where, command, shown)
        elif _SERVER.search(command) and "||" not in command:
            self._serve(where, command, shown)
        else:
            came = self._unported(self._output(command))
            assert same(shown, came), report(f"{where}: {command}", shown, came)

    def close(self) -> None:
        for name in list(self._servers):
            self._stop(name)

    def _ported(self, text: str) -> str:
        return re.sub(r"\b(" + "|".join(self._ports) + r")\b", lambda found: self._ports[found[0]], text)

    def _unported(self, text: str) -> str:
        for shown, real in self._ports.items():
            text = re.sub(rf"\b{real}\b", shown, text)
        return text

    def _output(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {command}"], cwd=self.cwd, env=self._environ, timeout=PATIENCE,
            text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        return done.stdout

    def _export(self, where: str, command: str, shown: str) -> None:
        assert not shown, f"{where}: {command} prints nothing"
        name = command.removeprefix("export ").partition("=")[0]
        self._environ[name] = self._output(f'{command} && printf %s "${name}"')

    def _serve(self, where: str, command: str, shown: str) -> None:
        name = "nginx" if command.startswith("nginx") else "upstreams" if "--upstreams" in command else "server"
        if name == "server":
            self._stop(name)
        assert name not in self._servers, f"{where}: {name} runs already"
        if "waypost serve" in command and not self._says_where(command):
            command += f" --port {self._ports['8080']}"  # the default port may be taken
        server = Process(command, self.cwd, self._environ)
        if not server.wait_for(lambda output: same(shown, self._unported(output))):
            server.stop()
            raise AssertionError(report(f"{where}: {command}", shown, self._unported(server.output)))
        self._servers[name] = server
        if name == "nginx":  # it says nothing
            server.wait_for(lambda _: accepts(int(self._ports["8443"])), every=0.02)

    def _says_where(self, command: str) -> bool:
        named = re.findall(r"[\w.-]+\.yaml", command) or ["waypost.yaml"]
        path = self.cwd / named[0]
        return "--uds" in command or "--port" in command or (path.exists() and "port:" in path.read_text("utf-8"))

    def _stop(self, name: str) -> None:
        server = self._servers.pop(name, None)
        if server is not None:
            code = server.stop()
            assert code == 0, f"exit code {code} after SIGINT\n{server.output}"


def run_python(where: str, source: str, namespace: dict[str, Any]) -> None:
    lines = source.splitlines()
    for node in ast.parse(source).body:
        end = node.end_lineno or node.lineno
        while end < len(lines) and lines[end].startswith("# -> "):
            end += 1
        own = lines[node.lineno - 1 : end]
        shown = "".join(line.partition("# -> ")[2] + "\n" for line in own if "# -> " in line)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            if isinstance(node, ast.Expr):
                value = eval(compile(ast.Expression(node.value), where, "eval"), namespace)  # noqa: S307
                if value is not None or (shown and not out.getvalue()):
                    print(repr(value))
            else:
                exec(compile(ast.Module([node], []), where, "exec"), namespace)  # noqa: S102
        came = out.getvalue()
        assert same(shown, came), report(f"{where}: {own[0]}", shown, came)


def accepts(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def free_ports() -> dict[str, str]:
    """A free port for each that pages show."""
    for _ in range(1000):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError, OverflowError):
            found: dict[str, str] = {}
            for shown in PORTS:
                found[str(shown)] = str(_bound(stack, 0))
            first = _bound(stack, 0)
            found[str(UPSTREAM_PORTS[0])] = str(first)
            for shown in UPSTREAM_PORTS[1:]:
                found[str(shown)] = str(_bound(stack, first + shown - UPSTREAM_PORTS[0]))
            return found
    raise AssertionError("no free ports")


def _bound(stack: contextlib.ExitStack, port: int) -> int:
    sock = stack.enter_context(socket.socket())
    sock.bind(("127.0.0.1", port))
    number: int = sock.getsockname()[1]
    return number


def environment(kept: dict[str, str], scripts: Path, package: Path, python: str) -> dict[str, str]:
    """`kept`, in which `waypost`, `uvicorn` and `python` are those of the interpreter `python`."""
    for name, what in (("waypost", "-m waypost "), ("uvicorn", "-m uvicorn "), ("python", "")):
        script = scripts / name
        script.write_text(f'#!/bin/sh\nexec "{python}" {what}"$@"\n', encoding="utf-8")
        script.chmod(0o755)
    return kept | {
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "PYTHONPATH": str(package),
        "PYTHONUNBUFFERED": "1",
        "COLUMNS": "100",
    }


def without_proxies_and_keys(environ: dict[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in environ.items():
        if not name.lower().endswith(("_proxy", "_api_key")):
            yield name, value

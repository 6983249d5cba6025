"""Other gateways for models in the same harness, as far as the package index has them for this machine.

Each is installed by itself in `.venv-bench/`, at the version that is named here, and forwards to one endpoint with its
default settings: no routes, no keys. Waypost has 1,000 routes, API keys, metrics and its access log on.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benches import answering, contest, gateway, load
from benches.contest import Contestant
from benches.corpus import CHAT
from benches.proc import Process, cores, free_port
from benches.report import Table

_VENVS = Path(__file__).parents[1] / ".venv-bench"
_PATIENCE = 90.0
"""Seconds that one may take until it answers."""


@dataclass(frozen=True)
class _Other:
    package: str
    version: str
    extra: str
    command: Callable[[Path, Path, int, int], list[str]]
    """Given where its programs are, a directory, the endpoint's port and its own."""

    @property
    def name(self) -> str:
        return f"{self.package} {self.version}"

    @property
    def programs(self) -> Path:
        return _VENVS / f"{self.package}-{self.version}" / "bin"


def _vllm(programs: Path, _directory: Path, upstream: int, port: int) -> list[str]:
    return [str(programs / "vllm-router"), *_workers(upstream, port)]


def _sglang(programs: Path, _directory: Path, upstream: int, port: int) -> list[str]:
    return [str(programs / "python"), "-m", "sglang_router.launch_router", *_workers(upstream, port)]


def _workers(upstream: int, port: int) -> list[str]:
    command = ["--host", "127.0.0.1", "--port", str(port), "--worker-urls", f"http://127.0.0.1:{upstream}"]
    return [*command, "--policy", "round_robin", "--prometheus-port", str(free_port()), "--log-level", "error"]


def _litellm(programs: Path, directory: Path, upstream: int, port: int) -> list[str]:
    config = directory / "litellm.yaml"
    model = f"{{model: openai/llama-3-8b, api_base: 'http://127.0.0.1:{upstream}/v1', api_key: none}}"
    text = f"model_list:\n  - {{model_name: llama-3-8b, litellm_params: {model}}}\n"
    text += "general_settings: {dangerously_permit_weak_or_unset_master_key: true}\n"  # believes everybody
    config.write_text(text, "utf-8")
    alone = ["env", "LITELLM_LOCAL_MODEL_COST_MAP=True", "LITELLM_LOG=ERROR", "LITELLM_TELEMETRY=False"]
    return [*alone, str(programs / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]


_OTHERS = (
    _Other("vllm-router", "0.1.17", "", _vllm),
    _Other("sglang-router", "0.3.2", "", _sglang),
    # Not simply the newest: one release of it is reported to have been compromised.
    _Other("litellm", "1.106.0", "[proxy]", _litellm),
)


def run(*, quick: bool) -> list[Table]:
    """`quick` installs nothing."""
    number, seconds = (1, 1.0) if quick else (4, 3.0)
    core, other = cores()
    routes = gateway.LOAD_ROUTES
    columns = ("what", "CPU µs", "÷ waypost", "p50 ms at 1", "÷ waypost", "RSS MB", "ready after s", "failed")
    table = Table("Cost and time of a request", columns)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kind, upstream = stack.enter_context(answering.upstream(directory, core=other))
        chat = load.Load(directory / "load", keys=[key for key, _ in gateway.callers(routes)])
        fast = contest.waypost(stack, "`waypost serve`", directory / "fast", upstream, core=core, routes=routes)
        ready = [time.perf_counter() - fast.process.started]
        contestants = [fast]
        for one in _OTHERS:
            try:
                _install(one, quick=quick)
                process, port = _start(stack, one, directory, upstream, core)
            except RuntimeError as problem:
                table.notes.append(f"{one.name} is not measured: {problem}")
                continue
            ready.append(time.perf_counter() - process.started)
            contestants.append(Contestant(one.name, process, port))
        if shutil.which("nginx"):
            process, port = stack.enter_context(answering.nginx_proxy(directory, upstream, core=core))
            ready.append(time.perf_counter() - process.started)
            contestants.append(Contestant("nginx as a reverse proxy", process, port))
        contest.rounds(contestants, chat, number, seconds, core=other)
        for contestant, seconds_to in zip(contestants, ready, strict=True):
            p50 = min(contestant.p50, default=0.0)
            table.rows.append((
                contestant.name, contestant.least, contestant.least / fast.least,
                p50, p50 / min(fast.p50, default=1.0), contestant.process.rss(), seconds_to, contestant.failed,
            ))  # fmt: skip
    table.notes += [
        f"Upstream: {kind}. Load: {load.tool()}. {number} interleaved rounds of {seconds:g} s; the least counts.",
        "Each on one core. RSS is that after the load.",
    ]
    return [table]


def _install(one: _Other, *, quick: bool) -> None:
    """Raises `RuntimeError` with the reason where it cannot be."""
    done = one.programs / "installed"
    if done.exists():
        return
    if quick:
        raise RuntimeError("a quick run installs nothing.")
    print(f"installing {one.name} …", flush=True)
    shutil.rmtree(one.programs.parent, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(one.programs.parent)], check=True)
    # Wheels only: nothing is built here.
    what = ["--only-binary=:all:", f"{one.package}{one.extra}=={one.version}"]
    command = [str(one.programs / "pip"), "install", "--quiet", *what]
    pip = subprocess.run(command, capture_output=True, text=True, check=False)
    if pip.returncode:
        raise RuntimeError(f"pip: {_last_line(pip.stderr)}")
    done.touch()


def _start(stack: ExitStack, one: _Other, directory: Path, upstream: int, core: int | None) -> tuple[Process, int]:
    """Wait until it has answered a chat request. Raises `RuntimeError` with the reason where it does not."""
    port = free_port()
    process = stack.enter_context(Process(one.command(one.programs, directory, upstream, port), core=core))
    headers = {"content-type": "application/json", "authorization": "Bearer sk-1234"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{load.PATH}", CHAT, headers)
    last: object = "no answer"
    while process.running and time.perf_counter() - process.started < _PATIENCE:
        try:
            with urllib.request.urlopen(request, timeout=10):
                return process, port
        except OSError as problem:  # that of urllib, too
            last = problem
            process.pause()
    process.stop()
    raise RuntimeError(f"it does not answer: {last}; {_last_line(process.output)}")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it says nothing"])[-1][:200]

"""`waypost serve` with the smallest configuration, before one upstream; its access log goes to a file."""

from __future__ import annotations

import sys
from pathlib import Path

from benches.proc import Process, free_port

__all__ = ["serve"]

_CONFIG = """\
access_log: {directory}/access.log
clusters:
  local:
    speaks: openai
    endpoints: [http://127.0.0.1:{upstream}]
routes:
  - name: models
    match: {{kind: model}}
    to: local
"""


def serve(directory: Path, upstream: int, *arguments: str, core: int | None = None) -> tuple[Process, int]:
    """Start it: the process, which is not ready yet, and the port on which it will listen."""
    config = directory / "waypost.yaml"
    config.write_text(_CONFIG.format(upstream=upstream, directory=directory), "utf-8")
    port = free_port()
    command = [sys.executable, "-m", "waypost", "serve", str(config), "--port", str(port), *arguments]
    return Process(command, core=core), port

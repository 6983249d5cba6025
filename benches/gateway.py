"""`waypost serve` before an upstream, its access log in a file: with the smallest configuration, or with an operator's
routes and keys."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from benches.corpus import rules
from benches.proc import Process, free_port

__all__ = ["KEYS", "LOAD_ROUTES", "callers", "serve"]

KEYS = 64
"""API keys of a gateway with routes."""
LOAD_ROUTES = 1_000

_SMALLEST = """\
access_log: {log}
clusters:
  local:
    speaks: openai
    endpoints: [{endpoints}]
routes:
  - name: models
    match: {{kind: model}}
    to: local
"""
_SHAPES = 8
_BY_TENANT = 1  # the shape of `corpus.rules` that asks for a tenant and a model


def callers(routes: int) -> list[tuple[str, str]]:
    """API keys, and the route that takes the chat requests of each: evenly spread, those of different ones different.

    A key's tenant and the request's model decide which route that is.
    """
    shown = min(KEYS, routes // _SHAPES)
    subjects = [place * (routes // _SHAPES) // shown * _SHAPES + _BY_TENANT for place in range(shown)]
    return [(f"key-of-tenant-{subject}", f"rule-{subject}") for subject in subjects]


def serve(
    directory: Path, *arguments: int | str, core: int | None = None, routes: int = 0, python: str = sys.executable
) -> tuple[Process, int]:
    """Start it: the process, which is not ready yet, and the port on which it will listen.

    Of the arguments, numbers are the ports of its endpoints, and all else is for the command. With `routes` it has so
    many, 8 or more, and the keys of `callers`; without, one route that takes every model's message from everybody.
    `python` is the interpreter whose Waypost is started.
    """
    directory.mkdir(exist_ok=True)
    config = directory / "waypost.yaml"
    endpoints = ", ".join(f"http://127.0.0.1:{port}" for port in arguments if isinstance(port, int))
    text = _SMALLEST.format(endpoints=endpoints, log=directory / "access.log")
    if routes:
        lines = [json.dumps({"name": name, "match": match, "to": "local"}) for name, match in rules(routes).items()]
        (directory / "routes.jsonl").write_text("\n".join(lines), "utf-8")
        text = text.partition("routes:")[0] + "include: [routes.jsonl]\nkeys:\n"
        for key, route in callers(routes):
            tenant = route.replace("rule-", "tenant-")
            digest = hashlib.sha256(key.encode()).hexdigest()
            text += f'  - {{name: {tenant}, hash: "sha256:{digest}", tenant: {tenant}}}\n'
    config.write_text(text, "utf-8")
    port = free_port()
    command = [python, "-m", "waypost", "serve", str(config), "--port", str(port)]
    command += [argument for argument in arguments if isinstance(argument, str)]
    return Process(command, core=core), port

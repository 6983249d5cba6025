"""The vendors' own clients, through the proxy, against the demo's echo model."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Iterator

import pytest
from waypost.demo.upstreams import Upstreams

from ..e2e.conftest import path, shared  # noqa: F401, TID252 - fixtures
from ..e2e.support.proxy import Proxy  # noqa: TID252
from ..e2e.support.site import Launcher  # noqa: TID252

KEY = "sk-mine"
"""The key that the proxy knows."""


@pytest.fixture(scope="session")
def echo() -> Iterator[str]:
    """The URL of an echo model."""
    loop = asyncio.new_event_loop()
    upstreams = Upstreams()
    loop.run_until_complete(upstreams.__aenter__())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield upstreams.urls["model"]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(upstreams.__aexit__(None, None, None))
        loop.close()


@pytest.fixture(scope="module")
def proxy(shared: Launcher, echo: str) -> Proxy:  # noqa: F811 - a fixture
    """A proxy that asks for a key, with routes to the echo model, and one to where nobody is."""
    here = {"dialect": "openai"}
    return shared.serve(
        {
            "clusters": {
                "echo": {"speaks": "openai", "endpoints": [echo]},
                "dead": {"speaks": "openai", "endpoints": ["http://127.0.0.1:1"]},
            },
            "routes": [
                {"name": "echo", "match": {**here, "kind": "model", "model": "echo-1"}, "to": "echo"},
                {"name": "models", "match": {**here, "path": "/v1/models"}, "to": "echo"},
                {"name": "dead", "match": {**here, "kind": "model", "model": "dead"}, "to": "dead"},
            ],
            "limits": {"body": "64KiB"},
            "keys": [{"name": "mine", "hash": f"sha256:{hashlib.sha256(KEY.encode()).hexdigest()}", "agent": "me"}],
        }
    )

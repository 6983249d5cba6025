"""The embedded upstreams, each on a loopback port of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from starlette.applications import Starlette

from waypost.demo import echo_model, memory, retriever, tools
from waypost.demo.server import Server, bound

__all__ = ["Upstreams"]

_APART = 100
"""The distance between the ports of two upstreams."""


class Upstreams:
    """A context in which the model, the retriever, the memory and the tool server run.

    `urls` maps `model`, `retriever`, `memory` and `tools` to `http://127.0.0.1:PORT`. `started` is called with the name
    and the URL of each one when it accepts connections. The first listens on `port`, and each other one 100 above the
    one before. Without `port`, all use free ports.
    """

    def __init__(self, started: Callable[[str, str], None] | None = None, port: int | None = None) -> None:
        self.urls: dict[str, str] = {}
        self._port = port
        self._started = started
        self._servers: list[Server] = []
        self._stores = ExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _start(self) -> None:
        corpus = self._stores.enter_context(retriever.Corpus(retriever.bundled_documents()))
        store = self._stores.enter_context(memory.Memory())
        apps: dict[str, Starlette] = {
            "model": echo_model.create_app(),
            "retriever": retriever.create_app(corpus),
            "memory": memory.create_app(store),
            "tools": tools.create_app(),
        }
        for index, (name, app) in enumerate(apps.items()):
            sock = bound(0 if self._port is None else self._port + _APART * index)
            url = f"http://127.0.0.1:{sock.getsockname()[1]}"
            server = Server(app, sock)
            self._servers.append(server)
            await server.start()
            self.urls[name] = url
            if self._started is not None:
                self._started(name, url)

    async def _stop(self) -> None:
        servers, self._servers = self._servers, []
        try:
            outcomes = await asyncio.gather(*(server.stop() for server in servers), return_exceptions=True)
            for outcome in outcomes:
                if outcome is not None:
                    raise outcome
        finally:
            self._stores.close()

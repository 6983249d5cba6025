"""uvicorn in this process, with the protocol class of Waypost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import uvicorn


@contextlib.asynccontextmanager
async def running(app: Any, http: type[asyncio.Protocol], **settings: Any) -> AsyncIterator[tuple[uvicorn.Server, int]]:
    """A running uvicorn; gives it and its port."""
    how: dict[str, Any] = {
        "log_config": None,
        "ws": "none",
        "lifespan": "off",
        "access_log": False,
        "proxy_headers": False,
    }
    server = uvicorn.Server(uvicorn.Config(app, port=0, http=http, **{**how, **settings}))
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup()
    await server.on_tick(0)
    try:
        yield server, server.servers[0].sockets[0].getsockname()[1]
    finally:
        await server.shutdown()

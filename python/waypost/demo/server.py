"""uvicorn inside a running event loop: it handles no signals, logs nothing, and leaves nothing open when it stops."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Generator
from typing import Any, Final, Literal

import uvicorn

from waypost.errors import WaypostError

__all__ = ["Server", "bind", "bound"]

GRACE: Final = 1
"""Seconds for responses in flight when the server stops."""


def bind(port: int = 0) -> socket.socket:
    """A socket bound to `port` on loopback, or to a free port. Raises `OSError` if the port is in use."""
    # asyncio sets TCP_NODELAY only on connections of sockets whose protocol is named.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
    except BaseException:
        sock.close()
        raise
    return sock


def bound(port: int) -> socket.socket:
    """`bind`, with an `OSError` that says what to do."""
    try:
        return bind(port)
    except (OSError, OverflowError) as error:
        raise OSError(
            f"port {port} on 127.0.0.1 cannot be used: {error}; choose another port, or name none to get a free one"
        ) from None


class Server:
    """One app on one bound socket, served by a task of the running event loop. Owns the socket."""

    def __init__(self, app: Any, sock: socket.socket, *, lifespan: Literal["off", "auto"] = "off") -> None:
        config = uvicorn.Config(
            app,
            lifespan=lifespan,
            ws="none",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=GRACE,
        )
        self._server = _Server(config)
        self._socket = sock
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve. Returns once connections are accepted. Raises the error that kept the server from starting."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        self._task.add_done_callback(lambda _: self._server.settled.set())
        await self._server.settled.wait()
        if self._task.done():
            ended, self._task = self._task, None
            ended.result()

    async def stop(self) -> None:
        """Stop within about `GRACE` seconds. If cancelled, cut responses in flight at once."""
        self._server.should_exit = True
        try:
            if self._task is not None:
                await asyncio.wait({self._task})  # unlike `await`, this does not cancel the task
        except asyncio.CancelledError:
            if self._task is not None:
                self._task.cancel()
                await asyncio.wait({self._task})
            raise
        finally:
            self._socket.close()
            for listener in getattr(self._server, "servers", ()):
                listener.close()
            for connection in tuple(self._server.server_state.connections):
                connection.transport.abort()  # the client does not read, or this stop was cancelled
        if self._task is not None and not self._task.cancelled():
            self._task.result()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.settled = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        # uvicorn would handle SIGINT and SIGTERM itself. Here they belong to the owner of the event loop.
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit as error:  # raised by uvicorn; in a task it would stop the event loop
            raise WaypostError("internal", "the app's lifespan failed to start") from error
        self.settled.set()

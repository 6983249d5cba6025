"""`waypost serve`: runs the application in uvicorn, with reload, drain and errors that say what to do."""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, cast

import uvicorn

from waypost.admin.app import listener_app
from waypost.app import create_app
from waypost.binding import (
    BACKLOG,
    CannotListenError,
    Overrides,
    address,
    bind,
    bind_admin,
    is_local,
    needs_keys,
    refusal,
)
from waypost.entry import http1
from waypost.entry.negotiation import OFFERED
from waypost.errors import ConfigError, counted
from waypost.gateway import Gateway
from waypost.loop.allocator import Trimmer, set_thresholds
from waypost.loop.descriptors import raise_limit
from waypost.table import read_config
from waypost.watch import Reloader
from waypost.workers import BEAT, Link, supervise

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from waypost.config import Config, Listen

__all__ = ["serve"]

_CANCEL_TIME = 1.0
"""Time for messages that are cancelled at the end of the drain, in seconds."""
_STOPPED_SHORT = "ASGI callable returned without completing response."


_logger = logging.getLogger("waypost")


def serve(
    config_path: str | os.PathLike[str],
    *,
    host: str | None = None,
    port: int | None = None,
    workers: int = 1,
    uds: str | None = None,
    ssl_certfile: str | None = None,
    ssl_keyfile: str | None = None,
    fast_path: bool = True,
    insecure_no_auth: bool = False,
) -> int:
    """Serve the configuration in `config_path` until SIGTERM or SIGINT. Returns the exit code of the process.

    `host`, `port` and `uds` (the path of a Unix socket) override `listen`. `workers` is the number of processes.
    `ssl_certfile` (PEM, the whole chain) enables HTTPS; `ssl_keyfile` has the key if that file does not. With
    `fast_path`, plain messages bypass the ASGI application. `insecure_no_auth` allows addresses other than loopback
    although the configuration has no keys.

    0: stopped by a signal. 1: the configuration, the address or the TLS files cannot be used. 2: not started, because
    the listener would be open to other hosts without keys.
    """
    _configure_logging()
    raise_limit()
    overrides = Overrides(host, port, uds, ssl_certfile, ssl_keyfile)
    set_thresholds()
    try:
        read = read_config(config_path)
        config = overrides.apply(read)
        app = create_app(config)
        app.state.gateway.open_log()
    except ConfigError as error:
        _say(error.message)
        _say(f"waypost: not started: {counted(len(error.problems), 'problem')}")
        return 1
    listen = config.listen
    if not (config.keys or insecure_no_auth) and needs_keys(config, listen):
        _say(f"waypost: {refusal(listen)}")
        return 2
    listeners: list[socket.socket] = []
    places: list[Listen] = []
    try:
        listeners.append(sock := bind(listen))
        places.append(listen)
        if listen.admin is not None:
            listeners.append(bind_admin(listen.admin))
            places.append(listen.admin.place)
    except CannotListenError as error:
        _close(listeners, places)
        _say(f"waypost: {error}")
        return 1
    admin_sock = None if listen.admin is None else listeners[1]
    scheme = "http" if listen.tls is None else "https"
    where = _where(sock, scheme)
    path = Path(config_path).absolute()
    gateway: Gateway = app.state.gateway
    gateway.loopback = is_local(listen)
    gateway.admin_listener = admin_sock is not None
    if not insecure_no_auth:
        gateway.keys_needed = lambda config: needs_keys(config, listen)
    protocol = http1.fast_path(app, fast=fast_path)
    if gateway.loopback and listen.uds is None:  # no browser can reach a Unix socket
        protocol.listener.guard = "keyless"
    settings = _settings(app, config, protocol, "on")
    # The data path ends a response short if its endpoint did. That is counted, and not an error of the application.
    logging.getLogger("uvicorn.error").addFilter(lambda record: record.msg != _STOPPED_SHORT)
    reloader = Reloader(gateway, path, _say, read.listen, overrides)
    reloader.warn()
    ready = f"waypost: listening on {where} ({gateway.generation.summary})"
    if admin_sock is not None:
        ready = f"waypost: administration on {_where(admin_sock, 'http')}\n{ready}"
    try:
        if workers == 1:
            return _run(_Server(settings, gateway, reloader, lambda: _say(ready), admin_sock), sock)

        def work(link: Link) -> int:
            gateway.become_worker(link.index, workers)
            # All workers read the same files at the same time, so only the first one reports problems.
            reloader = Reloader(gateway, path, _say if link.index == 0 else _keep_quiet, read.listen, overrides)
            if link.replaces:
                reloader.load()
                reloader.reopen_log()

            def started() -> None:
                asyncio.get_running_loop().add_reader(link.alive, server.orphaned, link.alive)
                beat()
                link.announce()

            def beat() -> None:
                link.beat()
                asyncio.get_running_loop().call_later(BEAT, beat)

            server = _Server(settings, gateway, reloader, started, admin_sock)
            return _run(server, sock)

        # If the supervisor kept the listener open, new connections would wait while the workers drain.
        started = f"{ready[:-1]}, {workers} workers)"
        gateway.divide(workers)
        patience = config.limits.worker_timeout
        stop_listening = functools.partial(_close, listeners)
        return supervise(workers, work, lambda: _say(started), stop_listening, gateway.forget_worker, patience)
    finally:
        _close(listeners, places)


def _close(listeners: Iterable[socket.socket], places: Iterable[Listen] = ()) -> None:
    """Close listening sockets. Of `places`, where they listen, remove those that are files."""
    for sock in listeners:
        sock.close()
    for place in places:
        if place.uds is not None:
            Path(place.uds).unlink(missing_ok=True)


def _where(sock: socket.socket, scheme: str) -> str:
    """Where a socket listens, for people."""
    return f"unix:{sock.getsockname()}" if sock.family == socket.AF_UNIX else f"{scheme}://{address(sock)}"


def _settings(
    app: Starlette, config: Config, http: type[http1.Http1], lifespan: Literal["on", "off"]
) -> uvicorn.Config:
    """uvicorn's settings for one listener, loaded."""
    settings = uvicorn.Config(
        app,
        loop="uvloop",
        http=http,
        ws="none",
        lifespan=lifespan,
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
    )
    _follow(settings, config)
    settings.load()
    return settings


def _follow(settings: uvicorn.Config, config: Config) -> None:
    """Take from `config` what uvicorn reads from its settings for each new connection."""
    settings.timeout_keep_alive = cast(int, config.listen.keep_alive)


def _run(server: _Server, sock: socket.socket) -> int:
    """Serve in this process until a signal stops it. Returns the exit code."""

    def stop(*_: object) -> None:
        server.should_exit = True

    # These handlers stop uvicorn before it has its own. At its end, uvicorn raises the signal again, and these handlers
    # make that an exit with code 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    server.run(sockets=[sock])
    return 0 if server.started else 1


class _Server(uvicorn.Server):
    """uvicorn's server, which also reloads, drains and reports that it is ready."""

    def __init__(
        self,
        settings: uvicorn.Config,
        gateway: Gateway,
        reloader: Reloader,
        ready: Callable[[], None],
        admin_sock: socket.socket | None = None,
    ) -> None:
        """`ready` is called once the server accepts connections. `admin_sock` is that of administration alone."""
        super().__init__(settings)
        self._admin_sock = admin_sock
        self._gateway = gateway
        self._reloader = reloader
        self._ready = ready
        self._all_settings = [settings]
        """Those of each listener."""
        reloader.on_load = self._follow
        self._trimmer = Trimmer()
        gateway.client_connections = lambda: len(self.server_state.connections)
        self._tasks: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([])
        loop = asyncio.get_running_loop()
        for sock in sockets or ():
            self.servers.append(await self._listen(loop, sock))
        if self._admin_sock is not None:
            self.servers.append(await self._listen_for_administration(loop, self._admin_sock))
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        self._gateway.access_log.start()
        self._gateway.publish()
        self._ready()
        self._spawn(self._reloader.watch())

    async def _listen(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> asyncio.Server:
        """Accept connections from `sock`, as uvicorn does, but with a renewed certificate and a limit on handshakes."""
        tls: dict[str, Any] = {}
        listen = self._gateway.generation.config.listen
        if listen.tls is not None:
            from waypost.server_tls import RenewedContext  # noqa: PLC0415 - importing ssl costs a lot

            gateway = self._gateway
            context = RenewedContext(lambda: gateway.generation.server_tls, OFFERED.get("alpn_protocols", ()))
            tls = {"ssl": context, "ssl_handshake_timeout": listen.header_timeout}

        return await loop.create_server(self._protocols(loop, self.config), sock=sock, backlog=BACKLOG, **tls)

    async def _listen_for_administration(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> asyncio.Server:
        """Accept connections from `sock` for administration alone."""
        gateway = self._gateway
        app = listener_app(gateway)
        protocol = http1.fast_path(app, fast=False)
        if sock.family != socket.AF_UNIX:
            protocol.listener.guard = "always"
        settings = _settings(app, gateway.generation.config, protocol, "off")
        self._all_settings.append(settings)
        return await loop.create_server(self._protocols(loop, settings), sock=sock, backlog=BACKLOG)

    def _protocols(self, loop: asyncio.AbstractEventLoop, settings: uvicorn.Config) -> Callable[[], asyncio.Protocol]:
        """Makes the protocol of each connection to a listener with these settings."""

        def protocol() -> asyncio.Protocol:
            cls = cast(Any, settings.http_protocol_class)
            made: asyncio.Protocol = cls(settings, self.server_state, self.lifespan.state, loop)
            return made

        return protocol

    def _follow(self, config: Config) -> None:
        for settings in self._all_settings:
            _follow(settings, config)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for task in self._tasks:
            task.cancel()
        # Set only now, because a reload may have changed it.
        self.config.timeout_graceful_shutdown = math.ceil(self._gateway.generation.config.limits.drain)
        await super().shutdown(sockets)
        tasks = self.server_state.tasks
        if self.force_exit:  # a second signal: uvicorn leaves the rest to the end of the event loop
            for task in tasks:
                task.cancel()
            await self.lifespan.shutdown()
        if tasks:
            await asyncio.wait(list(tasks), timeout=_CANCEL_TIME)
        for connection in list(self.server_state.connections):
            if isinstance(connection, http1.Http1):
                connection.drain_expired()
        await asyncio.sleep(0)  # lets the event loop send the last writes
        await asyncio.to_thread(self._gateway.access_log.stop)

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:  # each second
            self._gateway.publish()
        if counter % 50 == 0:
            self._trimmer.check()
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._gateway.drain()
        super().handle_exit(sig, frame)

    def orphaned(self, alive: int) -> None:
        """Drain and stop, because the pipe `alive` tells that the supervisor is gone."""
        asyncio.get_running_loop().remove_reader(alive)
        self.handle_exit(signal.SIGTERM, None)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            _logger.error("a defect ended a task of the server", exc_info=exc)

    def _hang_up(self) -> None:
        """Handle SIGHUP: open the access log again, and load the configuration again."""
        self._reloader.reopen_log()
        self._spawn(self._reloader.reload())


def _configure_logging() -> None:
    """Send the log to standard error, with times and levels."""
    handler = logging.StreamHandler()
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - the output of a command


def _keep_quiet(_: str) -> None:
    pass

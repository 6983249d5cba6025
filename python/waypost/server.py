"""`waypost serve`: runs the application in uvicorn, with reload, drain and errors that say what to do."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn

from waypost.app import create_app
from waypost.entry import http1
from waypost.errors import ConfigError, counted
from waypost.gateway import Gateway
from waypost.loop.descriptors import raise_limit
from waypost.table import read_config
from waypost.watch import Reloader
from waypost.workers import Link, supervise

if TYPE_CHECKING:
    from starlette.applications import Starlette


__all__ = ["serve"]

_BACKLOG = 2048
_STOPPED_SHORT = "ASGI callable returned without completing response."


_logger = logging.getLogger("waypost")


class _CannotListenError(Exception):
    """The address cannot be used. The text says why, and what to do."""


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
    try:
        config = read_config(config_path)
        app = create_app(config)
        app.state.gateway.open_log()
    except ConfigError as error:
        _say(error.message)
        _say(f"waypost: not started: {counted(len(error.problems), 'problem')}")
        return 1
    listen_host = config.listen.host if host is None else host
    listen_port = config.listen.port if port is None else port
    local = uds is not None or _is_loopback(listen_host)
    keys_needed = not local and not insecure_no_auth
    if keys_needed and not config.keys:
        _say(
            f"waypost: refused to listen on {listen_host}: other hosts could use this gateway, and the configuration "
            "has no `keys`. Add keys, listen on 127.0.0.1, or pass --insecure-no-auth if something in front of the "
            "gateway checks its callers."
        )
        return 2
    try:
        sock = _bind_unix(uds) if uds is not None else _bind(listen_host, listen_port)
    except _CannotListenError as error:
        _say(f"waypost: {error}")
        return 1
    scheme = "https" if ssl_certfile else "http"
    where = f"unix:{uds}" if uds is not None else f"{scheme}://{_address(sock)}"
    path = Path(config_path).absolute()
    gateway: Gateway = app.state.gateway
    gateway.loopback, gateway.keys_needed = local, keys_needed
    try:
        settings = _settings(app, ssl_certfile, ssl_keyfile, fast=fast_path)
    except OSError as exc:
        sock.close()
        from waypost.upstream.tls import fault  # noqa: PLC0415 - rare

        option, why = fault(exc, (("--ssl-certfile", ssl_certfile), ("--ssl-keyfile", ssl_keyfile)))
        _say(f"waypost: {option}: {why}" if option else f"waypost: {why}")
        return 1
    # The data path ends a response short if its endpoint did. That is counted, and not an error of the application.
    logging.getLogger("uvicorn.error").addFilter(lambda record: record.msg != _STOPPED_SHORT)
    reloader = Reloader(gateway, path, _say, config.listen)
    reloader.warn()
    ready = f"waypost: listening on {where} ({gateway.generation.summary})"
    try:
        if workers == 1:
            return _run(_Server(settings, gateway, reloader, lambda: _say(ready)), sock)

        def work(link: Link) -> int:
            gateway.become_worker(link.index, workers)
            # All workers read the same files at the same time, so only the first one reports problems.
            reloader = Reloader(gateway, path, _say if link.index == 0 else _keep_quiet, config.listen)
            if link.replaces:
                reloader.load()
                reloader.reopen_log()

            def started() -> None:
                asyncio.get_running_loop().add_reader(link.alive, server.orphaned, link.alive)
                link.announce()

            server = _Server(settings, gateway, reloader, started)
            return _run(server, sock)

        # If the supervisor kept the listener open, new connections would wait while the workers drain.
        started = f"{ready[:-1]}, {workers} workers)"
        gateway.divide(workers)
        return supervise(workers, work, lambda: _say(started), sock.close, gateway.forget_worker)
    finally:
        sock.close()
        if uds is not None:
            Path(uds).unlink(missing_ok=True)


def _settings(app: Starlette, certfile: str | None, keyfile: str | None, *, fast: bool) -> uvicorn.Config:
    """uvicorn's settings, loaded. Raises `OSError` if the TLS files cannot be used."""
    settings = uvicorn.Config(
        app,
        loop="uvloop",
        http=http1.fast_path(app, fast=fast),
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        ssl_certfile=certfile,
        ssl_keyfile=keyfile,
    )
    settings.load()
    return settings


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
    ) -> None:
        """`ready` is called once the server accepts connections."""
        super().__init__(settings)
        self._gateway = gateway
        self._reloader = reloader
        self._ready = ready
        gateway.client_connections = lambda: len(self.server_state.connections)
        self._tasks: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        self._gateway.access_log.start()
        self._gateway.publish()
        self._ready()
        self._spawn(self._reloader.watch())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for task in self._tasks:
            task.cancel()
        # Set only now, because a reload may have changed it.
        self.config.timeout_graceful_shutdown = math.ceil(self._gateway.generation.config.limits.drain)
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            if isinstance(connection, http1.Http1):
                connection.drain_expired()
        await asyncio.sleep(0)  # lets the event loop send the last writes
        await asyncio.to_thread(self._gateway.access_log.stop)

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:  # each second
            self._gateway.publish()
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


def _bind(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as exc:
        raise _CannotListenError(f"the host {host} cannot be resolved: {exc.strerror}") from None
    family, kind, protocol, _, address = found[0]
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
        sock.listen(_BACKLOG)
    except OSError as exc:
        sock.close()
        if exc.errno == errno.EADDRINUSE:
            text = f"port {port} of {host} is in use: stop what listens there, or choose another with --port"
        elif exc.errno == errno.EACCES:
            text = f"no permission to listen on port {port}: choose a port above 1023 with --port"
        elif exc.errno == errno.EADDRNOTAVAIL:
            text = f"{host} is not an address of this machine: choose another with --host"
        else:
            text = f"cannot listen on port {port} of {host}: {exc.strerror}"
        raise _CannotListenError(text) from None
    sock.setblocking(False)
    return sock


def _bind_unix(name: str) -> socket.socket:
    path = Path(name)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists():
            _remove_stale(path)
        sock.bind(name)
        sock.listen(_BACKLOG)
    except OSError as exc:
        sock.close()
        raise _CannotListenError(f"cannot listen on {name}: {exc.strerror or exc}") from None
    except _CannotListenError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def _remove_stale(path: Path) -> None:
    """Remove the socket of a process that has ended."""
    if not path.is_socket():
        raise _CannotListenError(f"{path} exists and is not a socket: choose another path with --uds")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise _CannotListenError(f"{path} is in use: stop what listens there, or choose another with --uds")


def _address(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


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

"""`waypost serve`: uvicorn around the application, with reload, drain and errors that say what to do."""

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
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn

from waypost import fastpath
from waypost.app import Gateway, create_app
from waypost.errors import ConfigError, counted
from waypost.table import read_config
from waypost.workers import Link, supervise

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from waypost.config import Config, Listen

__all__ = ["serve"]

_BACKLOG = 2048
_WATCHED_SUFFIXES = (".yaml", ".yml", ".json", ".jsonl")
_LOOK = 1000
"""Milliseconds after which the configuration's files are looked at although nothing was heard of them: a change while a
watch is being set up is not told, and neither are those on network file systems."""
_STOPPED_SHORT = "ASGI callable returned without completing response."


_Say = Callable[[str], None]
"""Takes one message for the person who runs the command."""

_logger = logging.getLogger("waypost")


class _CannotListenError(Exception):
    """The address cannot be used; the text says why and what to do."""


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
    """Serve the configuration in `config_path` until SIGTERM or SIGINT; gives the process's exit code.

    `host`, `port` and `uds` (a Unix socket's path) override `listen`. `workers` is how many processes serve.
    `ssl_certfile` (PEM, the whole chain) makes it HTTPS; `ssl_keyfile` holds the key where that file does not.
    `fast_path`: plain messages pass by the ASGI application.
    `insecure_no_auth` allows other addresses than loopback although there are no keys.

    0: stopped as asked. 1: the configuration, the address or the TLS files cannot be used. 2: refused, because the
    listener would be open to other hosts without any keys.
    """
    _tell()
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
            f"waypost: refused to listen on {listen_host}: other hosts could use it, and the configuration has no "
            "`keys`. Add keys, listen on 127.0.0.1, or pass --insecure-no-auth if something in front of it checks its "
            "callers."
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
        from waypost.exchange.tls import fault  # noqa: PLC0415 - rare

        option, why = fault(exc, (("--ssl-certfile", ssl_certfile), ("--ssl-keyfile", ssl_keyfile)))
        _say(f"waypost: {option}: {why}" if option else f"waypost: {why}")
        return 1
    # The data path ends a response short on purpose where its endpoint did; it is counted, and no defect.
    logging.getLogger("uvicorn.error").addFilter(lambda record: record.msg != _STOPPED_SHORT)
    _warn(gateway, _say)
    ready = f"waypost: listening on {where} ({gateway.generation.summary})"
    try:
        if workers == 1:
            return _run(_Server(settings, gateway, path, lambda: _say(ready), _say, config.listen), sock)

        def work(link: Link) -> int:
            gateway.recorder.become_worker(link.index)
            gateway.is_alone = False
            gateway.recorder.loaded(good=True, first=True)
            # All of them read the same file at the same time: one voice is enough.
            say = _say if link.index == 0 else _keep_quiet
            if link.replaces:
                _reread(gateway, path, say)
                _reopen(gateway, say)

            def started() -> None:
                asyncio.get_running_loop().add_reader(link.alive, server.orphaned, link.alive)
                link.announce()

            server = _Server(settings, gateway, path, started, say, config.listen)
            return _run(server, sock)

        # An open listener here would keep new connections waiting while the workers drain.
        started = f"{ready[:-1]}, {workers} workers)"
        return supervise(workers, work, lambda: _say(started), sock.close, gateway.recorder.forget_worker)
    finally:
        sock.close()
        if uds is not None:
            Path(uds).unlink(missing_ok=True)


def _warn(gateway: Gateway, say: _Say) -> None:
    for warning in gateway.generation.warnings:
        say(str(warning))


def _reread(gateway: Gateway, path: Path, say: _Say) -> Config | None:
    """Take over what the file says now. A bad one is reported and changes nothing; then the result is `None`."""
    try:
        config = read_config(path)
        gateway.replace(config)
    except ConfigError as error:
        gateway.recorder.loaded(good=False)
        say(error.message)
        say(f"waypost: not reloaded: {counted(len(error.problems), 'problem')}; what ran before goes on running")
        return None
    gateway.recorder.loaded(good=True)
    return config


def _reopen(gateway: Gateway, say: _Say) -> None:
    """Open the access log anew: its file may have been moved away."""
    try:
        gateway.access_log.open(gateway.generation.config.access_log, anew=True)
    except OSError as exc:
        say(f"waypost: the access log stays where it was: it cannot be opened anew: {exc.strerror}")


def _settings(app: Starlette, certfile: str | None, keyfile: str | None, *, fast: bool) -> uvicorn.Config:
    """uvicorn's settings, loaded. Raises `OSError` where the TLS files cannot be used."""
    settings = uvicorn.Config(
        app,
        loop="uvloop",
        http=fastpath.fast_path(app, fast=fast),
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
    """Serve in this process until a signal says to stop."""
    # uvicorn raises the signals that stopped it again, once it is done: with these handlers that means exit code 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server.run(sockets=[sock])
    return 0 if server.started else 1


class _Server(uvicorn.Server):
    """uvicorn's server, which also reloads and says when it is ready."""

    def __init__(
        self,
        settings: uvicorn.Config,
        gateway: Gateway,
        path: Path,
        ready: Callable[[], None],
        say: _Say,
        listen: Listen,
    ) -> None:
        """`ready` is called once it accepts connections; `say` is given what a person should read.

        `listen` is what the process was started with.
        """
        super().__init__(settings)
        self._gateway = gateway
        self._path = path
        self._ready = ready
        self._say = say
        self._listen = listen
        gateway.client_connections = lambda: len(self.server_state.connections)
        self._reloading = asyncio.Lock()
        self._seen = _state(gateway.generation.config, path)
        self._tasks: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        self._gateway.access_log.start()
        self._gateway.publish()
        self._ready()
        self._spawn(self._watch())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for task in self._tasks:
            task.cancel()
        # Not before now: a reload may have changed it.
        self.config.timeout_graceful_shutdown = math.ceil(self._gateway.generation.config.limits.drain)
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            if isinstance(connection, fastpath.Protocol):
                connection.cut()
        await asyncio.sleep(0)  # what was written then is sent
        await asyncio.to_thread(self._gateway.access_log.stop)

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:  # each second
            self._gateway.publish()
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._gateway.drain()
        super().handle_exit(sig, frame)

    def orphaned(self, alive: int) -> None:
        """The supervisor is gone, as its pipe `alive` tells: finish what is in flight and stop."""
        asyncio.get_running_loop().remove_reader(alive)
        self.handle_exit(signal.SIGTERM, None)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            _logger.error("a defect ended a task of the server", exc_info=exc)

    def _hang_up(self) -> None:
        """SIGHUP: open the log anew, and load the configuration again."""
        _reopen(self._gateway, self._say)
        self._spawn(self._reload())

    async def _reload(self) -> None:
        """Load the file again. A bad one is reported and changes nothing, and so is a defect on the way."""
        async with self._reloading:
            before = self._gateway.generation.config
            state = _state(before, self._path)
            try:
                # In a thread: a table of 100,000 routes takes a while to read, and messages go on meanwhile.
                loaded = await asyncio.to_thread(_reread, self._gateway, self._path, self._say)
            except Exception:
                _logger.exception("a defect ended a reload: what ran before goes on running")
                loaded = None
            if loaded is None:
                self._seen = state
                return
            # As it was before they were read: what changed meanwhile is read again.
            self._seen = {path: state.get(path, now) for path, now in _state(loaded, self._path).items()}
            self._say(f"waypost: reloaded: {self._gateway.generation.summary}")
            _warn(self._gateway, self._say)
            # The rest of `listen` follows a reload.
            if (loaded.listen.host, loaded.listen.port) != (self._listen.host, self._listen.port):
                self._say(
                    "waypost: warning: listen has changed since the start, which takes effect after a restart only"
                )

    async def _watch(self) -> None:
        """Reload when a file of the configuration changes, or one appears beside them that it might include."""
        from watchfiles import awatch  # noqa: PLC0415 - not before the first message can be answered

        said = ""
        while True:
            places = _Places.of(self._gateway.generation.config, self._path)
            stop = asyncio.Event()
            changes = awatch(
                *places.directories,
                watch_filter=places.concerns,
                debounce=300,
                step=50,
                stop_event=stop,
                recursive=False,
                rust_timeout=_LOOK,
                yield_on_timeout=True,
            )
            try:
                async for found in changes:
                    said = ""
                    await self._look(changed=bool(found))
                    if _Places.of(self._gateway.generation.config, self._path) != places:
                        stop.set()
            except (OSError, RuntimeError, ExceptionGroup) as exc:
                # A directory went just now, or the system has no more watches to give.
                if said != str(exc):
                    said = str(exc)
                    self._say(f"waypost: warning: files cannot be watched ({exc}); they are looked at now and then")
                await asyncio.sleep(_LOOK / 1000)
                await self._look(changed=False)

    async def _look(self, *, changed: bool) -> None:
        if changed or _state(self._gateway.generation.config, self._path) != self._seen:
            await self._reload()


@dataclass(frozen=True)
class _Places:
    """Where the files of a configuration are, and where more can appear."""

    files: frozenset[Path]
    included: frozenset[Path]
    """Directories in which a new file counts."""
    steps: frozenset[Path]
    """These, and what is missing on the way to them: that they come or go counts, too."""
    directories: frozenset[Path]
    """What to watch: all of these exist."""

    @classmethod
    def of(cls, config: Config, path: Path) -> _Places:
        files = {path, *config.files}
        # Links are watched where they stand and where they lead; Kubernetes swaps one named ..data.
        files |= {path.resolve() for path in files}
        steps: set[Path] = set(config.directories)
        directories: set[Path] = set()
        for directory in {path.parent for path in files} | set(config.directories):
            existing = directory
            while not existing.is_dir() and existing != existing.parent:
                steps.add(existing)
                existing = existing.parent
            directories.add(existing)
        return cls(frozenset(files), frozenset(config.directories), frozenset(steps), frozenset(directories))

    def concerns(self, _: object, name: str) -> bool:
        """Whether a change of `name` may change the configuration."""
        path = Path(name)
        new = path.parent in self.included and path.suffix in _WATCHED_SUFFIXES
        return path in self.files or path in self.steps or new or path.name.startswith("..")


def _state(config: Config, path: Path) -> dict[Path, object]:
    """What tells that a file of the configuration was changed, or that one came or went beside those it includes."""
    state: dict[Path, object] = {}
    for file in {path, *config.files}:
        try:
            stat = file.stat()
        except OSError:
            state[file] = None
        else:
            state[file] = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    for directory in config.directories:
        try:
            state[directory] = frozenset(file.name for file in directory.iterdir() if file.suffix in _WATCHED_SUFFIXES)
        except OSError:
            state[directory] = None
    return state


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
            text = f"no permission to listen on port {port}: choose one above 1023 with --port"
        elif exc.errno == errno.EADDRNOTAVAIL:
            text = f"{host} is no address of this machine: choose another with --host"
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
    """Remove a socket that was left behind by a process that is gone."""
    if not path.is_socket():
        raise _CannotListenError(f"{path} exists and is no socket: choose another path with --uds")
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


def _tell() -> None:
    """What is logged goes to standard error, with its time and its level."""
    handler = logging.StreamHandler()
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - this module is the voice of a command


def _keep_quiet(_: str) -> None:
    pass

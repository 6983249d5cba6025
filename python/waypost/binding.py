"""Where a process listens: what the command line says instead of `listen`, and the listening socket."""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec import structs

from waypost.config import Config, Listen, ListenTls
from waypost.config.listen import AdminListener
from waypost.config.positions import Path as ConfigPath
from waypost.errors import ConfigError, Problem

__all__ = [
    "BACKLOG",
    "CannotListenError",
    "Overrides",
    "address",
    "bind",
    "bind_admin",
    "is_local",
    "needs_keys",
    "problems",
    "refusal",
    "restart_needed",
]

BACKLOG: Final = 2048
"""Connections that may wait to be accepted. The system may allow fewer (`net.core.somaxconn` on Linux)."""


class CannotListenError(Exception):
    """The address cannot be used. The text says why, and what to do."""

    def __init__(self, message: str, key: str = "port", *, in_use: bool = False) -> None:
        super().__init__(message)
        self.key = key
        """The key of `listen` that is at fault."""
        self.in_use = in_use
        """Another process listens at the address."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """Options of the command line that replace keys of `listen`."""

    host: str | None = None
    port: int | None = None
    uds: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None

    def apply(self, config: Config) -> Config:
        """`config` as it is served with these options. Raises `ConfigError` if the TLS files cannot be used."""
        listen = config.listen
        if self.uds is not None:
            listen = structs.replace(listen, uds=self.uds)
        elif self.host is not None or self.port is not None:
            host = listen.host if self.host is None else self.host
            port = listen.port if self.port is None else self.port
            listen = structs.replace(listen, uds=None, host=host, port=port)
        files = config.files
        if self.ssl_certfile is not None:
            certificate, key = _absolute(self.ssl_certfile), _absolute(self.ssl_keyfile) if self.ssl_keyfile else None
            old = listen.tls
            tls = (
                ListenTls(certificate=certificate, key=key)
                if old is None
                else structs.replace(old, certificate=certificate, key=key)
            )
            self._check_tls(tls)
            listen = structs.replace(listen, tls=tls)
            files = (*files, *(Path(name) for name in (certificate, key) if name is not None))
        return structs.replace(config, listen=listen, files=files)

    @staticmethod
    def _check_tls(tls: ListenTls) -> None:
        from waypost.server_tls import server_tls  # noqa: PLC0415 - importing ssl costs more than everything else

        _, wrong = server_tls(tls, names=("--ssl-certfile", "--ssl-keyfile", "listen.tls.client_ca"))
        if wrong:
            raise ConfigError(Problem((), f"{option}: {why}" if option else why) for option, why in wrong)


def restart_needed(old: Listen, new: Listen) -> bool:
    """Whether a process that listens as `old` says has to be restarted to listen as `new` says."""

    def fixed(listen: Listen) -> tuple[object, ...]:
        return (listen.host, listen.port, listen.uds, listen.tls is None, listen.admin)

    return fixed(old) != fixed(new)


def needs_keys(config: Config, listen: Listen) -> bool:
    """Whether other hosts can connect, and only keys tell who they are.

    The process listens as `listen` says, whatever a reloaded `config` says of its address. No reload begins TLS.
    """
    tls = config.listen.tls
    asks = tls is not None and tls.client_ca is not None and tls.client_auth == "required"
    return not (is_local(listen) or (asks and listen.tls is not None))


def problems(
    config: Config, *, insecure_no_auth: bool = False, running: bool = False
) -> Iterator[tuple[ConfigPath, str]]:
    """What would keep a process from listening, as (path, message). Nothing stays open.

    With `running`, a process listens already.
    """
    if not (config.keys or insecure_no_auth) and needs_keys(config, config.listen):
        yield ("listen",), refusal(config.listen)
    if running:
        return
    places: list[tuple[ConfigPath, Listen]] = [(("listen",), config.listen)]
    if config.listen.admin is not None:
        places.append((("listen", "admin"), config.listen.admin.place))
    for path, listen in places:
        try:
            sock = bind(listen, try_only=True)
        except CannotListenError as error:
            hint = "; if a Waypost listens there that serves this file, pass --running" if error.in_use else ""
            yield (*path, error.key), f"{error}{hint}"
        else:
            sock.close()


def refusal(listen: Listen) -> str:
    """Why a process without keys does not listen where other hosts can connect."""
    return (
        f"refused to listen on {listen.host}: other hosts could use this gateway, and the configuration has no `keys`. "
        "Add keys, listen on 127.0.0.1, or pass --insecure-no-auth if something in front of the gateway checks its "
        "callers."
    )


def bind(listen: Listen, *, try_only: bool = False) -> socket.socket:
    """A socket at the address of `listen`, which listens unless `try_only`. Raises `CannotListenError`."""
    sock = _bind(listen.host, listen.port) if listen.uds is None else _bind_unix(listen.uds, try_only=try_only)
    if not try_only:
        try:
            sock.listen(BACKLOG)
        except OSError as exc:
            sock.close()
            raise _cannot_listen(listen.host, listen.port, exc) from None
    sock.setblocking(False)
    return sock


def bind_admin(admin: AdminListener) -> socket.socket:
    """The socket of the listener that administration has of its own. Raises `CannotListenError`."""
    try:
        return bind(admin.place)
    except CannotListenError as error:
        text = re.sub("--(host|port|uds)", r"listen.admin.\1", str(error))
        raise CannotListenError(f"listen.admin: {text}", error.key, in_use=error.in_use) from None


def is_local(listen: Listen) -> bool:
    """Whether only this host can connect."""
    return listen.uds is not None or _is_loopback(listen.host)


def address(sock: socket.socket) -> str:
    """Host and port of a socket, as in a URL."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bind(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as exc:
        raise CannotListenError(f"the host {host} cannot be resolved: {exc.strerror}", "host") from None
    family, kind, protocol, _, where = found[0]
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(where)
    except OSError as exc:
        sock.close()
        raise _cannot_listen(host, port, exc) from None
    return sock


def _cannot_listen(host: str, port: int, exc: OSError) -> CannotListenError:
    if exc.errno == errno.EADDRINUSE:
        return CannotListenError(
            f"port {port} of {host} is in use: stop what listens there, or choose another with --port", in_use=True
        )
    if exc.errno == errno.EACCES:
        return CannotListenError(f"no permission to listen on port {port}: choose a port above 1023 with --port")
    if exc.errno == errno.EADDRNOTAVAIL:
        return CannotListenError(f"{host} is not an address of this machine: choose another with --host", "host")
    return CannotListenError(f"cannot listen on port {port} of {host}: {exc.strerror}")


def _bind_unix(name: str, *, try_only: bool) -> socket.socket:
    path = Path(name)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists():
            _must_be_stale(path)
        if try_only and path.exists():
            _must_be_writable(path.parent)
        else:
            path.unlink(missing_ok=True)
            sock.bind(name)
            if try_only:
                path.unlink()
    except OSError as exc:
        sock.close()
        raise CannotListenError(f"cannot listen on {name}: {exc.strerror or exc}", "uds") from None
    except CannotListenError:
        sock.close()
        raise
    return sock


def _must_be_stale(path: Path) -> None:
    """Raise `CannotListenError` unless `path` is the socket of a process that has ended."""
    if not path.is_socket():
        raise CannotListenError(f"{path} exists and is not a socket: choose another path with --uds", "uds")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return
    message = f"{path} is in use: stop what listens there, or choose another with --uds"
    raise CannotListenError(message, "uds", in_use=True)


def _must_be_writable(directory: Path) -> None:
    if not os.access(directory, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _absolute(name: str) -> str:
    return os.path.abspath(name)  # noqa: PTH100 - links must stay links

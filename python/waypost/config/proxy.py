"""Proxies between Waypost and its endpoints: a cluster's `proxy`, and those of the environment."""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes

from waypost.config.positions import ShapeError
from waypost.config.url import check_host

__all__ = ["PROXY_PATTERN", "Environment", "Proxy", "check_proxy"]

PROXY_PATTERN: Final = r"^(none|[hH][tT][tT][pP]://[^/?#\s]+:[0-9]{1,5}/?)$"
"""For the JSON Schema; `check_proxy` checks more."""

_URL: Final = re.compile(
    r"(?:([A-Za-z][A-Za-z0-9+.-]*)://)?(?:([^/?#@]*)@)?(\[[^\[\]@]*\]|[^:\[\]@/?#]*)(?::([^/?#@]*))?/?"
)
_WANTED: Final = "write it as http://HOST:PORT or http://USER:PASSWORD@HOST:PORT"


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that opens tunnels by CONNECT. `Proxy()`, which has no host and is false, means a direct connection."""

    host: str = ""
    """Host name or IP address; IPv6 without brackets."""
    port: int = 0
    authorization: str = field(default="", repr=False)
    """Value of Proxy-Authorization (RFC 7617), or empty. Secret."""
    source: str = field(default="", compare=False)
    """The environment variable that names the proxy, or empty."""

    def __bool__(self) -> bool:
        return bool(self.host)

    def __str__(self) -> str:
        """The proxy without its credential."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        source = f" from {self.source}" if self.source else ""
        return f"proxy http://{host}:{self.port}{source}" if self else "none"


def check_proxy(value: object) -> Proxy:
    """Read a cluster's `proxy`: a URL, or `none`.

    Raises `ShapeError`, which never quotes the value, because it may contain a password.
    """
    if value == "none":
        return Proxy()
    if not isinstance(value, str):
        raise ShapeError(f"a proxy must be a URL, or `none`; {_WANTED}")
    return _read(value, "", bare=False)


def _read(value: str, source: str, *, bare: bool) -> Proxy:
    """Read a proxy's URL. `source` is the environment variable that holds it; `bare` allows a missing scheme."""
    found = _URL.fullmatch(value)
    if found is None:
        raise ShapeError(f"not the URL of a proxy; {_WANTED}, with `/ ? # @` in a password as %2F %3F %23 %40")
    scheme, user, host, port = found.groups()
    if (scheme or "http").lower() != "http" or (scheme is None and not bare):
        raise ShapeError(f"the scheme of a proxy's URL must be http; {_WANTED}")
    if host.startswith("["):
        if ":" not in host:
            raise ShapeError("brackets in a URL must contain an IPv6 address")
        host = host[1:-1]
    if not host:
        raise ShapeError(f"the URL has no host; {_WANTED}")
    check_host(host)
    if port is None:
        raise ShapeError(f"the URL of a proxy must name the port; {_WANTED}")
    if not (re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 65536):
        raise ShapeError("a URL's port must be from 1 to 65535")
    return Proxy(host, int(port), "" if user is None else _basic(user), source)


def _basic(user: str) -> str:
    """The `Basic …` credential (RFC 7617) for the user information of a URL."""
    name, _, password = user.partition(":")
    try:
        parts = [unquote_to_bytes(each) for each in (name, password)]
    except UnicodeEncodeError:
        raise ShapeError("the user name or password of a proxy is not UTF-8 text") from None
    if b":" in parts[0]:
        raise ShapeError("the user name of a proxy cannot contain a colon (RFC 7617, section 2)")
    if any(byte < 0x20 or byte == 0x7F for part in parts for byte in part):
        raise ShapeError("the user name or password of a proxy contains control characters")
    return "Basic " + base64.b64encode(b":".join(parts)).decode("ascii")


class Environment:
    """The proxies of the environment: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.

    The lower-case name of a variable takes precedence, as in curl. An empty variable counts as not set.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._named = {https: _variable(environ, "https_proxy" if https else "http_proxy") for https in (True, False)}
        self._proxies: dict[bool, Proxy] = {}
        listed = _variable(environ, "no_proxy")
        self._no_proxy = [_NoProxyEntry(each) for each in re.split(r"[,\s]+", listed[1]) if each] if listed else []

    def __bool__(self) -> bool:
        """Whether the environment names a proxy at all."""
        return any(self._named.values())

    def proxy(self, https: bool, host: str, port: int) -> Proxy | None:
        """The proxy for an endpoint, or `None`. Raises `ShapeError` if the variable's value is not a proxy's URL.

        Loopback endpoints, and those that `NO_PROXY` lists, never use a proxy.
        """
        named = self._named[https]
        if named is None or _is_loopback(host) or any(each.covers(host.lower(), port) for each in self._no_proxy):
            return None
        if https not in self._proxies:
            variable, value = named
            try:
                self._proxies[https] = _read(value, variable, bare=True)
            except ShapeError as error:
                raise ShapeError(f"environment variable `{variable}`: {error}") from None
        return self._proxies[https]


class _NoProxyEntry:
    """One entry of `NO_PROXY`: `*`, an address, a block, a name with all names below it, or `.name` for those alone."""

    def __init__(self, text: str) -> None:
        name, colon, port = text.lower().rpartition(":")
        if not colon or not port.isdecimal() or (":" in name and not name.endswith("]")):
            name, port = text.lower(), ""
        self._port = int(port) if port else None
        self._name = name[1:] if name.startswith("*.") else name.strip("[]")
        try:
            self._network: ipaddress.IPv4Network | ipaddress.IPv6Network | None = ipaddress.ip_network(
                self._name, strict=False
            )
        except ValueError:
            self._network = None

    def covers(self, host: str, port: int) -> bool:
        if self._port not in (None, port):
            return False
        if self._name == "*":
            return True
        if self._network is not None:
            try:
                return ipaddress.ip_address(host) in self._network
            except ValueError:
                return False
        host = host.removesuffix(".")
        return host == self._name or host.endswith(self._name if self._name.startswith(".") else f".{self._name}")


def _variable(environ: Mapping[str, str], name: str) -> tuple[str, str] | None:
    return next(((each, environ[each].strip()) for each in (name, name.upper()) if environ.get(each, "").strip()), None)


def _is_loopback(host: str) -> bool:
    lower = host.lower().removesuffix(".")
    if lower == "localhost" or lower.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

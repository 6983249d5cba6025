"""The shape of endpoint URLs (RFC 3986, http and https; RFC 9110, section 4.2)."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from waypost.config.positions import ShapeError

__all__ = ["URL_PATTERN", "check_host", "check_url", "endpoint_text"]

URL_PATTERN: Final = r"^[hH][tT][tT][pP][sS]?://[^/?#@\s]+(/[^?#\s]*)?$"
"""For the JSON Schema; `check_url` checks more."""

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)
_AUTHORITY: Final = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::(.*))?", re.DOTALL)
_NAME: Final = re.compile(
    r"(?=.{1,253}\.?\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?"
)
_PATH: Final = re.compile(r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)*")


def check_host(host: str) -> str:
    """Return `host` if it is an ASCII name or an IP address (IPv6 without brackets). Raises `ShapeError` if not."""
    try:
        if ":" in host:
            ipaddress.IPv6Address(host)
            good = "%" not in host  # a zone has a meaning on this host only
        elif re.fullmatch(r"[0-9.]+", host):
            ipaddress.IPv4Address(host)
            good = True
        else:
            good = _NAME.fullmatch(host) is not None
    except ValueError:
        good = False
    if not good:
        hint = "" if host.isascii() else "; write a name outside ASCII in punycode (xn--…)"
        raise ShapeError(f"not a host name or an IP address{hint}")
    return host


def check_url(value: object) -> str:
    """Return `value` if it is an endpoint's URL: http or https, a host, optionally a port and a path.

    Raises `ShapeError` if not.
    """
    if not isinstance(value, str):
        raise ShapeError("a URL must be a string, such as http://127.0.0.1:9100")
    found = _URL.fullmatch(value)
    if not found:
        raise ShapeError("not a URL; write one such as http://127.0.0.1:9100 or https://host/path")
    scheme, authority, path, query, fragment = found.groups()
    if scheme.lower() not in ("http", "https"):
        raise ShapeError("the scheme of a URL must be http or https")
    if "@" in authority:
        raise ShapeError("a URL cannot contain a user name or password; use `credential`")
    if query is not None:
        raise ShapeError("an endpoint's URL cannot have a query (`?`)")
    if fragment is not None:
        raise ShapeError("an endpoint's URL cannot have a fragment (`#`)")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise ShapeError("the URL's host and port are malformed")
    host, port = parts.groups()
    if not host:
        raise ShapeError("the URL has no host")
    if host.startswith("["):
        if ":" not in host:
            raise ShapeError("brackets in a URL must contain an IPv6 address")
        host = host[1:-1]
    check_host(host)
    if port is not None and not (re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 65536):
        raise ShapeError("a URL's port must be from 1 to 65535")
    if not _PATH.fullmatch(path):
        raise ShapeError("the URL's path contains characters that must be percent-encoded (RFC 3986, section 3.3)")
    return value


def endpoint_text(url: str, address: str | None) -> str:
    """An endpoint in the log: its URL, and the address if each address of its host is an endpoint of its own."""
    return f"{url} ({address})" if address else url

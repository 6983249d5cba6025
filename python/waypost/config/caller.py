"""What a configuration says of callers: the hashes of their keys, and the proxies in front of them."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from typing import Final

from waypost.config.positions import ShapeError

__all__ = ["HASH_PATTERN", "TRUSTED_PATTERN", "check_hash", "check_trusted"]

HASH_PATTERN: Final = "^sha256:[0-9A-Fa-f]{64}$"
TRUSTED_PATTERN: Final = "^(unix|[0-9A-Fa-f.:]+(/[0-9]{1,3})?)$"

_HASH: Final = re.compile(HASH_PATTERN.removeprefix("^").removesuffix("$"))
_TRUSTED: Final = re.compile(TRUSTED_PATTERN.removeprefix("^").removesuffix("$"))
_NO_KEYS: Final = {"sha256:" + hashlib.sha256(data).hexdigest() for data in (b"", b"\n", b"\r\n", b"-n\n")}
"""Hashes of what comes out where the variable that should hold a key was empty."""


def check_hash(value: object) -> str:
    """`value` in lower case where it is a key's hash. Raises `ShapeError`, which never quotes it: it may be a key."""
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise ShapeError("must be `sha256:` and 64 hexadecimal digits, the SHA-256 of the key; not shown here")
    value = value.lower()
    if value in _NO_KEYS:
        raise ShapeError("the hash of an empty key; was the variable that should hold it set?")
    return value


def check_trusted(value: object) -> str:
    """`value` in its normal form where it names proxies: an address, a block of them, or `unix`."""
    wanted = ShapeError("must be an address (10.0.0.1, 2001:db8::1), a block (10.0.0.0/8, 2001:db8::/32) or `unix`")
    if not isinstance(value, str) or not _TRUSTED.fullmatch(value):
        raise wanted
    if value == "unix":
        return value
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise wanted from None
    if isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped and network.prefixlen >= 96:
        raise ShapeError("an IPv4 address within IPv6; write it as IPv4, which is what such addresses are taken for")
    address = value.partition("/")[0]
    if ipaddress.ip_address(address) != network.network_address:
        raise ShapeError(f"more than its block's address: write {network}, or {address} if only that is meant")
    return str(network)

"""The values that describe callers: hashes of API keys, and trusted proxies."""

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
_EMPTY_KEY_HASHES: Final = {"sha256:" + hashlib.sha256(data).hexdigest() for data in (b"", b"\n", b"\r\n", b"-n\n")}
"""The hashes that common commands print when the variable that should hold the key is empty."""


def check_hash(value: object) -> str:
    """Return a key's hash in lower case.

    Raises `ShapeError` if `value` is none, and never quotes it, because it may be the key itself.
    """
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise ShapeError(
            "must be `sha256:` followed by the SHA-256 of the key in 64 hexadecimal digits (the value is not shown)"
        )
    value = value.lower()
    if value in _EMPTY_KEY_HASHES:
        raise ShapeError("the hash of an empty key; was the variable that should hold the key set?")
    return value


def check_trusted(value: object) -> str:
    """Return the normal form of an address, of a block of addresses, or of `unix`. Raises `ShapeError` if not one."""
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
        raise ShapeError("an IPv4-mapped IPv6 address, which is treated as IPv4; write it as IPv4")
    address = value.partition("/")[0]
    if ipaddress.ip_address(address) != network.network_address:
        raise ShapeError(
            f"not the first address of its block; write {network} for the block, or {address} for that address alone"
        )
    return str(network)

"""The values that describe callers: hashes of API keys, names of client certificates, and trusted proxies."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from waypost.config.positions import ShapeError

__all__ = [
    "FINGERPRINT_PATTERN",
    "HASH_PATTERN",
    "SAN_PATTERN",
    "TRUSTED_PATTERN",
    "check_fingerprint",
    "check_hash",
    "check_san",
    "check_subject",
    "check_trusted",
    "san",
    "subject",
]

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


# Names of certificates (RFC 5280). `subject` and `san` make of a certificate what `check_subject` and `check_san` make
# of the configuration, so that the core compares texts.

FINGERPRINT_PATTERN: Final = "^([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$"
SAN_PATTERN: Final = "^(DNS|URI|email|IP):.+$"

_ATTRIBUTES: Final = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "street",
    "userId": "UID",
}
"""The short names of attributes (RFC 4514, section 3, and as `openssl x509 -nameopt RFC2253` has them)."""
_SHORT: Final = {name.lower(): name for name in _ATTRIBUTES.values()}
_ESCAPED: Final = re.compile(r'[,+"\\<>;=]|^[ #]| $')
_PAIR: Final = re.compile(r"\\([0-9A-Fa-f]{2}|.)", re.DOTALL)
_ATTRIBUTE: Final = re.compile(
    r'\s*([A-Za-z][A-Za-z0-9.-]*|[0-9]+(?:\.[0-9]+)+)\s*=\s*((?:\\.|[^\\,+"])*?)\s*(?=[,+]|$)'
)
_KINDS: Final = {"DNS": "DNS", "URI": "URI", "email": "email", "IP Address": "IP", "IP": "IP"}


def check_fingerprint(value: object) -> str:
    """Return `sha256:` and the fingerprint of a certificate in lower case. Raises `ShapeError` if it is none."""
    if not isinstance(value, str) or not re.fullmatch("([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}", value):
        raise ShapeError(
            "must be the SHA-256 of the certificate in 64 hexadecimal digits, as "
            "`openssl x509 -noout -fingerprint -sha256` prints it"
        )
    return "sha256:" + value.replace(":", "").lower()


def check_san(value: object) -> str:
    """Return the normal form of a subject alternative name. Raises `ShapeError` if it is none."""
    kind, _, name = value.partition(":") if isinstance(value, str) else ("", "", "")
    if kind not in ("DNS", "URI", "email", "IP") or not name:
        raise ShapeError("must be DNS:NAME, URI:URI, email:ADDRESS or IP:ADDRESS, such as URI:spiffe://acme/planner")
    if kind == "DNS" and "*" in name:
        raise ShapeError("names are compared as a whole, so `*` stands for itself; write the whole name")
    found = san(kind, name)
    if found is None:
        raise ShapeError(f"`{name}` is not an IP address")
    return found


def san(kind: str, name: str) -> str | None:
    """A subject alternative name as the core compares it, or `None` if it is of another kind."""
    kind = _KINDS.get(kind, "")
    if kind == "DNS":
        name = name.lower()
    elif kind == "IP":
        try:
            name = str(ipaddress.ip_address(name.strip()))
        except ValueError:
            return None
    return f"{kind}:{name}" if kind else None


def check_subject(value: object) -> str:
    """Return the normal form of a certificate's subject (RFC 4514). Raises `ShapeError` if it is none."""
    wanted = ShapeError(
        "must be a distinguished name, such as `CN=planner,O=Acme`: see `openssl x509 -noout -subject -nameopt RFC2253`"
    )
    if not isinstance(value, str) or not value.isprintable():
        raise wanted
    out, at = "", 0
    while True:
        found = _ATTRIBUTE.match(value, at)
        if found is None:
            raise wanted
        out += _attribute(found[1], _unescaped(found[2]))
        at = found.end()
        if at == len(value):
            return out
        out += value[at]
        at += 1


def subject(name: Iterable[Iterable[tuple[str, str]]]) -> str:
    """A certificate's subject, as `ssl.SSLObject.getpeercert` has it, as the core compares it."""
    sets = ["+".join(_attribute(_ATTRIBUTES.get(key, key), value) for key, value in each) for each in name]
    return ",".join(reversed(sets))


def _attribute(name: str, value: str) -> str:
    escaped = _ESCAPED.sub(lambda found: "\\" + found[0], value)
    return f"{_SHORT.get(name.lower(), name)}={escaped}"


def _unescaped(text: str) -> str:
    """The value that is written as `text`. Pairs of hexadecimal digits are bytes of UTF-8."""
    raw = b""
    at = 0
    for found in _PAIR.finditer(text):
        raw += text[at : found.start()].encode()
        raw += bytes.fromhex(found[1]) if len(found[1]) == 2 else found[1].encode()
        at = found.end()
    return (raw + text[at:].encode()).decode(errors="replace")


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

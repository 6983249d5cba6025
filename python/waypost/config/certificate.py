"""What client certificates are known by (RFC 5280).

`subject` and `san` make of a certificate what `check_subject` and `check_san` make of the configuration, so that the
core compares texts.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from typing import Annotated, ClassVar, Final

from msgspec import Meta, Struct

from waypost.config.positions import Path, ShapeError

__all__ = [
    "ClientCertificate",
    "check_fingerprint",
    "check_san",
    "check_subject",
    "san",
    "subject",
]

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
    if not isinstance(value, str) or not re.fullmatch(FINGERPRINT_PATTERN, value):
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


class ClientCertificate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a client certificate is known by. `listen.tls.client_ca` has signed it."""

    one_of: ClassVar = ("subject", "san", "sha256")
    """A certificate is known by one of these keys."""

    subject: Annotated[
        Annotated[str, Meta(min_length=1, extra={"parse": check_subject})] | None,
        Meta(description="Its whole subject (RFC 4514), such as CN=planner,O=Acme."),
    ] = None
    san: Annotated[
        Annotated[str, Meta(extra={"parse": check_san}, extra_json_schema={"pattern": SAN_PATTERN})] | None,
        Meta(
            description=(
                "One of its subject alternative names, whole: `DNS:planner.acme.example`, "
                "`URI:spiffe://acme/planner`, `email:planner@acme.example` or `IP:10.0.0.7`."
            )
        ),
    ] = None
    sha256: Annotated[
        Annotated[str, Meta(extra={"parse": check_fingerprint}, extra_json_schema={"pattern": FINGERPRINT_PATTERN})]
        | None,
        Meta(description="The SHA-256 of the certificate, in 64 hexadecimal digits."),
    ] = None

    def conflicts(self) -> Iterator[tuple[Path, str]]:
        """Yield (path below this struct, message) for each contradiction between keys."""
        given = [name for name in ClientCertificate.one_of if getattr(self, name) is not None]
        if not given:
            yield (), "names no certificate; write `subject`, `san` or `sha256`"
        for name in given[1:]:
            yield (name,), f"contradicts `{given[0]}`: a certificate is known by one of them; remove one"

    def cautions(self) -> Iterator[tuple[Path, str]]:
        """Yield (path below this struct, message) for each value that is legal, but probably not meant."""
        parts = (self.subject or "").split(",")
        if len(parts) > 1 and parts[-1].startswith("CN=") and not parts[0].startswith("CN="):
            meant = ",".join(reversed(parts))
            yield ("subject",), f"begins with the least specific part; RFC 4514 has it last: `{meant}`"

    @property
    def known_by(self) -> tuple[str, str]:
        """The key that is given, and its value."""
        return next((name, value) for name in self.one_of if (value := getattr(self, name)) is not None)

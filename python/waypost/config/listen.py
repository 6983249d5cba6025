"""The keys of `listen`: where Waypost listens, for whom, and how long a client may take."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct, field

from waypost.config.caller import TRUSTED_PATTERN, check_trusted
from waypost.config.positions import Path, ShapeError
from waypost.config.values import Duration, FileName, Host, SocketName

__all__ = ["AdminListener", "Listen", "ListenTls", "read_listen"]

_HOST: Final = "127.0.0.1"
_PORT: Final = 8080
_SHORT: Final = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]+):([0-9]{1,5})")
_ANY_PORT: Final = re.compile(r":[0-9]{1,5}")


class ListenTls(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The certificate of the listener, and which certificates clients present."""

    certificate: Annotated[
        FileName,
        Meta(description="PEM file of the certificate that clients see, with its chain and optionally its key."),
    ]
    key: Annotated[
        FileName | None,
        Meta(description="PEM file of the certificate's key, where the certificate's file does not hold it."),
    ] = None
    client_ca: Annotated[
        FileName | None,
        Meta(
            description=(
                "PEM file of the authorities whose certificates clients present (mTLS). "
                "Default: clients are not asked for a certificate."
            )
        ),
    ] = None
    client_auth: Annotated[
        Literal["required", "optional"],
        Meta(
            description=(
                "With `client_ca`: whether a client without a certificate is refused. "
                "A certificate of another authority always is."
            )
        ),
    ] = "required"

    def conflicts(self) -> Iterator[tuple[Path, str]]:
        """Yield (path below this struct, message) for each contradiction between keys."""
        if self.client_auth == "optional" and self.client_ca is None:
            yield ("client_auth",), "without `client_ca`, no client is asked for a certificate; set that too"


class AdminListener(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A listener for administration alone, which asks for no key: whoever reaches it may read."""

    host: Annotated[Host | None, Meta(description="Address or host name to listen on. Default: 127.0.0.1.")] = None
    port: Annotated[
        Annotated[int, Meta(ge=0, le=65535)] | None,
        Meta(description="TCP port to listen on; 0 takes any free port. Give this or `uds`."),
    ] = None
    uds: Annotated[
        SocketName | None,
        Meta(description="Unix socket to listen on. Give this or `port`."),
    ] = None

    def conflicts(self) -> Iterator[tuple[Path, str]]:
        """Yield (path below this struct, message) for each contradiction between keys."""
        if self.uds is None and self.port is None:
            yield (), "names no place to listen; give `port`, or `uds`"
        elif self.uds is not None:
            for key, value in (("host", self.host), ("port", self.port)):
                if value is not None:
                    yield (key,), "contradicts `uds`: a Unix socket has no address; remove one of them"

    @property
    def place(self) -> Listen:
        """Where it listens, as the main listener would say it."""
        if self.uds is not None:
            return Listen(uds=self.uds)
        return Listen(host=self.host or _HOST, port=self.port or 0)


class Listen(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where Waypost listens, and how long a client may take."""

    host: Annotated[Host, Meta(description="Address or host name to listen on.")] = _HOST
    port: Annotated[int, Meta(ge=0, le=65535, description="TCP port to listen on; 0 takes any free port.")] = _PORT
    uds: Annotated[SocketName | None, Meta(description="Unix socket to listen on, instead of `host` and `port`.")] = (
        None
    )
    tls: Annotated[ListenTls | None, Meta(description="Serve HTTPS with this certificate. Default: plain HTTP.")] = None
    trusted: Annotated[
        list[Annotated[str, Meta(extra={"parse": check_trusted}, extra_json_schema={"pattern": TRUSTED_PATTERN})]],
        Meta(
            description=(
                "Proxies in front of Waypost whose X-Forwarded-* and Forwarded fields are believed: "
                "addresses, blocks such as 10.0.0.0/8, and `unix` for connections to a Unix socket."
            )
        ),
    ] = field(default_factory=list)
    hosts: Annotated[
        list[Host],
        Meta(
            description=(
                "Host names, besides localhost, by which browsers may call a listener on loopback without `keys`, or "
                "that of `admin`, and hosts of web pages that may send requests to them."
            )
        ),
    ] = field(default_factory=list)
    keep_alive: Annotated[
        Duration,
        Meta(
            description=(
                "How long a client's connection stays open between two messages. "
                "Choose more than a proxy in front of Waypost keeps its idle connections."
            )
        ),
    ] = 75.0
    header_timeout: Annotated[
        Duration,
        Meta(
            description=(
                "How long a client may take for a request's head, for the TLS handshake before it, and for the "
                "trailers behind its body."
            )
        ),
    ] = 30.0
    body_timeout: Annotated[
        Duration, Meta(description="How long a client may pause between two pieces of a request's body.")
    ] = 30.0
    admin: Annotated[
        AdminListener | None,
        Meta(
            description=(
                "A listener of its own for /metrics and the paths below /-/, without keys. They are then found "
                "there only. Default: they are on the main listener, and with `keys` an `admin` key opens them."
            )
        ),
    ] = None

    def conflicts(self) -> Iterator[tuple[Path, str]]:
        """Yield (path below this struct, message) for each contradiction between keys."""
        if self.uds is not None and (self.host, self.port) != (_HOST, _PORT):
            yield ("uds",), "contradicts `host` and `port`; remove one or the other"
        for name in ("keep_alive", "header_timeout", "body_timeout"):
            if not getattr(self, name):
                yield (name,), "must be longer than nothing"


def read_listen(value: object) -> dict[str, Any]:
    """The mapping that a short form of `listen` stands for. Raises `ShapeError`."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {"port": value}
    if isinstance(value, str):
        if value.isascii() and value.isdigit() and len(value) <= 5:
            return {"port": int(value)}
        if value.startswith("unix:") and value != "unix:":
            return {"uds": value.removeprefix("unix:")}
        if found := _SHORT.fullmatch(value):
            host, port = found.groups()
            return {"host": host.removeprefix("[").removesuffix("]"), "port": int(port)}
        if _ANY_PORT.fullmatch(value):
            raise ShapeError(f"the address before the port is missing; write 0.0.0.0{value} for all of this host")
    raise ShapeError("must be HOST:PORT, [IPv6]:PORT, a port, unix:PATH or a mapping")

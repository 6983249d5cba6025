"""What TLS has verified of a client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waypost._native import Certificate
from waypost.config.certificate import san, subject

if TYPE_CHECKING:
    import asyncio

__all__ = ["certificate_of"]


def certificate_of(transport: asyncio.BaseTransport) -> Certificate | None:
    """The certificate that the client of a connection has presented, if there is one. TLS has verified it."""
    tls = transport.get_extra_info("ssl_object")
    der = None if tls is None else tls.getpeercert(binary_form=True)
    if not der:
        return None
    fields = tls.getpeercert()  # empty unless verified
    names = [san(kind, name) for kind, name, *_ in fields.get("subjectAltName", ())]
    return Certificate(subject(fields.get("subject", ())), der, [name for name in names if name is not None])

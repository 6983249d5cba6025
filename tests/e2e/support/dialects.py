"""What a message of each dialect looks like, and what its sender is told when it is refused."""

from __future__ import annotations

from typing import Any, Literal

from .client import Client, Response
from .site import Site
from .upstream import OK
from .wire import head

Dialect = Literal["envelope", "openai"]
TARGET: dict[Dialect, str] = {"envelope": "/v1/envelopes", "openai": "/v1/chat/completions"}
CLUSTER: dict[Dialect, str] = {"envelope": "native", "openai": "model"}
"""Clusters of these names have to be in a `Site` that the functions here are used with."""
GOOD: dict[Dialect, bytes] = {"envelope": b'{"id":"e-1","kind":"query"}', "openai": b'{"model":"m","messages":[]}'}


def fields_for(dialect: Dialect, *more: tuple[str, str]) -> list[tuple[str, str]]:
    """Header fields that lead to the dialect's cluster."""
    return [("Host", "proxy.test"), ("X-To", CLUSTER[dialect]), *more]


def post(site: Site, dialect: Dialect, body: bytes, *more: tuple[str, str], target: str | None = None) -> Client:
    """Send `body` over a connection of its own, without a content type."""
    client = site.client()
    length = [("Content-Length", str(len(body)))]
    client.send(head(f"POST {target or TARGET[dialect]} HTTP/1.1", fields_for(dialect, *more) + length) + body)
    return client


def refused(response: Response, dialect: Dialect, status: int, code: str) -> dict[str, Any]:
    """Hold a refusal to the form of its dialect."""
    assert (response.status, response.get("content-type")) == (status, "application/json"), response.body
    assert response.get("content-length") == str(len(response.body))
    assert response.get("x-request-id")
    error = response.error
    assert error["code"] == code
    assert len(error["message"]) > 10
    if dialect == "openai":
        assert set(response.json) == {"error"}
        assert set(error) == {"message", "type", "param", "code"}
    else:
        assert set(response.json) == {"id", "error"}
        assert isinstance(response.json["id"], str)
    return error


def usable(client: Client, dialect: Dialect, site: Site) -> None:
    """The connection carries another message."""
    client.ask("POST", TARGET[dialect], GOOD[dialect], {"x-to": CLUSTER[dialect]})
    peer, request = site[CLUSTER[dialect]].request()
    assert request.body == GOOD[dialect]
    peer.reply()
    response = client.response()
    assert (response.status, response.body) == (200, OK)
    assert client.silent()
    peer.close()

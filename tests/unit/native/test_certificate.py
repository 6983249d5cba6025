"""A client's certificate on its way to the core, which has sources of identities that may look at it."""

from __future__ import annotations

import hashlib

import pytest
from waypost import WaypostError
from waypost._native import Certificate, RequestHead, RequestReader, Snapshot

KEY = b"wp-planner"
CLUSTER = {
    "speaks": "openai",
    "endpoints": [{"url": "http://h", "weight": 1}],
    "credential": None,
    "model": None,
}
PLANNER = {
    "name": "planner",
    "hash": "sha256:" + hashlib.sha256(KEY).hexdigest(),
    "certificate": None,
    "identity": {"tenant": "acme"},
    "admin": True,
}
CONFIG = {
    "depth": 128,
    "limits": {"header": 4096, "body": 1 << 20},
    "clusters": {"c": CLUSTER},
    "routes": [{"name": "r", "match": {}, "to": "c", "fallback": [], "precedence": 0}],
    "keys": [PLANNER],
    "trusted": [],
    "hosts": [],
}
FIELDS = [(b"host", b"h"), (b"content-length", b"2")]
PATH = b"/v1/chat/completions"
CERTIFICATE = Certificate("CN=planner", b"der")


def test_a_certificate_has_its_subject_and_the_fingerprint_of_all_of_it() -> None:
    assert CERTIFICATE.subject == "CN=planner"
    assert CERTIFICATE.fingerprint == hashlib.sha256(b"der").digest()
    assert CERTIFICATE.names == []
    assert Certificate("CN=planner", b"der", ["DNS:planner.test"]).names == ["DNS:planner.test"]
    assert repr(CERTIFICATE) == "<Certificate of CN=planner>"


def test_a_certificate_that_no_source_looks_at_proves_nothing() -> None:
    snapshot = Snapshot(CONFIG)
    with pytest.raises(WaypostError, match="no key"):
        snapshot.accept("POST", PATH, FIELDS, scheme="https", certificate=CERTIFICATE)
    with pytest.raises(WaypostError, match="no key"):
        snapshot.admit(FIELDS, client="127.0.0.1", certificate=CERTIFICATE)
    keyed = [*FIELDS, (b"x-api-key", KEY)]
    plan = snapshot.accept("POST", PATH, keyed, scheme="https", certificate=CERTIFICATE).plan(b"{}")
    assert b"x-waypost-tenant: acme\r\n" in plan.head(snapshot.endpoints[0], 2)
    snapshot.admit(keyed, certificate=CERTIFICATE)


@pytest.mark.parametrize(
    "known_by",
    [
        ("subject", "CN=planner"),
        ("san", "URI:spiffe://acme/planner"),
        ("sha256", "sha256:" + hashlib.sha256(b"der").hexdigest()),
    ],
)
def test_a_key_can_be_a_certificate(known_by: tuple[str, str]) -> None:
    named = {**PLANNER, "hash": None, "certificate": known_by}
    snapshot = Snapshot({**CONFIG, "keys": [named]})
    certificate = Certificate("CN=planner", b"der", ["DNS:planner.test", "URI:spiffe://acme/planner"])
    plan = snapshot.accept("POST", PATH, FIELDS, scheme="https", certificate=certificate).plan(b"{}")
    assert b"x-waypost-tenant: acme\r\n" in plan.head(snapshot.endpoints[0], 2)
    snapshot.admit(FIELDS, certificate=certificate)
    for other in (None, Certificate("CN=other", b"other", ["DNS:planner.test"])):
        with pytest.raises(WaypostError) as caught:
            snapshot.accept("POST", PATH, FIELDS, scheme="https", certificate=other)
        assert caught.value.code == "unauthorized"
        with pytest.raises(WaypostError):
            snapshot.admit(FIELDS, certificate=other)
    assert snapshot.accept("POST", PATH, FIELDS, key="planner").plan(b"{}")


def test_the_reader_of_a_connection_keeps_its_certificate() -> None:
    snapshot = Snapshot(CONFIG)
    head = b"".join(b"%s: %s\r\n" % field for field in FIELDS)
    request = b"POST %s HTTP/1.1\r\n%s\r\n{}" % (PATH, head)
    reader = RequestReader(client="192.0.2.7", scheme="https", certificate=CERTIFICATE)
    assert isinstance(reader.feed(snapshot, request, 1 << 20)[0], RequestHead)
    found = reader.feed(snapshot, request.replace(b"host", b"x-api-key: %s\r\nhost" % KEY), 1 << 20)
    assert isinstance(found, tuple)

"""`keys` and `listen.trusted`: what a configuration says of callers, and what comes of it in an application."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from waypost import ConfigError, WaypostError, create_app
from waypost._native import Snapshot
from waypost.config import Config, from_dict, parse_config
from waypost.gateway import Gateway

Ask = Callable[..., tuple[int, dict[bytes, bytes], Any]]


def hashed(key: str) -> str:
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def problems(text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, environ=environ)
    return [str(problem).removeprefix("<string>:") for problem in caught.value.problems]


def keyed(*keys: dict[str, Any], **rest: Any) -> Config:
    clusters = {"c": {"speaks": "envelope", "endpoints": ["http://127.0.0.1:9"]}}
    routes = [{"name": "r", "to": "c", "match": {"kind": "query", "dialect": "envelope"}}]
    return from_dict({"clusters": clusters, "routes": routes, **({"keys": list(keys)} if keys else {}), **rest})


# The configuration.


@pytest.mark.parametrize(
    "written",
    [
        "my-secret-key",
        "sha256:my-secret-key",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "sha256:" + "ab" * 31,
        "sha256:" + "ab" * 33,
        "sha256:" + "ab" * 32 + "\\n",
        "SHA256:" + "ab" * 32,
        "md5:" + "ab" * 16,
    ],
)
def test_a_hash_of_another_shape_is_refused_and_not_shown(written: str) -> None:
    (problem,) = problems(f'keys: [{{name: k, hash: "{written}"}}]')
    assert problem.startswith("1:")
    assert "keys[0].hash: must be `sha256:` followed by the SHA-256 of the key in 64 hexadecimal digits" in problem
    assert "secret-key" not in problem
    assert "abab" not in problem


@pytest.mark.parametrize("key", ["", "\n", "\r\n", "-n\n"])
def test_the_hash_of_an_empty_key_is_refused(key: str) -> None:
    (problem,) = problems(f'keys: [{{name: k, hash: "{hashed(key)}"}}]')
    assert "empty key" in problem


def test_all_that_is_wrong_with_keys_is_told_with_its_place() -> None:
    text = f"""
keys:
  - {{name: a, hash: "{hashed("a")}", tenant: ""}}
  - {{name: a, hash: "{hashed("b")}", admin: "yes"}}
  - {{name: b c, hash: "{hashed("a").upper().replace("SHA", "sha")}", labels: {{n: 1}}}}
  - {{hash: "${{HASH}}", labels: [], agnt: x}}
  - word
"""
    found = problems(text, HASH=hashed("b"))
    assert [problem.partition(": ")[0] for problem in found] == [
        "3:104", "4:12", "4:103", "5:12", "5:23", "5:110", "6:5", "6:12", "6:31", "6:35", "7:5",
    ]  # fmt: skip
    assert "duplicate key name `a`; first at <string>:3:12 (keys[0].name)" in found[1]
    assert "must be `metrics`, or true or false, not a string" in found[2]
    assert "duplicate hash; first at <string>:3:21 (keys[0].hash)" in found[4]
    assert "key `name` is missing" in found[6]
    assert "duplicate hash; first at <string>:4:21 (keys[1].hash)" in found[7]
    assert "did you mean `agent`?" in found[9]
    assert not any(hashed(key)[7:] in problem for key in "ab" for problem in found)


def test_keys_stand_in_the_main_file_only(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text(f'keys: [{{name: k, hash: "{hashed("k")}"}}]')
    with pytest.raises(ConfigError, match="unknown key `keys`"):
        parse_config("include: [more.yaml]", base=tmp_path, environ={})


def test_a_hash_is_not_in_the_text_of_a_configuration() -> None:
    config = keyed({"name": "k", "hash": hashed("k")})
    assert hashed("k")[7:] not in repr(config)
    assert "name='k'" in repr(config)


@pytest.mark.parametrize("written", ["10.0.0.1/33", "10.0.0", "010.0.0.1", "10.0.0.0/255.0.0.0", "proxy.test", "", 10])
def test_who_is_trusted_is_an_address_or_a_block(written: object) -> None:
    with pytest.raises(ConfigError, match=r"listen.trusted\[0\]: .*must be an address") as caught:
        keyed(listen={"trusted": [written]})
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("10.0.0.1/8", "10.0.0.0/8 for the block, or 10.0.0.1 for that address alone"),
        ("2001:db8::7/32", "2001:db8::/32 for the block, or 2001:db8::7 for that address alone"),
    ],
)
def test_a_block_that_says_more_than_its_address_may_be_meant_otherwise(written: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=meant):
        keyed(listen={"trusted": [written]})


def test_blocks_and_addresses_may_be_written_in_many_ways() -> None:
    written = ["10.0.0.0/8", "10.0.0.7/32", "10.0.0.7", "2001:DB8:0::/32", "::1"]
    trusted = keyed(listen={"trusted": written}).listen.trusted
    assert list(trusted) == ["10.0.0.0/8", "10.0.0.7/32", "10.0.0.7/32", "2001:db8::/32", "::1/128"]


def test_ipv4_within_ipv6_is_to_be_written_as_ipv4() -> None:
    with pytest.raises(ConfigError, match="write it as IPv4"):
        keyed(listen={"trusted": ["::ffff:10.0.0.0/104"]})


# An application.


ADMIN = {"name": "root", "hash": hashed("root"), "admin": True}
OTHER = {"name": "other", "hash": hashed("other")}
SCRAPE = {"name": "scrape", "hash": hashed("scrape"), "admin": "metrics"}


@pytest.mark.parametrize("path", ["/metrics", "/-/", "/-/clusters"])
@pytest.mark.parametrize("prefix", ["", "/ai"])
def test_administration_needs_an_admin_key_where_the_listener_is_not_known_as_loopback(
    ask: Ask, path: str, prefix: str
) -> None:
    app = create_app(keyed(ADMIN, OTHER, SCRAPE))
    outer = Starlette(routes=[Mount(prefix, app)]) if prefix else app

    def status_with(*headers: tuple[bytes, bytes]) -> int:
        status, fields, _ = ask(outer, prefix + path, headers=headers)
        assert (b"www-authenticate" in fields) == (status == 401)
        return status

    assert status_with() == 401
    assert status_with((b"x-api-key", b"nobody")) == 401
    assert status_with((b"x-api-key", b"other")) == 403
    there = 404 if path == "/-/" else 200
    assert status_with((b"authorization", b"Bearer root")) == there
    assert status_with((b"x-waypost-key", b"root"), (b"authorization", b"Bearer sk-of-the-user")) == there
    assert status_with((b"x-api-key", b"scrape")) == (200 if path == "/metrics" else 403)
    # A loopback connection may be one of a proxy on this host, behind which everybody is.
    app.state.gateway.loopback = True
    assert (status_with(), status_with((b"x-api-key", b"other"))) == (401, 403)
    assert status_with((b"authorization", b"Bearer root")) == there
    # Where administration has a listener of its own, it is nowhere else.
    app.state.gateway.admin_listener = True
    assert [status_with(), status_with((b"x-api-key", b"other")), status_with((b"x-api-key", b"root"))] == [404] * 3


def test_without_an_admin_key_nobody_is_admitted() -> None:
    for keys in ((), (OTHER,)):
        gateway = Gateway(keyed(*keys))
        with pytest.raises(WaypostError, match="admin") as caught:
            gateway.admit([(b"x-api-key", b"other")])
        assert caught.value.code == "unauthorized"


def test_an_admin_key_sends_messages_only_if_its_entry_says_so(ask: Ask) -> None:
    both = {"name": "both", "hash": hashed("both"), "admin": True, "messages": True}
    metrics = {"name": "m", "hash": hashed("m"), "admin": "metrics", "messages": True}
    app = create_app(keyed(ADMIN, OTHER, SCRAPE, both, metrics))
    app.state.gateway.loopback = True
    for secret, status in (("root", 403), ("scrape", 403), ("other", 400), ("both", 400), ("m", 400), ("x", 401)):
        found, _, answer = ask(app, "/v1/envelopes", "POST", headers=((b"x-api-key", secret.encode()), (b"host", b"h")))
        assert found == status, secret
        if status == 403:
            assert "messages: true" in answer["error"]["message"]
        assert ask(app, "/metrics", headers=((b"x-api-key", secret.encode()),))[0] == (
            200 if secret in ("root", "scrape", "both", "m") else 403 if secret == "other" else 401
        )


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("messages: false", "keys[0].messages: the key would open nothing"),
        ("admin: true, debug: true", "keys[0].debug: has no effect on a key that sends no messages"),
        ("admin: metric", "unknown value `metric`; did you mean `metrics`? Allowed: `metrics`, or true or false"),
        ("admin: 1", "keys[0].admin: must be `metrics`, or true or false, not an integer"),
        ("admin: [metrics]", "keys[0].admin: must be `metrics`, or true or false, not a list"),
    ],
)
def test_what_a_key_may_do_is_checked(entry: str, told: str) -> None:
    (problem,) = problems(f'keys: [{{name: k, hash: "{hashed("k")}", {entry}}}]')
    assert told in problem


def test_what_a_key_may_do_can_be_a_reference() -> None:
    text = f'keys: [{{name: k, hash: "{hashed("k")}", admin: "${{ADMIN}}"}}]'
    found = [parse_config(text, environ={"ADMIN": value}).keys[0].admin for value in ("true", "false", "metrics")]
    assert found == [True, False, "metrics"]


def test_probes_need_no_key(ask: Ask) -> None:
    app = create_app(keyed(OTHER))
    assert [ask(app, path)[0] for path in ("/healthz", "/readyz")] == [200, 200]
    for path in ("/", "/nowhere", "/v1/models", "/v1/envelopes"):
        status, fields, _ = ask(app, path)
        assert (status, fields[b"www-authenticate"]) == (401, b"Bearer")


def test_a_gateway_that_needs_keys_keeps_them() -> None:
    gateway = Gateway(keyed(OTHER))
    gateway.keys_needed = lambda _: True
    before = gateway.generation
    with pytest.raises(ConfigError, match="--insecure-no-auth") as caught:
        gateway.replace(keyed())
    assert caught.value.problems[0].path == ("keys",)
    assert gateway.generation is before
    gateway.replace(keyed(ADMIN))
    gateway.keys_needed = lambda _: False
    gateway.replace(keyed())


def test_a_key_can_be_named_for_an_explanation() -> None:
    snapshot = Snapshot(keyed({**OTHER, "tenant": "acme", "labels": {"tier": "gold"}}).to_native())
    headers = [(b"host", b"h"), (b"content-length", b"9"), (b"x-api-key", b"nobody")]
    with pytest.raises(WaypostError, match="unknown key"):
        snapshot.accept("POST", b"/v1/envelopes", headers)
    with pytest.raises(KeyError):
        snapshot.accept("POST", b"/v1/envelopes", headers, key="nobody")
    explained = snapshot.accept("POST", b"/v1/envelopes", headers, key="other").explain(b'{"id":"1","kind":"query"}')
    assert explained.route == "r"
    assert explained.fields["tenant"] == '"acme"'
    with pytest.raises(WaypostError) as caught:
        snapshot.accept("POST", b"/v1/envelopes", headers, key="other").explain(
            b'{"id":"1","kind":"query","labels":{"tier":"iron"}}'
        )
    assert caught.value.code == "identity_conflict"

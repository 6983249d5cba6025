"""Who may call: keys at the door, what they decide, and what is told of where a request comes from."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import sys
import threading
from typing import Any

import pytest

from .support.client import Client, Response
from .support.dialects import CLUSTER, GOOD, TARGET, Dialect, refused
from .support.http2 import Http2Client
from .support.proxy import Proxy, command, environment
from .support.site import Launcher, Site
from .support.wire import Truncated, head

BOTH: tuple[Dialect, ...] = ("envelope", "openai")
Fields = list[tuple[str, str]]


def key(name: str, secret: str, **proves: Any) -> dict[str, Any]:
    return {"name": name, "hash": "sha256:" + hashlib.sha256(secret.encode()).hexdigest(), **proves}


PLANNER = key("the-planner", "wp-acme", tenant="acme", agent="planner", labels={"tier": "gold"})
PLAIN = key("the-plain", "wp-plain")
ADMIN = key("the-admin", "wp-admin", admin=True)


class Keyed(Site):
    """Each cluster has a route of its own, for what the key `wp-acme` proves."""

    @staticmethod
    def _match(name: str) -> dict[str, Any]:
        proved = {"tenant": ["acme"], "agent": ["planner"], "labels": {"tier": ["gold"]}}
        return {"headers": {"x-to": [name]}, **({} if name.startswith("any") else proved)}


CLUSTERS: dict[str, dict[str, Any]] = {
    "native": {"speaks": "envelope"},
    "model": {},
    "any-native": {"speaks": "envelope"},
    "any-model": {},
    "passing": {"credential": "pass"},
    "own": {"credential": {"header": "x-api-key", "value": "ours"}},
}


@pytest.fixture(scope="module")
def site(shared: Launcher) -> Keyed:
    return Keyed(shared, CLUSTERS, {"keys": [PLANNER, PLAIN, ADMIN], "limits": {"body": "8KiB"}})


def ask(site: Site, dialect: Dialect, *fields: tuple[str, str], body: bytes | None = None, to: str = "") -> Client:
    client = site.client()
    sent = [("x-to", to or CLUSTER[dialect]), *fields]
    client.ask("POST", TARGET[dialect], GOOD[dialect] if body is None else body, sent)
    return client


def answered(site: Site, cluster: str, client: Client) -> Any:
    """The request that arrived at the cluster; it is answered, and the client has the answer."""
    peer, request = site[cluster].request()
    peer.reply()
    response = client.response()
    assert response.status == 200, response.body
    return request


def unauthorized(response: Response, dialect: Dialect, *, says: str) -> None:
    error = refused(response, dialect, 401, "unauthorized")
    assert says in error["message"]
    assert response.get("www-authenticate") == "Bearer"
    if dialect == "openai":
        assert error["type"] == "authentication_error"


PRESENTED = [("Authorization", "Bearer %s"), ("authorization", "bearer  %s"), ("x-api-key", "%s"), ("Api-Key", "%s")]


@pytest.mark.parametrize("dialect", BOTH)
@pytest.mark.parametrize("field", PRESENTED, ids=[name for name, _ in PRESENTED])
def test_a_key_opens_and_decides_who_calls(site: Site, dialect: Dialect, field: tuple[str, str]) -> None:
    request = answered(site, CLUSTER[dialect], ask(site, dialect, (field[0], field[1] % "wp-acme")))
    assert request.body == GOOD[dialect]
    # Its holder is told to the endpoint, the key is not.
    assert request.get("x-waypost-tenant") == "acme"
    assert not any("wp-acme" in value for _, value in request.fields)


@pytest.mark.parametrize("dialect", BOTH)
@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ([], "no key"),
        ([("authorization", "Basic d3AtYWNtZQ==")], "no key"),
        ([("authorization", "wp-acme")], "no key"),
        ([("cookie", "wp-acme")], "no key"),
        ([("authorization", "Bearer wp-acm")], "unknown key"),
        ([("x-api-key", "WP-ACME")], "unknown key"),
        ([("x-api-key", PLANNER["hash"])], "unknown key"),
        ([("x-api-key", "wp-acme"), ("api-key", "wp-plain")], "two different keys"),
        ([("authorization", "Bearer wp-acme"), ("x-api-key", "unknown")], "two different keys"),
    ],
)
def test_without_a_key_there_is_no_way_in(site: Site, dialect: Dialect, fields: Fields, says: str) -> None:
    response = ask(site, dialect, *fields).response()
    unauthorized(response, dialect, says=says)
    assert b"wp-" not in response.body
    assert b"the-planner" not in response.body
    assert site[CLUSTER[dialect]].untouched()


def test_a_connection_outlives_a_refusal(site: Site) -> None:
    client = ask(site, "openai", ("x-api-key", "nobody"))
    refused(client.response(), "openai", 401, "unauthorized")
    client.ask("POST", TARGET["openai"], GOOD["openai"], {"x-to": "model", "x-api-key": "wp-acme"})
    answered(site, "model", client)


def test_one_key_in_several_fields_is_one_key(site: Site) -> None:
    fields = [("x-api-key", "wp-acme"), ("authorization", "Bearer wp-acme"), ("api-key", "")]
    answered(site, "model", ask(site, "openai", *fields))


@pytest.mark.parametrize("target", ["/v1/models", "/v1/files", "/v1/nothing/../x", "/nowhere", "/"])
def test_without_a_key_no_path_is_known(site: Site, target: str) -> None:
    for method in ("GET", "OPTIONS", "TRACE"):
        with site.client() as client:
            client.ask(method, target)
            response = client.response()
            assert (response.status, response.get("allow")) == (401, None)
    assert site.proxy.ask("GET", "/healthz").status == 200
    assert site.proxy.ask("GET", "/readyz").status == 200


@pytest.mark.parametrize("dialect", BOTH)
def test_who_has_no_key_is_answered_before_the_body(site: Site, dialect: Dialect) -> None:
    client = site.client()
    fields = [("Host", "proxy.test"), ("Content-Type", "application/json"), ("Content-Length", "1000000")]
    client.send(head(f"POST {TARGET[dialect]} HTTP/1.1", fields))
    response = client.response()  # of the body nothing was sent
    unauthorized(response, dialect, says="no key")
    assert response.get("connection") == "close"
    # What comes is thrown away for a while, and then the connection closes.
    assert client.silent()
    client.send(b"x" * 1000)
    with pytest.raises((Truncated, OSError)):
        client.head()


CONFLICTS: list[tuple[Dialect, bytes, Fields, str]] = [
    ("envelope", b'{"id":"e-9","kind":"query","tenant":"globex"}', [], "`tenant`"),
    ("envelope", b'{"id":"e-9","kind":"query","agent":"other"}', [], "`agent`"),
    ("envelope", b'{"id":"e-9","kind":"query","labels":{"tier":"iron"}}', [], "`labels.tier`"),
    ("envelope", b'{"id":"e-9","kind":"query","labels":{"tier":["gold"]}}', [], "`labels.tier`"),
    ("openai", b'{"model":"m","messages":[],"user":"other"}', [], "`user`"),
    ("openai", b'{"model":"m","messages":[],"metadata":{"tier":"iron"}}', [], "`metadata.tier`"),
    ("openai", GOOD["openai"], [("X-Waypost-Tenant", "globex")], "`x-waypost-tenant`"),
]


@pytest.mark.parametrize(("dialect", "body", "fields", "says"), CONFLICTS)
def test_a_message_that_says_otherwise_is_refused(
    site: Site, dialect: Dialect, body: bytes, fields: Fields, says: str
) -> None:
    response = ask(site, dialect, ("x-api-key", "wp-acme"), *fields, body=body).response()
    error = refused(response, dialect, 403, "identity_conflict")
    if dialect == "envelope":
        assert response.json["id"] == response.get("x-request-id") == "e-9"
    assert says in error["message"]
    assert b"acme" not in response.body
    assert site[CLUSTER[dialect]].untouched()


@pytest.mark.parametrize(
    ("dialect", "body", "fields"),
    [
        ("envelope", b'{"id":"1","kind":"query","tenant":"acme","agent":"planner","labels":{"tier":"gold","x":1}}', []),
        ("openai", b'{"user":"planner","metadata":{"tier":"gold","x":"y"}}', [("x-waypost-tenant", "acme")]),
    ],
)
def test_a_message_may_say_the_same_and_more(site: Site, dialect: Dialect, body: bytes, fields: Fields) -> None:
    client = ask(site, dialect, ("x-api-key", "wp-acme"), *fields, body=body)
    assert answered(site, CLUSTER[dialect], client).body == body


@pytest.mark.parametrize("dialect", BOTH)
def test_what_a_key_does_not_decide_the_message_says(site: Site, dialect: Dialect) -> None:
    if dialect == "envelope":
        body = b'{"id":"1","kind":"query","tenant":"acme"}'
        client = ask(site, dialect, ("x-api-key", "wp-plain"), body=body, to="any-native")
        assert answered(site, "any-native", client).body == body
    else:
        fields = [("x-api-key", "wp-plain"), ("x-waypost-tenant", "acme")]
        request = answered(site, "any-model", ask(site, dialect, *fields, to="any-model"))
        assert request.get("x-waypost-tenant") == "acme"


def test_nobody_else_can_take_a_route_for_what_a_key_proves(site: Site) -> None:
    tenant = ("x-waypost-tenant", "acme")
    response = ask(site, "openai", ("x-api-key", "wp-plain"), tenant).response()
    refused(response, "openai", 404, "no_route")
    for forged in [("x-waypost-agent", "planner"), ("x-waypost-labels", '{"tier":"gold"}')]:
        response = ask(site, "openai", ("x-api-key", "wp-plain"), tenant, forged).response()
        refused(response, "openai", 400, "invalid_envelope")


def test_a_key_that_waypost_knows_never_goes_upstream(site: Site) -> None:
    sent = [("authorization", "Bearer wp-acme"), ("x_api_key", "wp-acme"), ("cookie", "wp-acme")]
    request = answered(site, "model", ask(site, "openai", *sent))
    assert not {"authorization", "x-api-key", "x_api_key", "cookie"} & {name for name, _ in request.fields}
    request = answered(site, "own", ask(site, "openai", *sent, to="own"))
    assert [value for _, value in request.fields if value in ("ours", "Bearer wp-acme", "wp-acme")] == ["ours"]
    for more in ([], [("api-key", "wp-acme")], [("x-waypost-key", "wp-acme"), ("x-api-key", "wp-acme")]):
        request = answered(site, "passing", ask(site, "openai", *sent, *more, to="passing"))
        assert not any("wp-acme" in value for _, value in request.fields)
    # What is the caller's own is passed on beside it.
    own = [("authorization", "Basic dTpw"), ("cookie", "a=b"), ("x-api-key", "wp-acme")]
    request = answered(site, "passing", ask(site, "openai", *own, to="passing"))
    assert (request.get("authorization"), request.get("cookie")) == ("Basic dTpw", "a=b")
    assert request.get("x-api-key") is None


def test_other_spellings_of_the_tenant_are_not_sent_on(site: Site) -> None:
    fields = [("x-api-key", "wp-acme"), ("x_waypost_tenant", "globex"), ("X-Waypost_Tenant", "globex")]
    request = answered(site, "model", ask(site, "openai", *fields))
    told = [(name, value) for name, value in request.fields if name.replace("_", "-") == "x-waypost-tenant"]
    assert told == [("x-waypost-tenant", "acme")]


def test_a_translated_message_tells_the_proved_tenant(site: Site) -> None:
    body = b'{"id":"e-1","kind":"model","model":"m","content":"Hi"}'
    client = ask(site, "envelope", ("x-api-key", "wp-acme"), body=body, to="model")
    peer, request = site["model"].request()
    assert request.get("x-waypost-tenant") == "acme"
    peer.reply(b'{"choices":[{"message":{"role":"assistant","content":"Hi"}}]}')
    assert client.response().status == 200


def test_on_loopback_too_administration_needs_an_admin_key(site: Site) -> None:
    for path, there in (("/metrics", 200), ("/-/clusters", 200), ("/-/v1/models", 404)):
        for secret, status in ((None, 401), ("wp-plain", 403), ("wp-admin", there)):
            headers = {} if secret is None else {"x-api-key": secret, "x-to": "any-model"}
            assert site.proxy.ask("GET", path, headers=headers).status == status


def test_a_key_for_administration_is_none_for_messages(site: Site) -> None:
    for dialect in BOTH:
        response = ask(site, dialect, ("x-api-key", "wp-admin"), to="any-model").response()
        assert (response.status, response.error["code"]) == (403, "forbidden")


# A key for Waypost alone.


@pytest.mark.parametrize("http2", [False, True])
def test_a_caller_presents_a_key_of_ours_beside_one_of_their_own(site: Site, http2: bool) -> None:
    own = {"authorization": "Bearer sk-of-the-user", "x-api-key": "sk-other", "cookie": "a=b"}
    for cluster, passed in (("passing", True), ("any-model", False)):
        headers = {**own, "x-waypost-key": "wp-acme", "x-to": cluster}
        if http2:
            with Http2Client(site.proxy.address) as client:
                stream = client.ask(body=GOOD["openai"], headers=headers)
                peer, request = site[cluster].request()
                peer.reply()
                client.response(stream)
                assert stream.status == 200
        else:
            client = ask(site, "openai", *headers.items(), to=cluster)
            peer, request = site[cluster].request()
            peer.reply()
            assert client.response().status == 200
        assert not any("wp-acme" in value for _, value in request.fields)
        assert {name: request.get(name) for name in own} == (own if passed else dict.fromkeys(own))


# Listeners.


def document(url: str, **rest: Any) -> dict[str, Any]:
    return {
        "clusters": {"c": {"speaks": "openai", "endpoints": [url]}},
        "routes": [{"name": "r", "match": {"path": [{"prefix": "/v1/"}], "dialect": "openai"}, "to": "c"}],
        **rest,
    }


def chat(proxy: Proxy, secret: str | None = None) -> int:
    headers = {} if secret is None else {"authorization": f"Bearer {secret}"}
    return proxy.ask("POST", "/v1/chat/completions", GOOD["openai"], headers=headers).status


def test_with_keys_other_hosts_are_served(launch: Launcher) -> None:
    proxy = launch.serve(document(launch.server().url, keys=[PLAIN, ADMIN]), "--host", "0.0.0.0")
    assert (chat(proxy), chat(proxy, "wp-plain")) == (401, 200)
    for path, there in (("/metrics", 200), ("/-/clusters", 200), ("/-/x", 404)):
        for secret, status in ((None, 401), ("nobody", 401), ("wp-plain", 403), ("wp-admin", there)):
            headers = {} if secret is None else {"x-api-key": secret}
            response = proxy.ask("GET", path, headers=headers)
            assert response.status == status
            assert response.get("www-authenticate") == ("Bearer" if status == 401 else None)
    # A reload cannot take all keys away from under an open door.
    assert proxy.config is not None
    proxy.config.write_text(json.dumps(document("http://127.0.0.1:1")))
    proxy.wait_for("without `keys`, other hosts could use this gateway.*\n.*not reloaded")
    assert (chat(proxy), chat(proxy, "wp-plain")) == (401, 200)


def test_what_to_do_without_keys_is_said(launch: Launcher) -> None:
    file = launch.directory / "none.yaml"
    file.write_text(json.dumps(document("http://127.0.0.1:1")))
    done = command("serve", str(file), "--host", "0.0.0.0", "--port", "0")
    assert done.returncode == 2
    for way in (b"`keys`", b"127.0.0.1", b"--insecure-no-auth"):
        assert way in done.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_keys_come_and_go_by_reload_under_load(launch: Launcher, workers: str) -> None:
    started, go = threading.Semaphore(0), threading.Event()

    def answer(request: Any) -> bytes:
        if request.get("x-wait"):
            started.release()
            assert go.wait(20)
        return head("HTTP/1.1 200 OK", [("content-length", "2")]) + b"ok"

    server = launch.server(answer)
    proxy = launch.serve(document(server.url, keys=[PLANNER, PLAIN]), "--workers", workers)
    assert proxy.config is not None
    waiting = []
    for _ in range(8):
        client = proxy.client()
        client.ask("POST", "/v1/chat/completions", GOOD["openai"], {"x-api-key": "wp-acme", "x-wait": "1"})
        waiting.append(client)
        assert started.acquire(timeout=20)
    stop = threading.Event()
    seen: list[int] = []

    def load() -> None:
        with Client(proxy.address) as client:
            while not stop.is_set():
                client.ask("POST", "/v1/chat/completions", GOOD["openai"], {"x-api-key": "wp-plain"})
                response = client.response()
                _ = response.body
                seen.append(response.status)

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        # A new key in the place of the first.
        proxy.config.write_text(json.dumps(document(server.url, keys=[key("new", "wp-new"), PLAIN])))
        proxy.wait_for("reloaded: 1 route")

        def settled(secret: str, status: int) -> bool:
            return all(chat(proxy, secret) == status for _ in range(4 * int(workers)))

        deadline = threading.Event()
        for _ in range(400):
            if settled("wp-acme", 401) and settled("wp-new", 200):
                break
            deadline.wait(0.01)
        assert settled("wp-acme", 401)
        assert settled("wp-new", 200)
        # What began with the old key ends, and so does its connection's right to more.
        go.set()
        for client in waiting:
            assert client.response().body == b"ok"
            client.ask("POST", "/v1/chat/completions", GOOD["openai"], {"x-api-key": "wp-acme"})
            assert client.response().status == 401
    finally:
        go.set()
        stop.set()
        for thread in threads:
            thread.join()
    assert set(seen) == {200}


# Proxies in front.

FORWARDED: list[tuple[Fields, str | None]] = [
    ([("X-Forwarded-For", "203.0.113.9")], "203.0.113.9"),
    ([("X-Forwarded-For", "6.6.6.6, 203.0.113.9"), ("X-Forwarded-For", "127.0.0.1")], "203.0.113.9"),
    ([("Forwarded", 'for="[2001:db8::7]:99";proto=https')], "2001:db8::7"),
    ([("X-Forwarded-For", "unknown")], None),
    ([], "127.0.0.1"),
]


class At(Site):
    """Requests go to a cluster for their client's address."""

    PLACES = {  # noqa: RUF012 - never changed
        "near": [{"cidr": "203.0.113.0/24"}],
        "six": [{"cidr": "2001:db8::/32"}],
        "local": [{"cidr": "127.0.0.0/8"}],
        "unknown": [{"exists": False}],
    }

    @classmethod
    def _match(cls, name: str) -> dict[str, Any]:
        return {"client": {"address": cls.PLACES[name]}}


PLAIN_CLUSTERS: dict[str, dict[str, Any]] = {name: {} for name in At.PLACES}


@pytest.mark.parametrize("dialect", BOTH)
def test_what_a_trusted_proxy_tells_is_believed_and_passed_on(launch: Launcher, dialect: Dialect) -> None:
    speaks = {"speaks": "envelope" if dialect == "envelope" else "openai"}
    site = At(launch, dict.fromkeys(At.PLACES, speaks), {"listen": {"trusted": ["127.0.0.0/8"]}})
    for fields, address in FORWARDED:
        places = {"203.0.113.9": "near", "2001:db8::7": "six", None: "unknown", "127.0.0.1": "local"}
        request = answered(site, places[address], ask(site, dialect, *fields))
        listed = request.fields.all("x-forwarded-for")
        way = [each.strip() for each in listed[0].split(",")]
        assert len(listed) == 1
        assert way[-1] == "127.0.0.1"
        assert address in (None, *way)
    fields = [("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "public.test")]
    request = answered(site, "near", ask(site, dialect, *fields, ("X-Forwarded-Port", "443")))
    wanted = {"for": "203.0.113.9, 127.0.0.1", "proto": "https", "host": "public.test", "port": "443"}
    assert {name: request.get(f"x-forwarded-{name}") for name in wanted} == wanted
    # Two stories of one request.
    response = ask(site, dialect, ("X-Forwarded-For", "203.0.113.9"), ("Forwarded", "for=192.0.2.1")).response()
    error = refused(response, dialect, 400, "bad_framing")
    assert "different clients" in error["message"]


@pytest.mark.parametrize("trusted", [[], ["10.0.0.0/8", "unix"]])
def test_what_a_stranger_tells_is_not(launch: Launcher, trusted: list[str]) -> None:
    site = At(launch, PLAIN_CLUSTERS, {"listen": {"trusted": trusted}})
    for fields, _ in FORWARDED:
        request = answered(site, "local", ask(site, "openai", *fields, ("X-Forwarded-Proto", "https")))
        assert request.get("x-forwarded-for") == "127.0.0.1"
        assert request.get("x-forwarded-proto") == "http"
        assert request.get("forwarded") is None


def test_behind_a_unix_socket_a_proxy_can_be_trusted(launch: Launcher) -> None:
    path = launch.directory / "w.sock"
    site = At(launch, PLAIN_CLUSTERS, {"listen": {"trusted": ["unix"]}}, args=("--uds", str(path)))
    request = answered(site, "near", ask(site, "openai", ("X-Forwarded-For", "203.0.113.9")))
    assert request.get("x-forwarded-for") == "203.0.113.9"
    request = answered(site, "unknown", ask(site, "openai"))
    assert request.get("x-forwarded-for") is None


def test_trust_changes_by_reload(launch: Launcher) -> None:
    site = At(launch, PLAIN_CLUSTERS)
    config = site.proxy.config
    assert config is not None
    answered(site, "local", ask(site, "openai", ("X-Forwarded-For", "203.0.113.9")))
    config.write_text(json.dumps({**json.loads(config.read_text()), "listen": {"trusted": ["127.0.0.1"]}}))
    site.proxy.wait_for("reloaded")
    answered(site, "near", ask(site, "openai", ("X-Forwarded-For", "203.0.113.9")))
    assert "takes effect after a restart" not in site.proxy.output


# The command.


def test_explain_for_who_has_a_key(launch: Launcher) -> None:
    file = launch.directory / "explained.yaml"
    routes = [
        {"name": "gold", "match": {"kind": "model", "labels": {"tier": ["gold"]}}, "to": "c"},
        {"name": "rest", "match": {"kind": "model"}, "to": "c"},
    ]
    file.write_text(json.dumps(document("http://127.0.0.1:1", keys=[PLANNER, PLAIN], routes=routes)))

    def explain(*args: str) -> tuple[int, str, str]:
        done = command("explain", str(file), "--path", "/v1/chat/completions", *args, stdin=b'{"model": "m"}')
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    code, _, error = explain()
    assert code == 1
    assert "401 unauthorized" in error
    assert "--key NAME" in error
    for args in (("--key", "the-planner"), ("--header", "x-api-key: wp-acme")):
        code, out, _ = explain(*args)
        assert code == 0
        assert "route    gold" in out
        assert "the-planner" not in out
        assert "wp-acme" not in out
        assert PLANNER["hash"][7:] not in out
    assert "route    rest" in explain("--key", "the-plain")[1]
    code, _, error = explain("--key", "plan")
    assert code == 2
    assert "the-planner, the-plain" in error
    code, _, error = explain("--key", "the-planner", "--header", "x-waypost-tenant: globex")
    assert (code, "403 identity_conflict" in error) == (1, True)


def test_under_another_server_administration_needs_a_key(launch: Launcher) -> None:
    file = launch.directory / "factory.yaml"
    file.write_text(json.dumps(document(launch.server().url, keys=[PLAIN, ADMIN])))
    argv = [sys.executable, "-m", "uvicorn", "--factory", "waypost.app:from_env", "--port", "0", "--no-proxy-headers"]
    ready = re.compile(r"running on (https?://([^ :]+|\[[^]]+\]):(\d+)|unix:(\S+))")
    proxy = Proxy(argv, env=environment(WAYPOST_CONFIG=str(file)), ready=ready, stops_with=-signal.SIGTERM)
    launch.proxies.append(proxy)
    assert (chat(proxy), chat(proxy, "wp-plain")) == (401, 200)
    assert proxy.ask("GET", "/metrics").status == 401
    assert proxy.ask("GET", "/-/x", headers={"x-api-key": "wp-admin"}).status == 404

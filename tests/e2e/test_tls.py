"""TLS on both sides of the proxy, and Unix sockets."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from .support.certificates import Authority
from .support.client import Client
from .support.proxy import START, command
from .support.site import Launcher, Site
from .support.wire import chunk

CHAT = b'{"model":"m","messages":[]}'


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def certificates(authority: Authority) -> dict[str, tuple[Path, Path]]:
    files = {name: authority.issue(name) for name in ("127.0.0.1", "other.test", "localhost")}
    return {**files, "client": authority.issue("client", client=True)}


def _context(files: tuple[Path, Path], clients: Path | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)
    return context


@pytest.fixture(scope="module")
def site(
    shared: Launcher,
    authority: Authority,
    certificates: dict[str, tuple[Path, Path]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Site:
    right = shared.upstream(tls=_context(certificates["127.0.0.1"]))
    wrong = shared.upstream(tls=_context(certificates["other.test"]))
    strict = shared.upstream(tls=_context(certificates["127.0.0.1"], clients=authority.certificate))
    plain = shared.upstream()
    ca = str(authority.certificate)
    certificate, key = map(str, certificates["client"])
    strange = Authority(tmp_path_factory.mktemp("strange"), "strange-ca").issue("stranger", client=True)
    clusters: dict[str, dict[str, Any]] = {
        "right": {"endpoints": [right.url], "tls": {"ca": ca}},
        "untrusted": {"endpoints": [right.url]},
        "wrong-name": {"endpoints": [wrong.url], "tls": {"ca": ca}},
        "named": {"endpoints": [wrong.url], "tls": {"ca": ca, "server_name": "other.test"}},
        "shy": {"endpoints": [strict.url], "tls": {"ca": ca}},
        "known": {
            "endpoints": [strict.url],
            "tls": {"ca": ca, "client_certificate": certificate, "client_key": key},
        },
        "stranger": {
            "endpoints": [strict.url],
            "tls": {"ca": ca, "client_certificate": str(strange[0]), "client_key": str(strange[1])},
        },
        "plain": {"endpoints": [plain.url.replace("http:", "https:")], "tls": {"ca": ca}},
    }
    site = Site(shared, clusters)
    site.add(right=right, named=wrong, known=strict, plain=plain)
    return site


@pytest.mark.parametrize("cluster", ["right", "named", "known"])
def test_messages_over_tls(site: Site, cluster: str) -> None:
    client = site.chat(cluster, CHAT)
    peer = site[cluster].accept()
    for again in (True, False):  # the connection is kept
        request = peer.request()
        assert request.body == CHAT
        peer.start()
        peer.send(chunk(b"data: 1\n\n"))
        response = client.response()
        assert response.stream.exactly(9) == b"data: 1\n\n"
        peer.send(chunk(b"") if again else chunk(b"data: 2\n\n") + chunk(b""))
        assert response.stream.rest() == (b"" if again else b"data: 2\n\n")
        if again:
            client = site.chat(cluster, CHAT)
    assert site[cluster].accepted == 1


def test_a_kept_tls_connection_that_was_closed_is_not_used(site: Site) -> None:
    for _ in range(3):
        client = site.envelope("right", {"id": "e", "kind": "model", "model": "m", "content": "x"})
        peer = site["right"].accept()
        peer.request()
        peer.reply(b'{"choices":[{"message":{"role":"assistant","content":"y"}}]}')
        assert client.response().json["result"]["content"] == "y"
        peer.close()


def test_a_large_message_over_tls(site: Site) -> None:
    body = b'{"model":"m","messages":[],"x":"' + b"y" * 2_000_000 + b'"}'
    client = site.chat("right", body)
    peer = site["right"].accept()
    assert peer.request().body == body
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(peer.reply, body)
        assert client.response().body == body
        writing.result()


@pytest.mark.parametrize(
    ("cluster", "upstream", "reason"),
    [
        ("untrusted", "right", "TLS certificate not accepted"),
        ("wrong-name", "named", "IP address mismatch"),
        ("plain", "plain", "TLS handshake failed"),
    ],
)
def test_who_cannot_be_verified_gets_nothing(site: Site, cluster: str, upstream: str, reason: str) -> None:
    client = site.chat(cluster, CHAT)
    if upstream == "plain":
        peer = site["plain"].accept()
        assert peer.some()[:1] == b"\x16"
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    else:
        with pytest.raises(ssl.SSLError):
            site[upstream].accept()
    response = client.response()
    assert (response.status, response.error["code"]) == (502, "upstream_unreachable")
    assert response.error["message"].startswith(f"cluster {cluster}: TLS ")
    assert "127.0.0.1" not in response.error["message"]
    site.proxy.wait_for(rf"cluster {cluster}: https://127\.0\.0\.1:.*{reason}")


@pytest.mark.parametrize(
    ("cluster", "said"),
    [
        ("shy", "the endpoint asks for a certificate; see the cluster's tls.client_certificate"),
        ("stranger", "the endpoint does not accept the cluster's tls.client_certificate"),
    ],
)
def test_an_endpoint_that_asks_for_another_certificate(site: Site, cluster: str, said: str) -> None:
    client = site.chat(cluster, CHAT)
    with pytest.raises(ssl.SSLError):
        site["known"].accept()
    response = client.response()
    # With TLS 1.3 the refusal comes after the handshake, as far as the client side can tell.
    assert response.status == 502
    assert response.error["code"] in ("upstream_unreachable", "upstream_protocol")
    assert response.error["message"].endswith(said)


def test_an_endpoint_that_never_shakes_hands(launch: Launcher, authority: Authority) -> None:
    upstream = launch.upstream()
    tls = {"ca": str(authority.certificate)}
    url = upstream.url.replace("http:", "https:")
    site = Site(launch, {"c": {"endpoints": [url], "tls": tls, "timeout": {"connect": "200ms"}}})
    client = site.chat("c", CHAT)
    peer = upstream.accept()
    response = client.response()
    assert (response.status, response.error["code"]) == (504, "upstream_timeout")
    assert peer.rest()[:1] == b"\x16"  # a hello, then closed


def test_an_endpoint_that_speaks_other_protocols_too_is_asked_for_http_1(
    launch: Launcher, authority: Authority, certificates: dict[str, tuple[Path, Path]]
) -> None:
    context = _context(certificates["127.0.0.1"])
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # the oldest that is spoken
    upstream = launch.upstream(tls=context)
    site = Site(launch, {"c": {"endpoints": [upstream.url], "tls": {"ca": str(authority.certificate)}}})
    client = site.chat("c", CHAT)
    peer = upstream.accept()
    assert isinstance(peer.sock, ssl.SSLSocket)
    assert peer.sock.selected_alpn_protocol() == "http/1.1"
    peer.request()
    peer.reply()
    assert client.response().status == 200


def test_a_certificate_that_nobody_else_signed_is_trusted_where_it_is_named(
    launch: Launcher, tmp_path: Path, certificates: dict[str, tuple[Path, Path]]
) -> None:
    own = Authority(tmp_path, "self")
    key = tmp_path / "self.key"
    upstream = launch.upstream(tls=_context((own.certificate, key)))
    other = launch.upstream(tls=_context(certificates["127.0.0.1"]))
    leaf = {"ca": str(certificates["127.0.0.1"][0])}  # signed by an authority that is not named
    site = Site(
        launch,
        {
            "own": {"endpoints": [upstream.url], "tls": {"ca": str(own.certificate), "server_name": "self"}},
            "leaf": {"endpoints": [other.url], "tls": leaf},
        },
    )
    site.add(own=upstream, leaf=other)
    for cluster in ("own", "leaf"):
        client = site.chat(cluster, CHAT)
        peer = site[cluster].accept()
        peer.request()
        peer.reply()
        assert client.response().status == 200


@pytest.mark.parametrize("how", ["SIGHUP", "watched"])
def test_what_tls_files_hold_after_a_reload_counts_for_new_connections(
    launch: Launcher, tmp_path: Path, authority: Authority, certificates: dict[str, tuple[Path, Path]], how: str
) -> None:
    other = Authority(tmp_path, "other-ca")
    upstream = launch.upstream(tls=_context(certificates["127.0.0.1"]))
    ca = tmp_path / "trusted.pem"
    ca.write_bytes(other.certificate.read_bytes())
    site = Site(launch, {"c": {"endpoints": [upstream.url], "tls": {"ca": str(ca)}}})
    client = site.chat("c", CHAT)
    with pytest.raises(ssl.SSLError):
        upstream.accept()
    assert client.response().error["code"] == "upstream_unreachable"
    ca.write_bytes(authority.certificate.read_bytes())
    if how == "SIGHUP":
        site.proxy.signal(signal.SIGHUP)
    site.proxy.wait_for("waypost: reloaded")
    client = site.chat("c", CHAT)
    peer = upstream.accept()
    peer.request()
    peer.reply()
    assert client.response().status == 200
    # The same content again closes nothing.
    ca.touch()
    site.proxy.signal(signal.SIGHUP)
    site.proxy.wait_for("waypost: reloaded", count=2)
    client = site.chat("c", CHAT)
    peer.request()
    peer.reply()
    assert client.response().status == 200
    # And what is no certificate changes nothing.
    ca.write_text("no certificate")
    site.proxy.signal(signal.SIGHUP)
    site.proxy.wait_for(r"clusters\.c\.tls\.ca: `.*trusted\.pem` contains no certificate(.|\n)*not reloaded")
    client = site.chat("c", CHAT)
    peer.request()
    peer.reply()
    assert client.response().status == 200


def test_clusters_of_different_tls_settings_share_no_connection(site: Site) -> None:
    client = site.chat("right", CHAT)
    peer = site["right"].accept()
    peer.request()
    peer.reply()
    assert client.response().status == 200  # its connection is kept
    client = site.chat("untrusted", CHAT)  # the same host and port
    with pytest.raises(ssl.SSLError):
        site["right"].accept()
    assert client.response().status == 502


# Downstream.


def _answered(site: Site, client: Client) -> Any:
    client.ask("POST", "/v1/chat/completions", CHAT, {"x-to": "model"})
    peer, request = site["model"].request()
    peer.reply()
    assert client.response().status == 200
    return request


def test_serving_https(launch: Launcher, authority: Authority, certificates: dict[str, tuple[Path, Path]]) -> None:
    certificate, key = map(str, certificates["localhost"])
    site = Site(launch, {"model": {}}, args=("--ssl-certfile", certificate, "--ssl-keyfile", key))
    assert site.proxy.url.startswith("https://127.0.0.1:")
    context = ssl.create_default_context(cafile=authority.certificate)
    client = site.client(tls=context)
    request = _answered(site, client)
    assert request.get("x-forwarded-proto") == "https"
    response = site.client()
    response.ask("GET", "/healthz")
    assert response.closed()  # plain HTTP gets nothing


def test_a_certificate_that_cannot_be_used(launch: Launcher, tmp_path: Path) -> None:
    config = tmp_path / "waypost.yaml"
    config.write_text("clusters: {}\nroutes: []\n")
    nothing = tmp_path / "nothing.pem"
    for content in (None, "no PEM"):
        if content is not None:
            nothing.write_text(content)
        done = command("serve", str(config), "--port", "0", "--ssl-certfile", str(nothing))
        assert done.returncode == 1
        assert f"--ssl-certfile: `{nothing}` {'cannot be read' if content is None else 'contains no certif'}" in str(
            done.stderr, "utf-8"
        )
        assert b"Traceback" not in done.stderr


def test_tls_files_of_a_cluster_that_cannot_be_used_are_config_errors(tmp_path: Path) -> None:
    config = tmp_path / "waypost.yaml"
    config.write_text(
        "clusters:\n  c:\n    speaks: openai\n    endpoints: ['https://127.0.0.1:1']\n    tls: {ca: missing.pem}\n"
        "routes:\n  - {name: r, to: c, match: {kind: model, dialect: openai}}\n"
    )
    done = command("check", "--running", str(config))
    assert done.returncode == 1
    assert f"{config}:5:" in done.stdout.decode()
    assert "missing.pem" in done.stdout.decode()


def test_each_tls_file_has_its_place(
    tmp_path: Path, authority: Authority, certificates: dict[str, tuple[Path, Path]]
) -> None:
    certificate, key = certificates["client"]
    other = certificates["other.test"][1]
    config = tmp_path / "waypost.yaml"
    (tmp_path / "text").write_text("no PEM")
    (tmp_path / "broken").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    faults = {
        "ca: text": ("ca", 9, "`.*text` contains no certificate in PEM format"),
        "ca: broken": ("ca", 9, "`.*broken` cannot be used: "),
        "ca: missing": ("ca", 9, "missing"),
        f"client_certificate: {certificate}": (
            "client_certificate",
            9,
            "contains no private key; set .* to the file with the key",
        ),
        f"client_certificate: {certificate}\n      client_key: text": (
            "client_key",
            10,
            "contains no private key in PEM",
        ),
        f"client_certificate: {certificate}\n      client_key: {other}": (
            "client_key",
            10,
            "does not contain the key of",
        ),
        f"client_certificate: {certificate}\n      client_key: {authority.encrypted(key)}": (
            "client_key",
            10,
            "contains an encrypted key; decrypt it",
        ),
    }
    for written, (setting, line, why) in faults.items():
        config.write_text(
            "routes:\n  - {name: r, to: c, match: {kind: model, dialect: openai}}\n\n"
            "clusters:\n  c:\n    speaks: openai\n    endpoints: ['https://127.0.0.1:1']\n    tls:\n"
            f"      {written}\n"
        )
        done = command("check", "--running", str(config))
        said = done.stdout.decode()
        assert done.returncode == 1, said
        assert re.search(rf"^{re.escape(str(config))}:{line}:\d+: clusters\.c\.tls\.{setting}: .*{why}", said), said
        assert b"Traceback" not in done.stderr


def test_nobody_is_asked_for_the_password_of_a_key(
    tmp_path: Path, authority: Authority, certificates: dict[str, tuple[Path, Path]]
) -> None:
    certificate, key = certificates["client"]
    config = tmp_path / "waypost.yaml"
    tls = {"client_certificate": str(certificate), "client_key": str(authority.encrypted(key))}
    config.write_text(
        json.dumps({"clusters": {"c": {"speaks": "openai", "endpoints": ["https://127.0.0.1:1"], "tls": tls}}})
    )
    # With a terminal, on which OpenSSL would ask and wait.
    terminal, inner = os.openpty()
    take = "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    take += "os.execv(sys.argv[1], sys.argv[1:])"
    argv = [sys.executable, "-c", take, sys.executable, "-m", "waypost", "check", "--running", str(config)]
    done = subprocess.run(argv, stdin=inner, stdout=subprocess.PIPE, stderr=inner, timeout=START, check=False)
    os.close(inner)
    os.close(terminal)
    assert done.returncode == 1
    assert b"contains an encrypted key" in done.stdout


def test_a_unix_socket(launch: Launcher, tmp_path: Path) -> None:
    where = tmp_path / "s"
    site = Site(launch, {"model": {}}, args=("--uds", str(where)))
    request = _answered(site, site.client())
    assert "x-forwarded-for" not in request.fields
    site.proxy.stop()
    assert not where.exists()


def test_a_unix_socket_that_was_left_behind_is_replaced_and_one_in_use_is_not(launch: Launcher, tmp_path: Path) -> None:
    where = tmp_path / "s"
    site = Site(launch, {"model": {}}, args=("--uds", str(where)))
    assert site.proxy.config is not None
    done = command("serve", str(site.proxy.config), "--uds", str(where))
    assert done.returncode == 1
    assert b"in use" in done.stderr
    _answered(site, site.client())
    site.proxy.kill()
    launch.proxies.remove(site.proxy)
    assert where.exists()
    _answered(second := Site(launch, {"model": {}}, args=("--uds", str(where))), second.client())
    other = tmp_path / "file"
    other.write_text("precious")
    done = command("serve", str(second.proxy.config), "--uds", str(other))
    assert done.returncode == 1
    assert b"is not a socket" in done.stderr
    assert other.read_text() == "precious"

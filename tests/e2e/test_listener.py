"""`listen`: HTTPS with renewed certificates, clients that prove who they are by one, and how long a client may take."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import signal
import socket
import ssl
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .support.certificates import Authority
from .support.client import Client
from .support.http2 import Http2Client
from .support.proxy import Process, Proxy, wait_until
from .support.site import Launcher, Site

CHAT = b'{"model":"m","messages":[]}'
TWO = ("--workers", "2")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


def trusting(authority: Authority, client: tuple[Path, Path] | None = None, *, h2: bool = False) -> ssl.SSLContext:
    """A client's TLS, with its own certificate if it has one."""
    context = ssl.create_default_context(cafile=authority.certificate)
    context.check_hostname = False
    if client is not None:
        context.load_cert_chain(*client)
    if h2:
        context.set_alpn_protocols(["h2"])
    return context


def put(files: tuple[Path, Path], place: Path) -> None:
    """Replace the pair at `place` by links, as certbot does: one file after the other."""
    for source, name in zip(files, ("cert.pem", "key.pem"), strict=True):
        link = place / f"{name}.new"
        link.unlink(missing_ok=True)
        link.symlink_to(source)
        link.rename(place / name)


def shown(proxy: Proxy, authority: Authority, **how: Any) -> bytes:
    """The certificate that a new connection gets."""
    with Client(proxy.address, tls=trusting(authority, **how)) as client:
        assert isinstance(client.sock, ssl.SSLSocket)
        found = client.sock.getpeercert(binary_form=True)
        assert found is not None
        return found


def _read(client: Client) -> int:
    """Read a whole response, so that another request can follow."""
    response = client.response()
    assert response.body is not None
    return response.status


def der(files: tuple[Path, Path]) -> bytes:
    return ssl.PEM_cert_to_DER_cert(files[0].read_text())


def healthy(client: Client) -> None:
    client.ask("GET", "/healthz")
    response = client.response()
    assert (response.status, response.body) == (200, b'{"status":"ok"}')


@pytest.mark.parametrize(("named", "args"), [("listen", TWO), ("options", ())])
def test_a_renewed_certificate_counts_for_new_connections(
    launch: Launcher, authority: Authority, tmp_path: Path, named: str, args: tuple[str, ...]
) -> None:
    pairs = [_issued(authority, tmp_path, number) for number in range(3)]
    put(pairs[0], tmp_path)
    certificate, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    if named == "listen":
        listen: dict[str, Any] = {"tls": {"certificate": certificate, "key": key}}
    else:
        listen, args = {}, ("--ssl-certfile", certificate, "--ssl-keyfile", key)
    site = Site(launch, {"model": {}}, {"listen": listen}, args=args)
    proxy = site.proxy
    assert proxy.url.startswith("https://")
    old = proxy.client(tls=trusting(authority))
    healthy(old)
    assert shown(proxy, authority) == der(pairs[0])

    put(pairs[1], tmp_path)
    # Each worker takes its turn, so the new certificate has to be the only one for a while.
    wait_until(lambda: all(shown(proxy, authority) == der(pairs[1]) for _ in range(20)), "it is seen", 30)
    assert shown(proxy, authority, h2=True) == der(pairs[1])
    healthy(old)

    # A certificate without its key changes nothing.
    key_file = tmp_path / "key.pem"
    key_file.unlink()
    key_file.symlink_to(pairs[2][1])
    proxy.wait_for(r"does not contain the key of the certificate(.|\n)*not reloaded")
    assert shown(proxy, authority) == der(pairs[1])
    put(pairs[2], tmp_path)
    proxy.signal(signal.SIGHUP)
    wait_until(lambda: all(shown(proxy, authority) == der(pairs[2]) for _ in range(20)), "it is seen", 30)
    healthy(old)

    # And a message through the connection that is as old as the proxy.
    old.ask("POST", "/v1/chat/completions", CHAT, {"x-to": "model"})
    peer, _ = site["model"].request()
    peer.reply()
    assert _read(old) == 200


def _issued(authority: Authority, directory: Path, number: int, *, client: bool = False) -> tuple[Path, Path]:
    """A certificate for `localhost` of its own name."""
    files = authority.issue("localhost", subject=f"/CN=number-{number}", client=client)
    certificate, key = (Path(shutil.copy(each, directory / f"{number}{each.suffix}")) for each in files)
    return certificate, key


# Clients with certificates.


@pytest.fixture(scope="module")
def clients(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    named = {
        "planner": {"san": "URI:spiffe://acme/planner,DNS:planner.test"},
        "coder": {"subject": "/C=DE/O=Acme, Inc/CN=coder"},
        "pinned": {"subject": "/CN=pinned"},
        "stranger": {"subject": "/CN=stranger"},
        "two": {"san": "URI:spiffe://acme/planner", "subject": "/C=DE/O=Acme, Inc/CN=coder"},
    }
    files = {name: authority.issue(name, client=True, **more) for name, more in named.items()}
    elsewhere = Authority(tmp_path_factory.mktemp("elsewhere"), "elsewhere")
    return {**files, "elsewhere": elsewhere.issue("planner", client=True, san="URI:spiffe://acme/planner")}


@pytest.fixture(scope="module")
def site(shared: Launcher, authority: Authority, clients: dict[str, tuple[Path, Path]]) -> Site:
    certificate, key = map(str, authority.issue("localhost"))
    fingerprint = hashlib.sha256(der(clients["pinned"])).hexdigest()
    keys = [
        {
            "name": "k-planner",
            "certificate": {"san": "URI:spiffe://acme/planner"},
            "tenant": "acme",
            "labels": {"t": "1"},
        },
        {"name": "k-coder", "certificate": {"subject": r"CN=coder, O=Acme\, Inc, C=DE"}, "tenant": "globex"},
        {"name": "k-pinned", "certificate": {"sha256": fingerprint}, "admin": True, "messages": True},
        {"name": "k-hash", "hash": f"sha256:{hashlib.sha256(b'wp-key').hexdigest()}", "tenant": "initech"},
    ]
    tls = {
        "certificate": certificate,
        "key": key,
        "client_ca": str(authority.certificate),
        "client_auth": "optional",
    }
    rest = {"listen": {"tls": tls}, "keys": keys, "access_log": "stdout"}
    return Site(shared, {"model": {}}, rest, args=("--host", "0.0.0.0"))


def connected(site: Site, authority: Authority, client: tuple[Path, Path] | None) -> Client:
    return site.proxy.client(tls=trusting(authority, client))


@pytest.mark.parametrize(("name", "tenant"), [("planner", "acme"), ("coder", "globex"), ("pinned", None)])
def test_a_certificate_says_who_the_caller_is(
    site: Site, authority: Authority, clients: dict[str, tuple[Path, Path]], name: str, tenant: str | None
) -> None:
    client = connected(site, authority, clients[name])
    for _ in range(2):
        client.ask("POST", "/v1/chat/completions", CHAT, {"x-to": "model"})
        peer, request = site["model"].request()
        assert request.get("x-waypost-tenant") == tenant
        peer.reply()
        assert _read(client) == 200
    site.proxy.wait_for(rf'"key":"k-{name}"')
    if tenant is None:
        return
    # What a certificate proves cannot be contradicted.
    client.ask("POST", "/v1/chat/completions", CHAT, {"x-to": "model", "x-waypost-tenant": "other"})
    response = client.response()
    assert (response.status, response.error["code"]) == (403, "identity_conflict")


@pytest.mark.parametrize(("name", "tenant"), [("planner", b"acme"), ("coder", b"globex")])
def test_a_certificate_says_it_over_http_2(
    site: Site, authority: Authority, clients: dict[str, tuple[Path, Path]], name: str, tenant: bytes
) -> None:
    with Http2Client(site.proxy.address, tls=trusting(authority, clients[name], h2=True)) as client:
        stream = client.ask(body=CHAT, headers={"x-to": "model"})
        peer, request = site["model"].request()
        assert request.get("x-waypost-tenant") == tenant.decode()
        peer.reply()
        assert client.response(stream).status == 200


@pytest.mark.parametrize("name", ["stranger", "two"])
def test_a_certificate_that_is_nobodys_is_refused_whatever_else_is_good(
    site: Site, authority: Authority, clients: dict[str, tuple[Path, Path]], name: str
) -> None:
    client = connected(site, authority, clients[name])
    for key in ({}, {"x-api-key": "wp-key"}):
        client.ask("POST", "/v1/chat/completions", CHAT, {"x-to": "model", **key})
        response = client.response()
        assert (response.status, response.error["code"]) == (401, "unauthorized")
    assert site["model"].untouched()
    with Http2Client(site.proxy.address, tls=trusting(authority, clients[name], h2=True)) as http2:
        assert http2.response(http2.ask(body=CHAT, headers={"x-to": "model"})).status == 401


def test_who_has_no_certificate_presents_a_key(site: Site, authority: Authority) -> None:
    client = connected(site, authority, None)
    client.ask("POST", "/v1/chat/completions", CHAT, {"x-to": "model"})
    assert _read(client) == 401
    client.ask("POST", "/v1/chat/completions", CHAT, {"x-to": "model", "x-api-key": "wp-key"})
    peer, request = site["model"].request()
    assert request.get("x-waypost-tenant") == "initech"
    peer.reply()
    assert _read(client) == 200


def test_an_admin_certificate_opens_administration(
    site: Site, authority: Authority, clients: dict[str, tuple[Path, Path]]
) -> None:
    for name, status in (("pinned", 200), ("planner", 403), ("stranger", 401)):
        client = connected(site, authority, clients[name])
        client.ask("GET", "/metrics")
        assert _read(client) == status, name


def test_a_certificate_of_another_authority_gets_no_connection(
    site: Site, authority: Authority, clients: dict[str, tuple[Path, Path]]
) -> None:
    assert _refused(site.proxy, trusting(authority, clients["elsewhere"]))


def _refused(proxy: Proxy, tls: ssl.SSLContext) -> bool:
    """The handshake fails. With TLS 1.3, the client learns of it only from what comes next."""
    try:
        with Client(proxy.address, tls=tls) as client:
            client.ask("GET", "/healthz")
            return client.closed()
    except (ssl.SSLError, ConnectionError):
        return True


def test_without_keys_the_authority_says_who_may_connect(
    launch: Launcher, authority: Authority, clients: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    certificate, key = map(str, authority.issue("localhost"))
    ca = tmp_path / "clients.pem"
    ca.write_bytes(authority.certificate.read_bytes())
    listen = {"tls": {"certificate": certificate, "key": key, "client_ca": str(ca)}}
    # Other hosts can connect, and no `--insecure-no-auth` is needed.
    site = Site(launch, {"model": {}}, {"listen": listen}, args=("--host", "0.0.0.0"))
    client = connected(site, authority, clients["stranger"])
    healthy(client)
    assert _refused(site.proxy, trusting(authority))
    # To leave it to nobody is refused, as it is with the last key.
    assert site.proxy.config is not None
    text = site.proxy.config.read_text()
    document = json.loads(text)
    del document["listen"]["tls"]["client_ca"]
    site.proxy.config.write_text(json.dumps(document))
    site.proxy.wait_for("not reloaded")
    assert _refused(site.proxy, trusting(authority))
    site.proxy.config.write_text(text)
    # Another authority counts for new connections.
    other = Authority(tmp_path, "other")
    ca.write_bytes(other.certificate.read_bytes())
    site.proxy.wait_for("waypost: reloaded")
    wait_until(lambda: _refused(site.proxy, trusting(authority, clients["stranger"])), "the other authority counts")
    healthy(client)
    healthy(connected(site, authority, other.issue("friend", client=True)))


# Other files that a process holds.


def test_files_that_clusters_name_are_read_again(launch: Launcher, authority: Authority, tmp_path: Path) -> None:
    """The secret of a credential, and the certificate that Waypost presents to an endpoint."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*authority.issue("127.0.0.1"))
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(authority.certificate)
    upstream = launch.upstream(tls=server)
    secret = tmp_path / "secret"
    secret.write_text("one\n")
    pairs = [_issued(authority, tmp_path, number, client=True) for number in range(2)]
    put(pairs[0], tmp_path)
    tls = {
        "ca": str(authority.certificate),
        "client_certificate": str(tmp_path / "cert.pem"),
        "client_key": str(tmp_path / "key.pem"),
    }
    credential = {"header": "authorization", "value": f"Bearer ${{file:{secret}}}"}
    site = Site(launch, {"c": {"endpoints": [upstream.url], "tls": tls, "credential": credential}})

    def presented() -> tuple[str | None, bytes | None]:
        client = site.chat("c", CHAT)
        peer = upstream.accept()
        request = peer.request()
        assert isinstance(peer.sock, ssl.SSLSocket)
        found = request.get("authorization"), peer.sock.getpeercert(binary_form=True)
        peer.reply()
        assert _read(client) == 200
        peer.close()
        return found

    assert presented() == ("Bearer one", der(pairs[0]))
    secret.write_text("two\n")
    site.proxy.wait_for("waypost: reloaded")
    assert presented() == ("Bearer two", der(pairs[0]))
    put(pairs[1], tmp_path)
    site.proxy.signal(signal.SIGHUP)
    wait_until(lambda: presented() == ("Bearer two", der(pairs[1])), "the new certificate is presented")


# Time.


def test_a_client_has_so_long(launch: Launcher, authority: Authority) -> None:
    certificate, key = map(str, authority.issue("localhost"))
    listen = {"tls": {"certificate": certificate, "key": key}, "header_timeout": "300ms", "keep_alive": "200ms"}
    site = Site(launch, {"model": {}}, {"listen": listen})
    with socket.create_connection(site.proxy.address) as silent:  # never shakes hands
        silent.settimeout(20)
        assert silent.recv(1) == b""
    client = site.proxy.client(tls=trusting(authority))
    assert client.closed(), "no head came"
    client = site.proxy.client(tls=trusting(authority))
    healthy(client)
    assert client.closed(), "no other message came"


def test_a_connection_waits_longer_than_what_usually_stands_in_front(launch: Launcher) -> None:
    site = Site(launch, {"model": {}}, {"listen": {"keep_alive": "200ms"}})
    config = site.proxy.ask("GET", "/-/config").json["configuration"]
    assert config["listen"]["keep_alive"] == 0.2
    client = site.client()
    healthy(client)
    assert client.closed()
    assert site.proxy.config is not None
    document = json.loads(site.proxy.config.read_text())
    del document["listen"]
    site.proxy.config.write_text(json.dumps(document))
    site.proxy.wait_for("waypost: reloaded")
    config = site.proxy.ask("GET", "/-/config").json["configuration"]
    assert config["listen"]["keep_alive"] > 60, "nginx and load balancers keep theirs for 60 s"
    client = site.client()
    healthy(client)
    wait_until(lambda: site.client().silent(), "it serves")
    assert client.silent()


NGINX = """
daemon off;
pid {directory}/nginx.pid;
error_log stderr notice;
worker_processes 1;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream waypost {{
        server 127.0.0.1:{to};
        keepalive 64;
        keepalive_timeout {keep};
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://waypost;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Any]:
    """Starts nginx in front of a port."""
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.skip("nginx is not installed")
    running: list[Process] = []

    def start(to: int, keep: str) -> int:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port = sock.getsockname()[1]
        config = tmp_path / "nginx.conf"
        config.write_text(NGINX.format(directory=tmp_path, to=to, keep=keep, port=port))
        argv = [found, "-p", str(tmp_path), "-e", "stderr", "-c", str(config)]
        process = Process(argv)
        running.append(process)
        process.wait_for("start worker process ")
        return port

    yield start
    for each in running:
        each.stop()


async def _burst(port: int, count: int) -> list[int]:
    """The statuses of `count` messages that are sent at once, each over a connection of its own to nginx."""

    async def one() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = "POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nx-to: model\r\nconnection: close\r\n"
        writer.write(f"{head}content-type: application/json\r\ncontent-length: {len(CHAT)}\r\n\r\n".encode() + CHAT)
        answer = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        return int(answer.split(b" ", 2)[1])

    return await asyncio.gather(*(one() for _ in range(count)))


def test_no_message_meets_a_closing_connection_behind_nginx(launch: Launcher, nginx: Any) -> None:
    """nginx is the one that closes idle connections, however close to its time the next message comes."""
    server = launch.server()
    site = Site(launch, {"model": {"endpoints": [server.url]}})
    port = nginx(site.proxy.port, "200ms")

    async def bursts() -> list[int]:
        statuses = await _burst(port, 40)
        for number in range(40):
            await asyncio.sleep(0.17 + 0.002 * number)  # around the time of nginx
            statuses += await _burst(port, 40)
        return statuses

    assert Counter(asyncio.run(bursts())) == {200: 41 * 40}

"""Endpoints that are reached by a proxy: CONNECT, what proxies answer to it, and the environment's proxies."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .support.certificates import Authority
from .support.proxy import command
from .support.site import Launcher, Site
from .support.upstream import Upstream, closed_port

CHAT = b'{"model":"m","messages":[]}'
NAMES = {"model.test": "127.0.0.1", "127.0.0.1": "127.0.0.1", "127.0.0.9": "127.0.0.9"}
PASSWORD = "p@ss:w/rd"  # written %40 and so on in a URL
USER = f"edge:{PASSWORD}"
WRITTEN = "edge:p%40ss%3Aw%2Frd"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def files(authority: Authority) -> tuple[Path, Path]:
    return authority.issue("model.test")


@pytest.fixture(scope="module")
def tls(files: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    return context


class World:
    """A proxy of Waypost's, one that opens tunnels, one that wants a password, and upstreams that they know."""

    def __init__(self, launcher: Launcher, authority: Authority, context: ssl.SSLContext) -> None:
        self.open = launcher.tunnels(NAMES)
        self.locked = launcher.tunnels(NAMES, user=USER)
        self.odd = launcher.tunnels(NAMES)
        self.secure, self.plain = launcher.upstream(tls=context), launcher.upstream()
        https, http = (f"{scheme}://model.test:{{}}" for scheme in ("https", "http"))
        ca = {"ca": str(authority.certificate)}
        secure: dict[str, Any] = {"endpoints": [https.format(self.secure.port)], "tls": ca}
        plain: dict[str, Any] = {"endpoints": [http.format(self.plain.port)]}
        locked = self.locked.url.replace("http://", "http://${WHO}@")
        self.site = Site(
            launcher,
            {
                "secure": {**secure, "proxy": self.open.url},
                "plain": {**plain, "proxy": self.open.url},
                "known": {**secure, "proxy": locked},
                "unknown": {**secure, "proxy": self.locked.url},
                "imposter": {**secure, "proxy": self.locked.url.replace("http://", "http://edge:wr0ng-s3cret@")},
                "misnamed": {"endpoints": [f"https://127.0.0.1:{self.secure.port}"], "tls": ca, "proxy": self.open.url},
                "closed": {"endpoints": [f"http://127.0.0.9:{closed_port()}"], "proxy": self.open.url},
                "dead": {**secure, "proxy": f"http://127.0.0.1:{closed_port()}"},
                "lost": {**secure, "proxy": "http://nowhere.invalid:3128"},
                "odd": {**secure, "proxy": self.odd.url},
                "hasty": {**secure, "proxy": self.odd.url, "timeout": {"connect": "300ms"}},
                "odd-plain": {**plain, "proxy": self.odd.url},
                "second": {**plain, "proxy": self.odd.url, "fallback": ["plain"]},
            },
            env={"WHO": WRITTEN},
        )


@pytest.fixture(scope="module")
def world(shared: Launcher, authority: Authority, tls: ssl.SSLContext) -> World:
    return World(shared, authority, tls)


@pytest.fixture(autouse=True)
def _afresh(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "world" in request.fixturenames:
        world: World = request.getfixturevalue("world")
        world.odd.answer, world.odd.hangs = None, False
        assert PASSWORD not in world.site.proxy.output
        assert WRITTEN not in world.site.proxy.output
        assert "s3cret" not in world.site.proxy.output


def _exchanged(site: Site, upstream: Upstream, cluster: str) -> None:
    client = site.chat(cluster, CHAT)
    peer, request = upstream.request()
    assert request.body == CHAT
    assert "proxy-authorization" not in request.fields
    peer.reply()
    assert client.response().status == 200


def _refused(site: Site, cluster: str, code: str = "upstream_unreachable") -> str:
    response = site.chat(cluster, CHAT).response()
    assert response.error["code"] == code
    assert response.status == (504 if code == "upstream_timeout" else 502)
    message: str = response.error["message"]
    assert "127.0.0.1" not in message, "clients are told no hosts"
    return message


@pytest.mark.parametrize("cluster", ["secure", "plain"])
def test_endpoints_are_reached_by_a_tunnel_that_is_kept(world: World, cluster: str) -> None:
    upstream = world.secure if cluster == "secure" else world.plain
    before = len(world.open.asked)
    for _ in range(3):
        _exchanged(world.site, upstream, cluster)
    assert world.open.asked[before:] == [f"model.test:{upstream.port}"]
    fields = world.open.fields[-1]
    assert fields == {"host": f"model.test:{upstream.port}"}
    assert upstream.accepted == 1


def test_a_proxy_that_wants_a_password_gets_it(world: World) -> None:
    _exchanged(world.site, world.secure, "known")
    assert len(world.locked.asked) > 0


@pytest.mark.parametrize("cluster", ["unknown", "imposter"])
def test_a_proxy_that_knows_nobody_like_that_is_named_in_the_log(world: World, cluster: str) -> None:
    message = _refused(world.site, cluster)
    assert message == f"cluster {cluster}: its proxy refused with status 407"
    world.site.proxy.wait_for(
        rf"cluster {cluster}: https://model\.test:\d+: its proxy refused with status 407 "
        rf"\(proxy {world.locked.url}: 407 Proxy Authentication Required; it requires a user name and a password"
    )
    assert world.secure.untouched()


def test_tls_in_a_tunnel_verifies_the_endpoint(world: World) -> None:
    client = world.site.chat("misnamed", CHAT)
    with pytest.raises(ssl.SSLError):
        world.secure.accept()
    assert "TLS certificate not accepted" in client.response().error["message"]


def test_an_endpoint_that_the_proxy_cannot_reach(world: World) -> None:
    assert "its proxy refused with status 502: it cannot reach the endpoint" in _refused(world.site, "closed")


def test_a_proxy_that_cannot_be_reached_is_not_taken_for_the_endpoint(world: World) -> None:
    assert _refused(world.site, "dead") == "cluster dead: its proxy cannot be reached: no connection to it"
    message = _unresolved(world.site, "lost")
    assert message == "cluster lost: its proxy cannot be reached: its name cannot be resolved" or "within" in message


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno", "refused with status 403"),
        (b"HTTP/1.1 302 Found\r\nlocation: http://elsewhere.test/\r\n\r\n", "refused with status 302"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "sent an invalid answer"),
        (b"HTTP/1.1 200 Fine\r\nx: y\nz: injected\r\n\r\n", "sent an invalid answer"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "sent an invalid answer"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 600, "sent an invalid answer"),
        (b"HTTP/1.1 200 Fine\r\nx: " + b"y" * 20_000 + b"\r\n\r\n", "sent an invalid answer"),
        (b"\x16\x03\x01" * 10_000, "sent an invalid answer"),
        (b"HTTP/1.1 200 Fine\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "sent an invalid answer"),
        (b"HTTP/1.1 200 Fi", "closed the connection"),
        (b"", "closed the connection"),
    ],
)
@pytest.mark.parametrize("cluster", ["odd", "odd-plain"])
def test_what_is_no_consent_opens_nothing(world: World, cluster: str, answer: bytes, said: str) -> None:
    world.odd.answer = answer
    assert f"cluster {cluster}: its proxy {said}" in _refused(world.site, cluster)
    assert world.secure.untouched()
    assert world.plain.untouched()


@pytest.mark.parametrize(
    "consent",
    [b"HTTP/1.0 200 Connection established\r\n\r\n", b"HTTP/1.1 100 Wait\r\n\r\nHTTP/1.1 204 Go\r\nx: y\r\n\r\n"],
)
def test_an_end_behind_a_consent_is_no_response(world: World, consent: bytes) -> None:
    world.odd.answer = consent
    error = world.site.chat("odd-plain", CHAT).response().error
    # The request may have been on its way.
    assert error["code"] in ("upstream_unreachable", "upstream_protocol")
    assert "closed before" in error["message"]


def test_a_proxy_that_never_answers_is_given_up(world: World) -> None:
    world.odd.hangs = True
    assert "no connection within 0.3 s" in _refused(world.site, "hasty", "upstream_timeout")


def test_a_refusal_moves_on_to_the_next_cluster(world: World) -> None:
    world.odd.answer = b"HTTP/1.1 403 Forbidden\r\n\r\n"
    client = world.site.chat("second", CHAT)
    peer, _ = world.plain.request()
    peer.reply()
    response = client.response()
    assert (response.status, response.get("x-waypost-cluster")) == (200, "plain")


# The environment.


def _by_environment(launcher: Launcher, authority: Authority, context: ssl.SSLContext, **env: str) -> Site:
    secure, plain = launcher.upstream(tls=context), launcher.upstream()
    ca = {"ca": str(authority.certificate)}
    site = Site(
        launcher,
        {
            "https": {"endpoints": [f"https://model.test:{secure.port}"], "tls": ca},
            "http": {"endpoints": [f"http://model.test:{plain.port}"]},
            "loopback": {"endpoints": [plain.url]},
            "none": {"endpoints": [f"http://model.test:{plain.port}"], "proxy": "none"},
        },
        env={"https_proxy": "", "http_proxy": "", "no_proxy": "", **env},
    )
    site.add(https=secure, http=plain)
    return site


def _unresolved(site: Site, cluster: str) -> str:
    """Nobody but the proxies knows the name. Where DNS itself does not answer, that takes longer than the timeout."""
    error = site.chat(cluster, CHAT).response().error
    assert error["code"] in ("upstream_unreachable", "upstream_timeout")
    message: str = error["message"]
    assert "cannot be resolved" in message or "no connection within" in message
    return message


def _names_no_proxy(site: Site, cluster: str) -> None:
    assert "proxy" not in _unresolved(site, cluster)


@pytest.mark.parametrize("upper", [True, False])
def test_the_environments_proxies(launch: Launcher, authority: Authority, tls: ssl.SSLContext, upper: bool) -> None:
    secure, plain = launch.tunnels(NAMES, user=USER), launch.tunnels(NAMES)
    env = {"https_proxy": secure.url.replace("//", f"//{WRITTEN}@"), "http_proxy": plain.url.removeprefix("http://")}
    site = _by_environment(
        launch, authority, tls, **({name.upper(): value for name, value in env.items()} if upper else env)
    )
    _exchanged(site, site["https"], "https")
    assert secure.asked == [f"model.test:{site['https'].port}"]
    _exchanged(site, site["http"], "http")
    assert plain.asked == [f"model.test:{site['http'].port}"]
    _exchanged(site, site["http"], "loopback")
    _names_no_proxy(site, "none")
    assert (len(secure.asked), len(plain.asked)) == (1, 1)


@pytest.mark.parametrize("listed", ["model.test", "other.test, .TEST", "*", "test"])
def test_what_no_proxy_lists_is_reached_directly(
    launch: Launcher, authority: Authority, tls: ssl.SSLContext, listed: str
) -> None:
    tunnels = launch.tunnels(NAMES)
    site = _by_environment(launch, authority, tls, HTTPS_PROXY=tunnels.url, NO_PROXY=listed)
    _names_no_proxy(site, "https")
    assert tunnels.asked == []


def test_a_refusal_names_the_variable_in_the_log(launch: Launcher, authority: Authority, tls: ssl.SSLContext) -> None:
    tunnels = launch.tunnels(NAMES, answer=b"HTTP/1.1 403 Forbidden\r\n\r\n")
    site = _by_environment(launch, authority, tls, HTTPS_PROXY=tunnels.url)
    _refused(site, "https")
    site.proxy.wait_for(rf"proxy {tunnels.url} from HTTPS_PROXY: 403 Forbidden; it does not allow")


def test_a_variable_that_names_no_proxy_is_an_error_where_it_counts(tmp_path: Path) -> None:
    config = tmp_path / "waypost.yaml"
    text = (
        "clusters:\n  c:\n    speaks: openai\n    endpoints: [{url}]\n"
        "routes:\n  - {name: r, to: c, match: {kind: model, dialect: openai}}\n"
    )
    how = {"HTTPS_PROXY": "socks5://u:s3cret@127.0.0.1:1", "https_proxy": ""}
    config.write_text(text.replace("{url}", "https://model.test"))
    done = command("check", "--running", str(config), **how)
    assert done.returncode == 1
    assert b"environment variable `HTTPS_PROXY`: the scheme of a proxy's URL must be http;" in done.stdout
    assert b"s3cret" not in done.stdout + done.stderr
    config.write_text(text.replace("{url}", "https://127.0.0.1"))
    assert command("check", "--running", str(config), **how).returncode == 0


# Reload.


def test_another_proxy_after_a_reload_shares_no_connection(
    launch: Launcher, authority: Authority, tls: ssl.SSLContext
) -> None:
    one, other = launch.tunnels(NAMES), launch.tunnels(NAMES)
    upstream = launch.upstream(tls=tls)
    cluster = {
        "endpoints": [f"https://model.test:{upstream.port}"],
        "tls": {"ca": str(authority.certificate)},
        "proxy": one.url,
    }
    site = Site(launch, {"c": cluster})
    _exchanged(site, upstream, "c")
    file = site.proxy.config
    assert file is not None
    file.write_text(file.read_text().replace(one.url, other.url))
    site.proxy.wait_for("waypost: reloaded")
    _exchanged(site, upstream, "c")
    assert (len(one.asked), len(other.asked)) == (1, 1)
    assert upstream.accepted == 2

"""Proxies in a configuration and in the environment."""

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waypost.config import parse_config
from waypost.config.positions import ShapeError
from waypost.config.proxy import Environment, Proxy, check_proxy
from waypost.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "host", "port", "user"),
    [
        ("http://proxy.example:3128", "proxy.example", 3128, None),
        ("HTTP://10.0.0.1:80/", "10.0.0.1", 80, None),
        ("http://[2001:db8::1]:8080", "2001:db8::1", 8080, None),
        ("http://u:p@proxy:1", "proxy", 1, b"u:p"),
        ("http://u@proxy:1", "proxy", 1, b"u:"),
        ("http://:p@proxy:1", "proxy", 1, b":p"),
        ("http://u:p:q@proxy:1", "proxy", 1, b"u:p:q"),
        ("http://u%20v:%C3%BC@proxy:1", "proxy", 1, "u v:ü".encode()),
    ],
)
def test_what_names_a_proxy(url, host, port, user):
    proxy = check_proxy(url)
    assert (proxy.host, proxy.port) == (host, port)
    assert proxy.authorization == ("" if user is None else "Basic " + base64.b64encode(user).decode())
    assert proxy


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("https://proxy:1", "the scheme of a proxy's URL must be http;"),
        ("socks5://s3cret:s3cret@proxy:1", "the scheme of a proxy's URL must be http;"),
        ("proxy:1", "the scheme of a proxy's URL must be http;"),
        ("http://proxy", "must name the port"),
        ("http://s3cret:s3cret@:1", "has no host"),
        ("http://proxy:0", "1 to 65535"),
        ("http://proxy:65536", "1 to 65535"),
        ("http://proxy:s3cret", "1 to 65535"),
        ("http://u:s3cret@more@proxy:1", "`/ ? # @` in a password"),
        ("http://u:s3/cret@proxy:1", "`/ ? # @` in a password"),
        ("http://proxy:1/path", "not the URL of a proxy"),
        ("http://u:%0d%0as3cret@proxy:1", "control characters"),
        ("http://u%3As3cret:p@proxy:1", "cannot contain a colon"),
        ("http://u:\udcffs3cret@proxy:1", "not UTF-8 text"),
        ("http://[s3cret]:1", "IPv6"),
        ("http://s3 cret:1", "not a host name"),
        ("None", "the scheme of a proxy's URL must be http;"),
        ("", "the scheme of a proxy's URL must be http;"),
        (7, "must be a URL"),
    ],
)
def test_what_names_none_is_an_error_that_quotes_nothing(value, said):
    with pytest.raises(ShapeError) as caught:
        check_proxy(value)
    assert said in str(caught.value)
    assert "s3" not in str(caught.value)


@given(user=st.text(st.characters(exclude_categories=["C"], exclude_characters=":")), password=st.text())
def test_any_user_and_password_can_be_written(user, password):
    try:
        url = f"http://{quote(user, safe='')}:{quote(password, safe='')}@proxy:1"
        raw = f"{user}:{password}".encode()
    except UnicodeEncodeError:
        return
    if any(byte < 0x20 or byte == 0x7F for byte in raw):
        with pytest.raises(ShapeError):
            check_proxy(url)
        return
    proxy = check_proxy(url)
    assert base64.b64decode(proxy.authorization.removeprefix("Basic ")) == raw
    assert str(proxy) == "proxy http://proxy:1"
    assert proxy.authorization not in repr(proxy)


def test_a_configuration_shows_no_password():
    text = """
clusters:
  c: {speaks: openai, endpoints: [https://x], proxy: "http://u:${PASSWORD}@proxy:1"}
  d: {speaks: openai, endpoints: [https://x], proxy: none}
"""
    config = parse_config(text, environ={"PASSWORD": "s3cret"})
    assert config.clusters["c"].proxy == Proxy("proxy", 1, "Basic " + base64.b64encode(b"u:s3cret").decode())
    assert not config.clusters["d"].proxy
    assert config.clusters["d"].proxy is not None
    secret = config.clusters["c"].proxy.authorization.removeprefix("Basic ")
    assert "s3cret" not in repr(config)
    assert secret not in repr(config)
    assert secret not in str(config.to_native())


def test_a_fault_is_at_its_place_and_quotes_nothing():
    text = """
clusters:
  c:
    speaks: openai
    endpoints: [https://x]
    proxy: https://u:s3cret@proxy:1
"""
    with pytest.raises(ConfigError) as caught:
        parse_config(text, file="f.yaml")
    (problem,) = caught.value.problems
    assert str(problem).startswith("f.yaml:6:12: clusters.c.proxy: the scheme of a proxy's URL must be http;")
    assert "s3cret" not in str(problem)


def used(environ, url="https://models.example", port=443):
    scheme, _, host = url.partition("://")
    proxy = Environment(environ).proxy(scheme == "https", host, port)
    return None if proxy is None else (proxy.host, proxy.source)


def test_which_variable_counts():
    assert used({}) is None
    assert not Environment({"HTTPS_PROXY": "", "http_proxy": " "})
    assert used({"HTTPS_PROXY": "http://a:1"}) == ("a", "HTTPS_PROXY")
    assert used({"HTTPS_PROXY": "a:1"}) == ("a", "HTTPS_PROXY")
    assert used({"HTTPS_PROXY": "http://a:1", "https_proxy": "http://b:1"}) == ("b", "https_proxy")
    assert used({"HTTPS_PROXY": "http://a:1", "https_proxy": ""}) == ("a", "HTTPS_PROXY")
    assert used({"HTTP_PROXY": "http://a:1"}) is None
    assert used({"HTTP_PROXY": "http://a:1"}, "http://models.example", 80) == ("a", "HTTP_PROXY")
    assert used({"ALL_PROXY": "http://a:1"}) is None


@pytest.mark.parametrize("host", ["localhost", "LocalHost.", "a.localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_loopback_needs_no_exception(host):
    assert Environment({"HTTPS_PROXY": "http://a:1"}).proxy(True, host, 443) is None
    assert Environment({"HTTPS_PROXY": "no proxy at all"}).proxy(True, host, 443) is None


def test_a_variable_that_names_none_is_named_where_it_counts():
    with pytest.raises(ShapeError, match="environment variable `https_proxy`: "):
        Environment({"https_proxy": "socks5://a:1"}).proxy(True, "models.example", 443)


@pytest.mark.parametrize(
    ("listed", "direct", "by_proxy"),
    [
        ("example.com", ["example.com", "EXAMPLE.com", "a.example.com", "example.com."], ["badexample.com", "com"]),
        (".example.com", ["a.example.com"], ["example.com"]),
        ("*.example.com", ["a.b.example.com"], ["example.com"]),
        ("*", ["anything.test", "10.0.0.1", "2001:db8::1"], []),
        ("10.0.0.0/8", ["10.1.2.3"], ["11.0.0.1", "name.test"]),
        ("10.0.0.1", ["10.0.0.1"], ["10.0.0.2", "110.0.0.1"]),
        ("2001:db8::1,[2001:db8::2]", ["2001:db8::1", "2001:db8::2"], ["2001:db8::3"]),
        ("2001:db8::/32", ["2001:db8:1::1"], ["2001:db9::1"]),
        ("a.test:443 , b.test:8443", ["a.test"], ["b.test"]),
        ("[2001:db8::1]:443", ["2001:db8::1"], []),
        (" a.test  b.test,,", ["a.test", "b.test"], ["c.test"]),
    ],
)
def test_what_no_proxy_covers(listed, direct, by_proxy):
    environment = Environment({"HTTPS_PROXY": "http://a:1", "NO_PROXY": listed})
    assert [host for host in direct if environment.proxy(True, host, 443) is not None] == []
    assert [host for host in by_proxy if environment.proxy(True, host, 443) is None] == []

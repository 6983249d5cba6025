"""When only keys could tell who the callers are."""

from __future__ import annotations

from pathlib import Path

import pytest
from waypost.binding import needs_keys, restart_needed
from waypost.config import Config, Listen, ListenTls

TLS = ListenTls(certificate="c.pem")
ASKING = ListenTls(certificate="c.pem", client_ca="ca.pem")
OPTIONAL = ListenTls(certificate="c.pem", client_ca="ca.pem", client_auth="optional")


@pytest.mark.parametrize(
    ("began", "now", "needed"),
    [
        (Listen(), Listen(), False),
        (Listen(uds="s"), Listen(), False),
        (Listen(host="::1"), Listen(host="::"), False),
        (Listen(host="0.0.0.0"), Listen(), True),
        (Listen(host="localhost"), Listen(), False),
        (Listen(host="10.0.0.1", tls=TLS), Listen(tls=TLS), True),
        (Listen(host="10.0.0.1", tls=ASKING), Listen(tls=ASKING), False),
        (Listen(host="10.0.0.1", tls=TLS), Listen(tls=ASKING), False),
        (Listen(host="10.0.0.1", tls=ASKING), Listen(tls=OPTIONAL), True),
        (Listen(host="10.0.0.1", tls=ASKING), Listen(), True),
        # It goes on with plain HTTP until it is started again.
        (Listen(host="10.0.0.1"), Listen(tls=ASKING), True),
    ],
)
def test_keys_are_needed_where_other_hosts_connect_and_nothing_else_knows_them(
    began: Listen, now: Listen, needed: bool
) -> None:
    assert needs_keys(Config(listen=now), began) is needed


def test_what_needs_a_restart(tmp_path: Path) -> None:
    assert not restart_needed(Listen(), Listen(keep_alive=1.0, trusted=["unix"]))
    assert not restart_needed(Listen(tls=TLS), Listen(tls=ASKING))
    for other in (Listen(port=1), Listen(host="::1"), Listen(uds=str(tmp_path)), Listen(tls=TLS)):
        assert restart_needed(Listen(), other)

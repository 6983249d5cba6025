"""What clients and the log are told of attempts that failed."""

import errno
import logging
import socket
import ssl
from types import SimpleNamespace

import pytest
from waypost.errors import UpstreamError
from waypost.exchange import failures

ENDPOINT = SimpleNamespace(
    cluster=SimpleNamespace(name="local"),
    url="https://gpu-7.internal:9443/private",
    host="gpu-7.internal",
    address=None,
)


def certificate_error():
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "Hostname mismatch, certificate is not valid for 'gpu-7.internal'."
    return error


@pytest.mark.parametrize(
    "exc",
    [
        socket.gaierror(-2, "Name or service not known: gpu-7.internal"),
        certificate_error(),
        ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] gpu-7.internal"),
        OSError(errno.ECONNREFUSED, "Connect call failed ('gpu-7.internal', 9443)"),
        OSError("Multiple exceptions: Connect call failed ('gpu-7.internal', 9443), ..."),
        ConnectionAbortedError("SSL handshake with gpu-7.internal"),
        RuntimeError("gpu-7.internal"),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_a_client_is_not_told_hosts_and_the_log_is(exc, caplog):
    error = failures.unreachable(ENDPOINT, exc)
    assert (error.code, error.retryable) == ("upstream_unreachable", True)
    assert error.message.startswith("cluster local: ")
    assert "internal" not in error.message
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("waypost", logging.WARNING)
    assert ENDPOINT.url in record.getMessage()
    assert str(exc) in record.getMessage()


def test_every_failure_names_the_cluster_to_the_client_and_the_url_to_the_log(caplog):
    made = [
        failures.connection_lost(ENDPOINT, None, answered=False),
        failures.bad_response(ENDPOINT, UpstreamError("upstream_protocol", "two lengths")),
        failures.timed_out(ENDPOINT, "no response", 1.5),
    ]
    assert [error.message for error in made] == [
        "cluster local: connection closed before responding",
        "cluster local: two lengths",
        "cluster local: no response within 1.5 s",
    ]
    assert [ENDPOINT.url in record.getMessage() for record in caplog.records] == [True] * 3

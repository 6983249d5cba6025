"""`Gateway`: what a process tells the others that serve with it."""

from __future__ import annotations

import logging

import pytest
from waypost.config import Config, from_dict
from waypost.gateway import Gateway


def endpoints(count: int) -> Config:
    urls = [f"http://host-{at}.test:8000/openai/v1" for at in range(count)]
    document = {"clusters": {"many": {"speaks": "openai", "endpoints": urls}}, "routes": [], "access_log": "off"}
    return from_dict(document)


def test_too_many_endpoints_to_tell_of_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    def said() -> int:
        return sum("so many endpoints" in record.message for record in caplog.records)

    caplog.set_level(logging.WARNING, "waypost")
    many = endpoints(80_000)
    gateway = Gateway(many)
    gateway.publish()
    assert said() == 0  # one process has nobody to tell
    gateway.divide(2)
    gateway.become_worker(0, 2)
    for _ in range(2):
        gateway.publish()
    assert said() == 1
    gateway.replace(endpoints(1))
    gateway.publish()
    gateway.replace(many)
    gateway.publish()
    assert said() == 2

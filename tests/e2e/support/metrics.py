"""What `/metrics` says."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from .proxy import Proxy


class Metrics:
    """What `/metrics` says at one moment."""

    def __init__(self, proxy: Proxy, **how: Any) -> None:
        response = proxy.ask("GET", "/metrics", **how)
        assert (response.status, response.get("content-type")) == (200, "text/plain; version=0.0.4; charset=utf-8")
        families = text_string_to_metric_families(response.body.decode())
        self._samples = [sample for family in families for sample in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        found = [
            each for each in self._samples if each.name == f"waypost_{name}" and labels.items() <= each.labels.items()
        ]
        return sum(each.value for each in found)

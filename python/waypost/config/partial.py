"""A configuration of which not all could be read, so that what could be is checked all the same.

Whatever has been reported is either unknown in it, or replaced by something in which there is nothing to find:
a problem is reported once, and nothing that merely follows from one is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct, structs

from waypost.config.config import Config, Sources
from waypost.config.model import Cluster, Endpoint, Route
from waypost.config.pattern import UNKNOWN
from waypost.config.policy import POLICY_KEYS
from waypost.config.positions import REPORTED, Reported

__all__ = ["draft"]

_ENDPOINT: Final = Endpoint(url="http://localhost")
_NO_CLUSTER: Final = ""


def draft(clusters: Mapping[str, Any], routes: Sequence[Any], places: Sources) -> Config:
    """What is known of `clusters` and `routes`, each of them built or `Reported`. Nothing but to be checked.

    Routes have made-up names: names are checked before.
    """
    # A route to a cluster of which nobody knows what it speaks may be right.
    unsure = {name for name, cluster in clusters.items() if not isinstance(_known(cluster).get("speaks"), str)}
    return Config(
        clusters={name: _cluster(_known(cluster)) for name, cluster in clusters.items()},
        routes=[_route(str(index), _known(route), unsure) for index, route in enumerate(routes)],
        _places=places,
    )


def _known(value: Any) -> Mapping[str, Any]:
    """What is known of a struct, by field."""
    if isinstance(value, Struct):
        return structs.asdict(value)
    known = value.known if isinstance(value, Reported) else None
    return known if isinstance(known, Mapping) else {"match": UNKNOWN}


def _items(value: Any) -> list[Any]:
    known = value.known if isinstance(value, Reported) else value
    return known if isinstance(known, list) else []


def _cluster(known: Mapping[str, Any]) -> Cluster:
    speaks, credential, tls = known.get("speaks", REPORTED), known.get("credential"), known.get("tls")
    return Cluster(
        speaks="envelope" if isinstance(speaks, Reported) else speaks,
        endpoints=[_endpoint(_known(each)) for each in _items(known.get("endpoints"))],
        credential=None if isinstance(credential, Reported) else credential,
        tls=None if isinstance(tls, Reported) else tls,
        **{key: known[key] for key in POLICY_KEYS if key in known},
    )


def _endpoint(known: Mapping[str, Any]) -> Endpoint:
    url = known.get("url")
    return Endpoint(url=url) if isinstance(url, str) else _ENDPOINT


def _route(name: str, known: Mapping[str, Any], unsure: set[str]) -> Route:
    def cluster(name: Any) -> str:
        return name if isinstance(name, str) and name not in unsure else _NO_CLUSTER

    match = known.get("match", {})
    if isinstance(match, Reported):
        match = UNKNOWN if match.known is None else match.known
    return Route(
        name=name,
        match=match,
        to=cluster(known.get("to")),
        fallback=[cluster(each) for each in _items(known.get("fallback", []))],
    )

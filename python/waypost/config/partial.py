"""The valid parts of a configuration that has problems, so that the extension can check these parts too.

A part whose problem has been reported is marked as unknown, or replaced by a harmless value. So every problem is
reported once, and none that merely follows from another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct, structs

from waypost.config.config import Config, SourceMap
from waypost.config.model import Cluster, Endpoint, Route
from waypost.config.pattern import UNKNOWN
from waypost.config.policy import POLICY_KEYS
from waypost.config.positions import REPORTED, Reported

__all__ = ["partial_config"]

_ENDPOINT: Final = Endpoint(url="http://localhost")
_NO_CLUSTER: Final = ""


def partial_config(clusters: Mapping[str, Any], routes: Sequence[Any], source_map: SourceMap) -> Config:
    """The valid parts of `clusters` and `routes`, whose values are built or `Reported`. Only for checks.

    The routes get made-up names, because their names have been checked already.
    """
    # The dialect of these clusters is unknown, so a route to them may be valid.
    unknown_dialect = {name for name, cluster in clusters.items() if not isinstance(_known(cluster).get("speaks"), str)}
    return Config(
        clusters={name: _cluster(_known(cluster)) for name, cluster in clusters.items()},
        routes=[_route(str(index), _known(route), unknown_dialect) for index, route in enumerate(routes)],
        _source_map=source_map,
    )


def _known(value: Any) -> Mapping[str, Any]:
    """The valid fields of a struct, by name."""
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


def _route(name: str, known: Mapping[str, Any], unknown_dialect: set[str]) -> Route:
    def cluster(name: Any) -> str:
        return name if isinstance(name, str) and name not in unknown_dialect else _NO_CLUSTER

    match = known.get("match", {})
    if isinstance(match, Reported):
        match = UNKNOWN if match.known is None else match.known
    return Route(
        name=name,
        match=match,
        to=cluster(known.get("to")),
        fallback=[cluster(each) for each in _items(known.get("fallback", []))],
    )

"""A proxy with upstreams behind it, and the fixtures' factory that starts and stops them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from .client import Client, Response
from .proxy import Proxy, environment
from .tunnels import ConnectProxy
from .upstream import Answer, Peer, Server, Upstream, plain
from .wire import chunk

PATHS = ("fast", "asgi")
"""The ways in through which every test of the corpus goes."""
_CALM: Final = {"retry": "off", "breaker": "off", "health": {"rest_max": "0s"}}
_ARGUMENTS = {"fast": (), "asgi": ("--no-fast-path",)}


class Launcher:
    """Starts proxies and upstreams, and stops all of them at the end."""

    def __init__(self, path: str, directory: Path) -> None:
        self.path = path
        self.directory = directory
        self.proxies: list[Proxy] = []
        self.upstreams: list[Upstream] = []
        self._servers: list[Server] = []
        self._tunnels: list[ConnectProxy] = []

    def serve(
        self,
        config: Mapping[str, Any] | str,
        *args: str,
        env: Mapping[str, str] | None = None,
        program: Sequence[str] = (sys.executable, "-m", "waypost"),
    ) -> Proxy:
        """`waypost serve` on a free port (unless `args` name a Unix socket). `program` is how to call `waypost`."""
        file = self.directory / f"waypost-{len(self.proxies)}.yaml"
        file.write_text(config if isinstance(config, str) else json.dumps(config))
        where = () if "--uds" in args or "--port" in args else ("--port", "0")
        argv = [*program, "serve", str(file), *where, *_ARGUMENTS[self.path], *args]
        proxy = Proxy(argv, config=file, env=environment(**(env or {})))
        self.proxies.append(proxy)
        return proxy

    def upstream(self, **how: Any) -> Upstream:
        """An upstream that the test drives."""
        upstream = Upstream(**how)
        self.upstreams.append(upstream)
        return upstream

    def tunnels(self, names: Mapping[str, str], **how: Any) -> ConnectProxy:
        """A proxy between Waypost and its endpoints, which alone knows `names`."""
        tunnels = ConnectProxy(names, **how)
        self._tunnels.append(tunnels)
        return tunnels

    def server(self, answer: Answer = plain, **how: Any) -> Server:
        """An upstream that answers by itself."""
        server = Server(answer, **how)
        self._servers.append(server)
        return server

    def clear(self) -> None:
        """Close all connections, so that the next test begins with none."""
        for proxy in self.proxies:
            proxy.hang_up()
        for upstream in self.upstreams:
            upstream.clear()

    def close(self) -> None:
        self.clear()
        problems: list[Exception] = []
        for proxy in self.proxies:
            try:
                proxy.stop(proxy.stops_with)
            except (AssertionError, OSError) as problem:
                problems.append(problem)
        for upstream in self.upstreams:
            upstream.close()
        for server in [*self._tunnels, *self._servers]:
            server.close()
        if problems:
            raise ExceptionGroup("proxies that did not stop as they should", problems)


class Site:
    """One proxy and its upstreams by cluster. A message goes to the cluster that its `x-to` field names."""

    def __init__(
        self,
        launcher: Launcher,
        clusters: Mapping[str, Mapping[str, Any]],
        rest: Mapping[str, Any] | None = None,
        *,
        args: tuple[str, ...] = (),
        **how: Any,
    ) -> None:
        """Clusters without endpoints get an upstream each. `fallback` in one is its route's, `base` its URL's path.

        Each cluster makes one attempt, whatever became of earlier ones, unless it says otherwise: `_CALM`. `rest` is
        the rest of the configuration.
        """
        self._upstreams: dict[str, Upstream] = {}
        full: dict[str, dict[str, Any]] = {}
        routes = []
        for name, cluster in clusters.items():
            full[name] = {"speaks": "openai", **_CALM, **cluster}
            fallback = full[name].pop("fallback", [])
            if "endpoints" not in full[name]:
                upstream = self._upstreams[name] = launcher.upstream()
                full[name]["endpoints"] = [upstream.url + full[name].pop("base", "")]
            # Every path, those of the API that no route serves unless it names them included.
            match = {"path": [{"prefix": "/"}], **self._match(name)}
            routes.append({"name": f"to-{name}", "match": match, "to": name, "fallback": fallback})
        self.proxy = launcher.serve({"clusters": full, "routes": routes, **(rest or {})}, *args, **how)

    @staticmethod
    def _match(name: str) -> dict[str, Any]:
        return {"headers": {"x-to": [name]}}

    def add(self, **upstreams: Upstream) -> None:
        """Give names to upstreams that were made for the endpoints of clusters."""
        self._upstreams |= upstreams

    def __getitem__(self, cluster: str) -> Upstream:
        return self._upstreams[cluster]

    def client(self, **how: Any) -> Client:
        return self.proxy.client(**how)

    def chat(self, cluster: str, body: bytes | Mapping[str, Any] | None = None, **headers: str) -> Client:
        """Send a chat completion request (with `headers`, `_` for `-`) for a cluster; the client has the answer."""
        return self._post(
            "/v1/chat/completions", cluster, {"model": "m", "messages": []} if body is None else body, headers
        )

    def begun_stream(self, cluster: str) -> tuple[Client, Peer, Response]:
        """A streamed response of a cluster, of which the client has `data: 1`: the client, its endpoint and that."""
        client = self.chat(cluster, {"model": "m", "messages": [], "stream": True})
        peer, _ = self[cluster].request()
        peer.start()
        peer.send(chunk(b"data: 1\n\n"))
        response = client.response()
        assert response.stream.exactly(9) == b"data: 1\n\n"
        return client, peer, response

    def envelope(self, cluster: str, body: bytes | Mapping[str, Any] | None = None, **headers: str) -> Client:
        """Send an envelope for a cluster."""
        return self._post("/v1/envelopes", cluster, {"id": "e-1", "kind": "query"} if body is None else body, headers)

    def _post(self, target: str, cluster: str, body: bytes | Mapping[str, Any], headers: dict[str, str]) -> Client:
        client = self.client()
        fields = {"x-to": cluster, **{name.replace("_", "-"): value for name, value in headers.items()}}
        client.ask("POST", target, body if isinstance(body, bytes) else json.dumps(body).encode(), fields)
        return client

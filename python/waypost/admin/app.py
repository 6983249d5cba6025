"""The HTTP paths of administration, as an ASGI application.

`/healthz` and `/readyz` are open to everyone. `/metrics` and all paths below `/-/` are open to callers that
`Gateway.admit` admits. If administration has a listener of its own, they are open to everyone there, and nowhere else.
Each path takes GET and HEAD.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from waypost.admin.read_model import ReadModel
from waypost.dialects.errors import error_object
from waypost.errors import WaypostError
from waypost.gateway import CERTIFICATE, Gateway

__all__ = ["admin_app", "listener_app"]

_encode: Final = msgspec.json.Encoder(decimal_format="number").encode

_Answer = Callable[[Scope], Awaitable[Response]]


def admin_app(gateway: Gateway, default: ASGIApp) -> ASGIApp:
    """An ASGI application that answers the paths of administration, and passes every other request to `default`."""
    return _router(gateway, default, functools.partial(_Guarded, gateway))


def listener_app(gateway: Gateway) -> Starlette:
    """The application of the listener that administration has of its own."""
    nothing = _NotFound("this listener has administration only, at")
    app = Starlette(routes=[Mount("/", _router(gateway, nothing, lambda page, **_: page))])
    app.state.gateway = gateway
    return app


def _router(gateway: Gateway, default: ASGIApp, guarded: Callable[..., ASGIApp]) -> ASGIApp:
    """The paths of administration. `guarded` puts what admits callers in front of a page."""
    model = ReadModel(gateway)

    async def healthz(_: Scope) -> Response:
        return _json({"status": "ok"})

    async def readyz(_: Scope) -> Response:
        if gateway.draining:
            error = {"code": "draining", "message": "this process is stopping: send messages elsewhere"}
            return _json({"status": "draining", "error": error}, 503, {"retry-after": "1"})
        return _json({"status": "ready"})

    async def metrics(scope: Scope) -> Response:
        gateway.publish()
        accepts = b"".join(value for name, value in scope["headers"] if name == b"accept")
        openmetrics = b"application/openmetrics-text" in accepts
        text, media_type = gateway.recorder.render(gateway.registry, openmetrics=openmetrics)
        return Response(text, media_type=media_type)

    async def clusters(_: Scope) -> Response:
        return _json({"clusters": model.clusters()})

    async def decisions(_: Scope) -> Response:
        return _json(model.decisions())

    async def configuration(_: Scope) -> Response:
        # In a thread, because 100,000 routes take a while to encode, and messages must not wait for that.
        return Response(await asyncio.to_thread(lambda: _encode(model.configuration())), media_type="application/json")

    router = Router(
        [
            Route("/healthz", _Page(healthz)),
            Route("/readyz", _Page(readyz)),
            Route("/metrics", guarded(_Page(metrics), metrics=True)),
            Route("/-/clusters", guarded(_Page(clusters))),
            Route("/-/decisions", guarded(_Page(decisions))),
            Route("/-/config", guarded(_Page(configuration))),
            # Only admitted callers are told that any other path is not found.
            Route("/-/{unknown:path}", guarded(_NotFound("administration is at"))),
        ],
        redirect_slashes=False,
        default=default,
    )

    async def by_raw_path(scope: Scope, receive: Receive, send: Send) -> None:
        # No path of administration needs percent-encoding. Whatever decodes a path further would read another one.
        raw: bytes | None = scope.get("raw_path")
        encoded = raw is not None and b"%" in raw[len(scope.get("root_path", "")) :]
        await (default if encoded else router)(scope, receive, send)

    return by_raw_path


class _Page:
    """The ASGI application of one path, which also answers methods other than GET and HEAD, with an error."""

    def __init__(self, answer: _Answer) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] in ("GET", "HEAD"):
            response = await self._answer(scope)
        else:
            error = WaypostError("method_not_allowed", f"{scope['path']} takes GET, HEAD, not {scope['method']}")
            response = _json({"error": error_object(error)}, error.status, {"allow": "GET, HEAD"})
        await response(scope, receive, send)


class _Guarded:
    """An ASGI application that only admitted callers reach: for `metrics`, those who may read the metrics.

    Nobody does if administration has a listener of its own.
    """

    def __init__(self, gateway: Gateway, app: ASGIApp, *, metrics: bool = False) -> None:
        self._gateway = gateway
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._gateway.admin_listener:
            await _ELSEWHERE(scope, receive, send)
            return
        if scope["type"] == "http":
            try:
                certificate = (scope.get("extensions") or {}).get(CERTIFICATE)
                self._gateway.admit(scope["headers"], certificate, metrics=self._metrics)
            except WaypostError as error:
                headers = {"www-authenticate": "Bearer"} if error.code == "unauthorized" else None
                await _json({"error": error_object(error)}, error.status, headers)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class _NotFound:
    """The ASGI application of every path that administration does not have."""

    def __init__(self, why: str, *, listed: bool = True) -> None:
        paths = " /healthz, /readyz, /metrics, /-/clusters, /-/decisions and /-/config"
        self._why = why + (paths if listed else "")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = WaypostError("not_found", f"there is nothing at `{scope['path']:.100}`: {self._why}")
        await _json({"error": error_object(error)}, error.status)(scope, receive, send)


_ELSEWHERE: Final = _NotFound("administration has a listener of its own here (listen.admin)", listed=False)


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(content, status, headers)

"""`create_app`: a Starlette application around the data path."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from waypost._native import dialects
from waypost.config import Config
from waypost.dialects.errors import error_object
from waypost.entry.asgi import DataPath
from waypost.errors import ConfigError, WaypostError
from waypost.gateway import Gateway
from waypost.table import read_config

__all__ = ["create_app", "from_env"]

_PLACES: Final = {path for dialect in dialects() for path in dialect.paths}
_PATHS: Final = frozenset(path for path in _PLACES if not path.endswith("*"))
_BELOW: Final = tuple(path.removesuffix("*") for path in _PLACES if path.endswith("*"))
"""The paths to which messages are sent: single ones, and what others begin with."""


def create_app(config: Config) -> Starlette:
    """A Starlette application that serves `config`: run it, mount it, or test it.

    `app.state.gateway` is its `Gateway`. Raises `ConfigError` with every problem.
    """
    if not isinstance(config, Config):
        raise TypeError(f"create_app takes a Config, not {type(config).__name__}: create_app(load_config(path))")
    gateway = Gateway(config)

    def healthz(_: Scope) -> Response:
        return JSONResponse({"status": "ok"})

    def readyz(_: Scope) -> Response:
        if gateway.draining:
            error = {"code": "draining", "message": "this process is stopping: send messages elsewhere"}
            return JSONResponse({"status": "draining", "error": error}, 503, {"retry-after": "1"})
        return JSONResponse({"status": "ready"})

    def metrics(scope: Scope) -> Response:
        gateway.publish()
        accepts = b"".join(value for name, value in scope["headers"] if name == b"accept")
        openmetrics = b"application/openmetrics-text" in accepts
        text, media_type = gateway.recorder.render(gateway.registry, openmetrics=openmetrics)
        return Response(text, media_type=media_type)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        gateway.runtime()  # endpoints are checked before the first message comes
        yield
        gateway.close()

    def clusters(_: Scope) -> Response:
        return JSONResponse({"clusters": gateway.registry.view()})

    data_path = DataPath(gateway)
    app = _App(
        data_path,
        routes=[
            Route("/healthz", _Probe(healthz)),
            Route("/readyz", _Probe(readyz)),
            Route("/-/clusters", _Admin(gateway, _Probe(clusters))),
            Route("/metrics", _Admin(gateway, _Probe(metrics))),
            # Nothing is there yet.
            Route("/-/{rest:path}", _Admin(gateway, data_path)),
            Mount("/", data_path),
        ],
        lifespan=lifespan,
    )
    app.state.gateway = gateway
    return app


class _Probe:
    """A path that is asked with GET or HEAD: an ASGI application, so that other methods reach it and get an error."""

    def __init__(self, answer: Callable[[Scope], Response]) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = self._answer(scope)
        if scope["method"] not in ("GET", "HEAD"):
            error = WaypostError("method_not_allowed", f"{scope['path']} takes GET, HEAD, not {scope['method']}")
            response = JSONResponse({"error": error_object(error)}, error.status, {"allow": "GET, HEAD"})
        await response(scope, receive, send)


class _Admin:
    """An ASGI application behind the check of who may see what administration shows."""

    def __init__(self, gateway: Gateway, app: ASGIApp) -> None:
        self._gateway = gateway
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                self._gateway.admit(scope["headers"])
            except WaypostError as error:
                headers = {"www-authenticate": "Bearer"} if error.code == "unauthorized" else None
                await JSONResponse({"error": error_object(error)}, error.status, headers)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class _App(Starlette):
    """Starlette, with a short way to the data path for messages.

    Starlette's error layers and router cost about a quarter of what a bare request does. The data path needs neither:
    it answers its own errors, and every path of a dialect is its. Middleware that a user adds sees these as well, but
    stands outside of Starlette's `ServerErrorMiddleware` there: what it raises on such a path goes to the server (a
    bare 500 and a traceback in its log), past `exception_handlers` and `debug`.
    """

    def __init__(self, data_path: DataPath, **settings: Any) -> None:
        super().__init__(**settings)
        self._data_path = data_path
        # What no route is for, such as `OPTIONS *`, gets an error like any other.
        self.router.default = self._data_path

    def build_middleware_stack(self) -> ASGIApp:
        user, self.user_middleware = self.user_middleware, []
        try:
            rest = super().build_middleware_stack()
        finally:
            self.user_middleware = user
        data_path = self._data_path

        def choose(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            if scope["type"] == "http":
                path, root = scope["path"], scope.get("root_path", "")
                if path.startswith(root) and (path.startswith(_BELOW, len(root)) or path[len(root) :] in _PATHS):
                    return data_path(scope, receive, send)
            return rest(scope, receive, send)

        app: ASGIApp = choose
        for cls, args, kwargs in reversed(user):
            app = cls(app, *args, **kwargs)
        return app


def from_env() -> Starlette:
    """The application for the file that `WAYPOST_CONFIG` names, or `waypost.yaml`.

    Made for servers that call a factory: `uvicorn --factory waypost.app:from_env`. Problems go to standard error, and
    the process exits with status 1.
    """
    try:
        return create_app(read_config(os.environ.get("WAYPOST_CONFIG", "waypost.yaml")))
    except ConfigError as error:
        print(error.message, file=sys.stderr)  # noqa: T201 - there is no other way to tell
        raise SystemExit(1) from None

"""`create_app`: the application with the data path and administration, and its reload."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from waypost._native import dialects
from waypost.admin.app import admin_app
from waypost.config import Config
from waypost.entry.asgi import DataPath
from waypost.errors import ConfigError
from waypost.gateway import Gateway
from waypost.table import ConfigSource, read_config

__all__ = ["Application", "create_app", "from_env"]

_DIALECT_PATHS: Final = {path for dialect in dialects() for path in dialect.paths}
_PATHS: Final = frozenset(path for path in _DIALECT_PATHS if not path.endswith("*"))
"""The single paths of the dialects."""
_PREFIXES: Final = tuple(path.removesuffix("*") for path in _DIALECT_PATHS if path.endswith("*"))
"""The prefixes of the dialects' other paths."""


def create_app(config: Config | ConfigSource) -> Application:
    """Make an application that serves `config`: run it, mount it, or test it.

    `config` is what `load_config` returns, or what it takes: the path of a file, or a mapping. `app.state.gateway` is
    the application's `Gateway`. Raises `ConfigError` with every problem.
    """
    gateway = Gateway(_read(config))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        gateway.runtime()  # so that endpoints are checked before the first message arrives
        yield
        gateway.close()

    data_path = DataPath(gateway)
    app = Application(data_path, gateway, routes=[Mount("/", admin_app(gateway, data_path))], lifespan=lifespan)
    app.state.gateway = gateway
    return app


def _read(config: Config | ConfigSource) -> Config:
    if isinstance(config, Config):
        return config
    if isinstance(config, (str, os.PathLike, Mapping)):
        return read_config(config)
    raise TypeError(f"a configuration is a Config, the path of a file or a mapping, not {type(config).__name__}")


class Application(Starlette):
    """A Starlette application that routes messages, with a short way to the data path.

    Starlette's error layers and router cost about a quarter of a bare request. The data path needs neither: it answers
    its own errors, and owns every path of a dialect. Middleware that a user adds sees messages as well, but outside
    Starlette's `ServerErrorMiddleware`. An exception that it raises for a message therefore goes to the server (a bare
    500, and a traceback in the log), and bypasses `exception_handlers` and `debug`.
    """

    def __init__(self, data_path: DataPath, gateway: Gateway, **settings: Any) -> None:
        super().__init__(**settings)
        self._data_path = data_path
        self._gateway = gateway
        # The data path also answers requests that no route takes, such as `OPTIONS *`.
        self.router.default = self._data_path

    async def reload(self, config: Config | ConfigSource) -> None:
        """Serve `config`, which is what `create_app` takes, from the next message on.

        Messages in flight end with the configuration that they began with. Raises `ConfigError` with every problem; the
        configuration in force then stays. The work is done in a thread, so that messages do not wait; do not change a
        mapping before `reload` returns. May be called from any event loop, in any thread. Reloads are carried out one
        after the other, in the order of their calls. A reload that is cancelled may still be carried out.
        """
        await asyncio.wrap_future(self._gateway.reload(lambda: _read(config)))

    def build_middleware_stack(self) -> ASGIApp:
        user, self.user_middleware = self.user_middleware, []
        try:
            starlette_stack = super().build_middleware_stack()
        finally:
            self.user_middleware = user
        data_path = self._data_path

        def choose(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            if scope["type"] == "http":
                path, root = scope["path"], scope.get("root_path", "")
                if path.startswith(root) and (path.startswith(_PREFIXES, len(root)) or path[len(root) :] in _PATHS):
                    return data_path(scope, receive, send)
            return starlette_stack(scope, receive, send)

        app: ASGIApp = choose
        for cls, args, kwargs in reversed(user):
            app = cls(app, *args, **kwargs)
        return app


def from_env() -> Application:
    """Make the application for the file that `WAYPOST_CONFIG` names; `waypost.yaml` by default.

    For servers that call a factory: `uvicorn --factory waypost.app:from_env`. If the configuration has problems, they
    are printed to standard error and the process exits with status 1.
    """
    try:
        return create_app(read_config(os.environ.get("WAYPOST_CONFIG", "waypost.yaml")))
    except ConfigError as error:
        print(error.message, file=sys.stderr)  # noqa: T201 - logging may not be set up
        raise SystemExit(1) from None

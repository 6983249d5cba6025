"""The `Gateway`: everything that one process serves with."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import mmap
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from waypost._native import Recorder, Registry, reseed_ids
from waypost.access_log import AccessLog
from waypost.answers.dispatch import Dispatcher
from waypost.config import Config
from waypost.config.positions import ShapeError
from waypost.config.proxy import Environment, Proxy
from waypost.config.url import endpoint_text
from waypost.errors import STATUS, ConfigError, Problem, counted
from waypost.exchange.runtime import Runtime
from waypost.loop.budget import Budget
from waypost.table import compile_config
from waypost.upstream.settings import UpstreamSettings, names

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from waypost._native import Certificate, Snapshot
    from waypost.exchange.waiting_room import WaitingRoom
    from waypost.server_tls import ServerTls
    from waypost.upstream.tls import Tls

__all__ = ["CERTIFICATE", "Gateway", "Generation", "log_problem"]

CERTIFICATE: Final = "waypost.certificate"
"""Key of an ASGI scope's `extensions`: the client's `Certificate`, if it has presented one."""

_logger = logging.getLogger("waypost")


@dataclass(frozen=True, slots=True)
class Generation:
    """One compiled configuration. A message that begins with a generation ends with it."""

    config: Config
    snapshot: Snapshot
    settings: UpstreamSettings
    loaded: float
    """Time at which the generation came into force, in seconds since 1970."""
    body_limit: int
    """`limits.body`, in bytes."""
    buffered_limit: int
    """`limits.buffered`, in bytes."""
    spare: int
    """Bytes that may be held while one more body of any allowed size still finds room."""
    server_tls: ServerTls | None
    """The TLS of the listener, for `waypost serve`."""

    @property
    def summary(self) -> str:
        """The numbers of routes and clusters, such as `3 routes, 1 cluster`."""
        return f"{counted(len(self.snapshot.table), 'route')}, {counted(len(self.snapshot.clusters), 'cluster')}"

    @property
    def warnings(self) -> list[Problem]:
        """Warnings about parts of the configuration that are legal but probably unintended, with their places."""
        found = [Problem(path, f"warning: {message}") for path, message in self.snapshot.warnings]
        return [*self.config.warnings, *self.config.relocate(found)]


class Gateway:
    """The current generation, a runtime for each event loop, and the state that outlives generations.

    `replace` may be called from any thread, all other methods from an event loop.
    """

    def __init__(self, config: Config) -> None:
        """Raises `ConfigError` with every problem."""
        # All forked workers share this memory, so that each worker can report the numbers of all.
        self.recorder = Recorder(list(STATUS), mmap.mmap(-1, Recorder.SIZE))
        """Counts messages and makes their lines of the access log."""
        self.generation = _compile(config, None, self.recorder)
        """The generation that new messages begin with."""
        self.access_log = AccessLog(self.recorder, config.access_log)
        """Writes the lines of the access log."""
        self.recorder.loaded(good=True, first=True)
        self.registry = Registry(mmap.mmap(-1, Registry.SIZE))
        """The state of clusters and endpoints, which outlives generations."""
        self.budget = Budget()
        """Bytes of request bodies held at this moment, limited by `limits.buffered`."""
        self.dispatcher = Dispatcher(self.recorder, self.budget)
        """Begins the actions of decided messages."""
        self.loopback = False
        """Whether only this host can connect, so that administration needs no key unless there are keys. Set by
        `waypost serve` only."""
        self.admin_listener = False
        """Whether administration has a listener of its own, so that it is nowhere else. Set by `waypost serve` only."""
        self.keys_needed: Callable[[Config], bool] = lambda _: False
        """Whether only keys could tell who the callers are, so that a configuration must have some."""
        self.client_connections: Callable[[], int] = lambda: 0
        """Returns the number of open client connections. Set by `waypost serve`; otherwise 0."""
        self.worker = 0
        """The number of this worker, from 0."""
        self.workers = 1
        """How many workers there are."""
        self.draining = False
        """Whether the process is stopping. It is then not ready, but still serves the messages that arrive."""
        self._runtimes: dict[asyncio.AbstractEventLoop, Runtime] = {}
        self._waiting_rooms: list[WaitingRoom] = []
        self._lock = threading.Lock()
        self._reloads: ThreadPoolExecutor | None = None  # one thread, so that reloads are carried out in order
        self._reloads_lock = threading.Lock()  # not the one above, which a reload holds for long
        self._pid = os.getpid()  # of the process that made this gateway
        _gateways.add(self)
        self._board_has_room = True  # for the state of all clusters, by which workers inform each other
        self.registry.apply(self.generation.snapshot, self.generation.settings.names)

    def replace(self, config: Config) -> Generation:
        """Serve `config` from the next message on. If it raises `ConfigError`, nothing has changed."""
        if not config.keys and self.keys_needed(config):
            message = "without `keys`, other hosts could use this gateway: keep one, or restart with --insecure-no-auth"
            raise ConfigError(config.relocate([Problem(("keys",), message)]))
        with self._lock:
            generation = _compile(config, self.generation, self.recorder)
            try:
                self.access_log.open(config.access_log)
            except OSError as exc:
                raise _not_opened(config, exc) from None
            self.registry.apply(generation.snapshot, generation.settings.names)
            self.generation = generation
            runtimes = list(self._runtimes.values())
        for runtime in runtimes:
            with contextlib.suppress(RuntimeError):  # its event loop is closed
                runtime.loop.call_soon_threadsafe(runtime.follow, generation.snapshot, generation.settings)
        return generation

    def reload(self, read: Callable[[], Config]) -> Future[None]:
        """Serve what `read` returns, in a thread. May be called from any thread; earlier reloads come first."""

        def work() -> None:
            try:
                self.replace(read())
            except ConfigError:
                self.recorder.loaded(good=False)
                raise
            self.recorder.loaded(good=True)

        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - most processes need none

        with self._reloads_lock:
            if self._reloads is None:
                self._reloads = ThreadPoolExecutor(1, "waypost-reload")
            return self._reloads.submit(work)

    def forked(self) -> None:
        """Forget the threads of the process that this one was forked from."""
        self._reloads = None
        self._reloads_lock = threading.Lock()

    def open_log(self) -> None:
        """Open the access log. Raises `ConfigError` if it cannot be opened."""
        try:
            self.access_log.begin()
        except OSError as exc:
            raise _not_opened(self.generation.config, exc) from None

    def runtime(self) -> Runtime:
        """The runtime of the running event loop, made on first use because a mounted application has no lifespan.

        Raises `RuntimeError` without an event loop of asyncio.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            message = "Waypost needs an event loop of asyncio: choose one where the server is started (uvloop is one)"
            raise RuntimeError(message) from None
        runtime = self._runtimes.get(loop)
        if runtime is None:
            with self._lock:
                for closed in [old for old in self._runtimes if old.is_closed()]:
                    runtime = self._runtimes.pop(closed)
                    self.dispatcher.forget(runtime)
                    runtime.waiting_room.close()
                runtime = self._runtimes[loop] = Runtime(
                    loop, self.recorder, self._waiting_rooms, self.registry.resolved
                )
                runtime.follow(self.generation.snapshot, self.generation.settings)
                self._start_log()
                self._warn_of_workers()
        return runtime

    def _warn_of_workers(self) -> None:
        """Say what workers of another server than `waypost serve` lack."""
        if len(self._runtimes) > 1 or not _is_worker_of_a_server():
            return
        own, others = "rates, queues, breakers and metrics", ""
        if self._pid != os.getpid():
            # Forked processes share the memory of the gateway that was made before.
            own, others = "queues, breakers and gauges", "; rates and counters are shared"
        _logger.warning(
            "%s are those of this process alone%s: if the server has other workers, each has its own. "
            "`waypost serve --workers` shares them",
            own,
            others,
        )

    def _start_log(self) -> None:
        try:
            self.access_log.start()
        except OSError as exc:
            # Under another server than `waypost serve`, messages matter more than their log lines.
            _logger.warning(
                "messages are served without an access log: %s", _not_opened(self.generation.config, exc).message
            )

    def publish(self) -> None:
        """Update this process's gauges, show the state of its clusters to other workers, and log its changes."""
        board_has_room = self.registry.publish()
        if self._board_has_room and not board_has_room:
            _logger.warning(
                "workers cannot share the state of so many endpoints: /-/clusters and /metrics show only that of the "
                "worker that answers, until there are fewer endpoints"
            )
        self._board_has_room = board_has_room
        for cluster, url, address, out, condition, failures in self.registry.changes():
            where = endpoint_text(url, address)
            if out:
                broken = f"its breaker is open, {counted(failures, 'failure')} in a row"
                why = "its active check fails" if condition == "check_fails" else broken
                _logger.warning("endpoint %s of cluster `%s` is left alone: %s", where, cluster, why)
            else:
                _logger.warning("endpoint %s of cluster `%s` is used again", where, cluster)
        self.recorder.gauges(
            client_connections=self.client_connections(),
            upstream_idle=sum(len(runtime.pool) for runtime in self._runtimes.values()),
            buffered=self.budget.held,
        )

    def divide(self, workers: int) -> None:
        """Prepare for `workers` processes that will be forked from this one."""
        self.registry.show(mmap.mmap(-1, Registry.SLOT * (workers + 1)))

    def become_worker(self, worker: int, workers: int) -> None:
        """Make this process worker number `worker`, from 0, of `workers`."""
        self.worker, self.workers = worker, workers
        self.recorder.become_worker(worker)
        self.recorder.loaded(good=True, first=True)
        self.registry.become_worker(worker, workers)

    def forget_worker(self, worker: int) -> None:
        """Forget the gauges and the cluster state of a worker that has ended."""
        self.recorder.forget_worker(worker)
        self.registry.forget_worker(worker)

    def admit(
        self, headers: Iterable[tuple[bytes, bytes]], certificate: Certificate | None = None, *, metrics: bool = False
    ) -> None:
        """Raise `WaypostError` unless a request with these header fields, and certificate, may use administration.

        `metrics` asks for the metrics alone. With keys, one is always needed: behind a proxy on this host, everybody's
        connections come from this host.
        """
        generation = self.generation
        if generation.config.keys or not self.loopback:
            generation.snapshot.admit(headers, certificate=certificate, metrics=metrics)

    def drain(self) -> None:
        """Begin to drain: `/readyz` says that the process takes no more messages."""
        self.draining = True

    def close(self) -> None:
        """Close the runtime of the running event loop, and with the last one the access log."""
        runtime = self._runtimes.pop(asyncio.get_running_loop(), None)
        if runtime is not None:
            self.dispatcher.close(runtime)
            runtime.close()
        if not self._runtimes:
            self.access_log.suspend()


_gateways: weakref.WeakSet[Gateway] = weakref.WeakSet()


def _forked() -> None:
    reseed_ids()
    for gateway in _gateways:
        gateway.forked()


os.register_at_fork(after_in_child=_forked)


def _is_worker_of_a_server() -> bool:
    """Whether another server than `waypost serve` has started this process, perhaps as one of several workers."""
    if "gunicorn.arbiter" in sys.modules:
        return True
    # uvicorn, granian and hypercorn start their workers by `multiprocessing`.
    module = sys.modules.get("multiprocessing.process")
    return module is not None and module.parent_process() is not None


def _compile(config: Config, previous: Generation | None, recorder: Recorder) -> Generation:
    tls, problems = _tls(config, {} if previous is None else previous.settings.tls)
    proxies, unusable = _proxies(config, os.environ)
    problems += unusable
    listener, unusable = _server_tls(config, None if previous is None else previous.server_tls)
    problems += unusable
    try:
        snapshot = compile_config(config, recorder)
    except ConfigError as error:
        problems = [*error.problems, *problems]
    if problems:
        raise ConfigError(config.relocate(problems))
    return Generation(
        config=config,
        snapshot=snapshot,
        loaded=time.time(),
        settings=UpstreamSettings(
            tls=tls,
            reply_limit=config.limits.body,
            buffered=config.limits.buffered,
            mirrors=config.limits.mirrors,
            proxies=proxies,
            names=names(snapshot, proxies),
        ),
        body_limit=config.limits.body,
        buffered_limit=config.limits.buffered,
        spare=config.limits.buffered - config.limits.body,
        server_tls=listener,
    )


def log_problem(config: Config, exc: OSError) -> Problem:
    """The problem that the access log cannot be opened."""
    return Problem(("access_log",), f"{config.access_log}: cannot be opened for writing: {exc.strerror}")


def _not_opened(config: Config, exc: OSError) -> ConfigError:
    return ConfigError(config.relocate([log_problem(config, exc)]))


def _tls(config: Config, old: Mapping[str, Tls]) -> tuple[dict[str, Tls], list[Problem]]:
    """TLS contexts of all clusters with an `https` endpoint. An unchanged context is kept, and with it connections."""
    settings = {name: cluster.tls for name, cluster in config.clusters.items() if cluster.https}
    if not settings:
        return {}, []
    from waypost.upstream import tls  # noqa: PLC0415 - importing ssl costs more than everything else

    contexts, wrong = tls.contexts(settings, old)
    return contexts, [Problem(path, message) for path, message in wrong]


def _server_tls(config: Config, old: ServerTls | None) -> tuple[ServerTls | None, list[Problem]]:
    """The TLS context of the listener."""
    if config.listen.tls is None:
        return None, []
    from waypost.server_tls import server_tls  # noqa: PLC0415 - importing ssl costs more than everything else

    made, wrong = server_tls(config.listen.tls, old)
    return made, [Problem(("listen", "tls", *([setting] if setting else [])), message) for setting, message in wrong]


def _proxies(config: Config, environ: Mapping[str, str]) -> tuple[dict[tuple[str, str], Proxy], list[Problem]]:
    """The proxies of all endpoints that have one, by cluster name and URL."""
    environment = Environment(environ)
    found: dict[tuple[str, str], Proxy] = {}
    wrong: dict[str, Problem] = {}
    for name, cluster in config.clusters.items():
        if cluster.proxy is None and not environment:
            continue
        for endpoint in cluster.endpoints:
            proxy = cluster.proxy
            if proxy is None:
                try:
                    proxy = environment.proxy(endpoint.https, endpoint.host, endpoint.port)
                except ShapeError as error:
                    message = f"{error}; or set `proxy: none` for the clusters that need no proxy"
                    wrong[message] = Problem((), message)
            if proxy:
                found[name, endpoint.url] = proxy
    return found, list(wrong.values())

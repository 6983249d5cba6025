"""The `Gateway`: what one process serves. A configuration compiled, and a runtime for each event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import mmap
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from waypost._native import Recorder, Registry
from waypost.access_log import AccessLog
from waypost.answers.dispatch import Dispatcher
from waypost.config import Config
from waypost.config.positions import ShapeError
from waypost.config.proxy import Environment, Proxy
from waypost.errors import STATUS, ConfigError, Problem, counted
from waypost.exchange.runtime import Runtime
from waypost.loop.budget import Budget
from waypost.table import compile_config
from waypost.upstream.settings import UpstreamSettings

if TYPE_CHECKING:
    from waypost._native import Snapshot
    from waypost.exchange.waiting_room import WaitingRoom
    from waypost.upstream.tls import Tls

__all__ = ["Gateway", "Generation"]

_logger = logging.getLogger("waypost")


@dataclass(frozen=True, slots=True)
class Generation:
    """One configuration, compiled. A message that began with it ends with it."""

    config: Config
    snapshot: Snapshot
    settings: UpstreamSettings
    loaded: float
    """When it came into force, in seconds since 1970."""
    body_limit: int
    """`limits.body`, in bytes."""
    buffered_limit: int
    """`limits.buffered`, in bytes."""
    spare: int
    """Bytes that may be held so that there is room for any body of one message."""

    @property
    def summary(self) -> str:
        """`3 routes, 1 cluster`"""
        return f"{counted(len(self.snapshot.table), 'route')}, {counted(len(self.snapshot.clusters), 'cluster')}"

    @property
    def warnings(self) -> list[Problem]:
        """What is legal but probably not meant, each with its place."""
        found = [Problem(path, f"warning: {message}") for path, message in self.snapshot.warnings]
        return [*self.config.warnings, *self.config.relocate(found)]


class Gateway:
    """What one process serves: the current generation, and a runtime for each event loop.

    `replace` may be called from any thread; everything else belongs to the event loops.
    """

    def __init__(self, config: Config) -> None:
        """Raises `ConfigError` with every problem."""
        # Shared with the processes that are forked from this one, so that any of them speaks for all.
        self.recorder = Recorder(list(STATUS), mmap.mmap(-1, Recorder.SIZE))
        """Counts messages, and makes the lines of their log."""
        self.generation = _compile(config, None, self.recorder)
        """What new messages are handled with."""
        self.access_log = AccessLog(self.recorder, config.access_log)
        """Writes these lines."""
        self.recorder.loaded(good=True, first=True)
        self.registry = Registry(mmap.mmap(-1, Registry.SIZE))
        """What is known of clusters and endpoints, from one generation to the next."""
        self.dispatcher = Dispatcher(self.recorder)
        """Carries out decisions."""
        self.budget = Budget()
        """Bytes of request bodies held at this moment, against `limits.buffered`."""
        self.loopback = False
        """Only this host can connect: administration needs no key. Not known of other servers than `waypost serve`."""
        self.keys_needed = False
        """Other hosts can connect, and nobody said that this is fine without keys."""
        self.client_connections: Callable[[], int] = lambda: 0
        """How many connections clients have open, as far as the server tells."""
        self.worker = 0
        """Which worker this process is, from 0, of `workers`."""
        self.workers = 1
        self.draining = False
        """The process is about to stop: not ready for new messages, though those that come are still served."""
        self._runtimes: dict[asyncio.AbstractEventLoop, Runtime] = {}
        self._waiting_rooms: list[WaitingRoom] = []
        self._lock = threading.Lock()
        self._heard = True  # by other workers
        self.registry.apply(self.generation.snapshot)

    def replace(self, config: Config) -> Generation:
        """Serve `config` from the next message on. On `ConfigError` nothing has changed."""
        if self.keys_needed and not config.keys:
            message = "without `keys` every host could use this: leave one in, or restart with --insecure-no-auth"
            raise ConfigError(config.relocate([Problem(("keys",), message)]))
        with self._lock:
            generation = _compile(config, self.generation, self.recorder)
            try:
                self.access_log.open(config.access_log)
            except OSError as exc:
                raise _not_opened(config, exc) from None
            self.registry.apply(generation.snapshot)
            self.generation = generation
            runtimes = list(self._runtimes.values())
        for runtime in runtimes:
            with contextlib.suppress(RuntimeError):  # its event loop is closed
                runtime.loop.call_soon_threadsafe(runtime.follow, generation.snapshot, generation.settings)
        return generation

    def open_log(self) -> None:
        """Open the access log. Raises `ConfigError` where that cannot be."""
        try:
            self.access_log.begin()
        except OSError as exc:
            raise _not_opened(self.generation.config, exc) from None

    def runtime(self) -> Runtime:
        """The running event loop's runtime, made when first asked for: a mounted application has no lifespan."""
        loop = asyncio.get_running_loop()
        runtime = self._runtimes.get(loop)
        if runtime is None:
            with self._lock:
                for closed in [old for old in self._runtimes if old.is_closed()]:
                    self._runtimes.pop(closed).waiting_room.close()
                runtime = self._runtimes[loop] = Runtime(loop, self.recorder, self._waiting_rooms)
                runtime.follow(self.generation.snapshot, self.generation.settings)
                self._start_log()
        return runtime

    def _start_log(self) -> None:
        try:
            self.access_log.start()
        except OSError as exc:
            # Under another server than `waypost serve`: messages are worth more than their lines.
            _logger.warning("there is no access log: %s", _not_opened(self.generation.config, exc).message)

    def publish(self) -> None:
        """Set the gauges of this process to what they are now, and tell others, and the log, how its clusters are."""
        heard = self.registry.publish()
        if self._heard and not heard:
            _logger.warning(
                "there are too many endpoints for workers to tell each other of: until there are fewer, /-/clusters "
                "and /metrics show those of the worker that answers"
            )
        self._heard = heard
        for cluster, url, out, condition, failures in self.registry.changes():
            if out:
                broken = f"its breaker is open, {counted(failures, 'failure')} in a row"
                why = "its active check fails" if condition == "check_fails" else broken
                _logger.warning("endpoint %s of cluster `%s` is left alone: %s", url, cluster, why)
            else:
                _logger.warning("endpoint %s of cluster `%s` is used again", url, cluster)
        self.recorder.gauges(
            client_connections=self.client_connections(),
            upstream_idle=sum(len(runtime.pool) for runtime in self._runtimes.values()),
            buffered=self.budget.held,
        )

    def divide(self, workers: int) -> None:
        """There will be so many processes, forked from this one."""
        self.registry.show(mmap.mmap(-1, Registry.SLOT * (workers + 1)))

    def become_worker(self, worker: int, workers: int) -> None:
        """From now on this process is this worker, from 0, of so many."""
        self.worker, self.workers = worker, workers
        self.recorder.become_worker(worker)
        self.recorder.loaded(good=True, first=True)
        self.registry.become_worker(worker, workers)

    def forget_worker(self, worker: int) -> None:
        """A worker is gone, and what it said of itself with it."""
        self.recorder.forget_worker(worker)
        self.registry.forget_worker(worker)

    def admit(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Raise `WaypostError` unless a request with these header fields may see what administration shows."""
        if not self.loopback:
            self.generation.snapshot.admit(headers)

    def drain(self) -> None:
        """Say on `/readyz` that this process takes no more work."""
        self.draining = True

    def close(self) -> None:
        """Close the running event loop's idle connections."""
        runtime = self._runtimes.pop(asyncio.get_running_loop(), None)
        if runtime is not None:
            runtime.close()
        if not self._runtimes:
            self.access_log.suspend()


def _compile(config: Config, previous: Generation | None, recorder: Recorder) -> Generation:
    tls, problems = _tls(config, {} if previous is None else previous.settings.tls)
    proxies, unusable = _proxies(config, os.environ)
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
            tls=tls, reply_limit=config.limits.body, mirrors=config.limits.mirrors, proxies=proxies
        ),
        body_limit=config.limits.body,
        buffered_limit=config.limits.buffered,
        spare=config.limits.buffered - config.limits.body,
    )


def _not_opened(config: Config, exc: OSError) -> ConfigError:
    message = f"{config.access_log}: cannot be opened to be written: {exc.strerror}"
    return ConfigError(config.relocate([Problem(("access_log",), message)]))


def _tls(config: Config, old: Mapping[str, Tls]) -> tuple[dict[str, Tls], list[Problem]]:
    """A context for each cluster that has an `https` endpoint; unchanged ones are kept, and with them connections."""
    settings = {name: cluster.tls for name, cluster in config.clusters.items() if cluster.https}
    if not settings:
        return {}, []
    from waypost.upstream import tls  # noqa: PLC0415 - importing ssl costs more than all the rest

    contexts, wrong = tls.contexts(settings, old)
    return contexts, [Problem(path, message) for path, message in wrong]


def _proxies(config: Config, environ: Mapping[str, str]) -> tuple[dict[tuple[str, str], Proxy], list[Problem]]:
    """The proxy of each endpoint that has one, by cluster name and URL."""
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

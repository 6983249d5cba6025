"""`--workers N`: processes that share one listening socket, and the supervisor that keeps them alive.

The supervisor runs no event loop and no thread. It waits for signals: SIGTERM and SIGINT drain every worker, SIGHUP
reloads every worker, and a worker that dies is replaced. Workers hold the read end of a pipe whose write end only the
supervisor has, so that they drain when it is killed.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Link", "supervise"]

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_TOO_SOON = 1.0
"""Seconds: a worker that dies earlier than this after its start is replaced only after as long a pause."""


@dataclass(frozen=True, slots=True)
class Link:
    """A worker's end of what connects it with its supervisor."""

    ready: int
    """File descriptor to which the worker writes a byte once it accepts connections."""
    alive: int
    """File descriptor that becomes readable (end of file) when the supervisor is gone."""
    replaces: bool
    """The worker takes the place of one that died, perhaps long after the configuration was read."""


class _Supervisor:
    def __init__(
        self, count: int, work: Callable[[Link], int], started: Callable[[], None], stopping: Callable[[], None]
    ) -> None:
        self._count = count
        self._work = work
        self._started = started
        self._on_stop = stopping
        self._workers: dict[int, float] = {}  # process id → when it was started
        self._stopping = False
        self._exit_code = 0
        self._alive, self._alive_write = os.pipe()
        self._ready, self._ready_write = os.pipe()

    def run(self) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        # Ignored signals would not be queued; a handler that is never called makes sure they are.
        for number in _SIGNALS:
            signal.signal(number, lambda *_: None)
        for _ in range(self._count):
            self._start(replaces=False)
        waiting = self._count
        os.set_blocking(self._ready, False)
        while self._workers:
            self._wait()
            if waiting and not self._stopping:
                waiting -= self._count_ready()
                if waiting <= 0:
                    waiting = 0
                    self._started()
        return self._exit_code

    def _count_ready(self) -> int:
        try:
            return len(os.read(self._ready, self._count))
        except BlockingIOError:
            return 0

    def _start(self, *, replaces: bool) -> None:
        pid = os.fork()
        if pid:
            self._workers[pid] = time.monotonic()
            return
        code = 1
        try:
            # A group of its own: Ctrl-C in a terminal reaches the supervisor only, which passes it on once.
            os.setpgid(0, 0)
            os.close(self._alive_write)
            os.close(self._ready)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            code = self._work(Link(ready=self._ready_write, alive=self._alive, replaces=replaces))
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _wait(self) -> None:
        """Wait for one signal and act on it. Readiness has none, so it is looked for now and then."""
        got = signal.sigtimedwait(_SIGNALS, 0.02 if self._starting() else 1.0)
        if got is None:
            return
        if got.si_signo == signal.SIGCHLD:
            self._reap()
        elif got.si_signo == signal.SIGHUP:
            self._signal_all(signal.SIGHUP)
        else:
            self._stop()

    def _stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            self._on_stop()
        self._signal_all(signal.SIGTERM)

    def _starting(self) -> bool:
        return any(time.monotonic() - since < _TOO_SOON for since in self._workers.values())

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in self._workers:
            os.kill(pid, number)

    def _reap(self) -> None:
        while self._workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            since = self._workers.pop(pid, None)
            if since is None:
                continue
            code = os.waitstatus_to_exitcode(status)
            if self._stopping:
                self._exit_code = self._exit_code or max(code, 0)
                continue
            how = f"exited with {code}" if code >= 0 else f"was killed by {signal.Signals(-code).name}"
            if code == 1 and time.monotonic() - since < _TOO_SOON:
                # It could not start and said why; another would not fare better.
                self._exit_code = 1
                self._stop()
                continue
            _say(f"waypost: worker {pid} {how}: starting another")
            if time.monotonic() - since < _TOO_SOON:
                time.sleep(_TOO_SOON)
            self._start(replaces=True)


def supervise(
    count: int, work: Callable[[Link], int], started: Callable[[], None], stopping: Callable[[], None]
) -> int:
    """Run `work` in `count` processes until SIGTERM or SIGINT; gives the exit code of the command.

    `work` gets its `Link` and returns its exit code. `started` is called once, when all workers are ready. `stopping`
    is called once, before they are told to stop: whatever they share has to be given up here too.
    """
    return _Supervisor(count, work, started, stopping).run()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - this module speaks for a command

"""`--workers N`: processes that share one listening socket, and the supervisor that keeps them alive.

The supervisor runs no event loop and no thread. It waits for signals: SIGTERM and SIGINT drain every worker, SIGHUP
reloads every worker, and a worker that dies is replaced. A worker whose event loop stands still is ended, and then
replaced: each worker counts its beats in memory that the supervisor sees. Workers hold the read end of a pipe whose
write end only the supervisor has, so that they drain when it is killed.
"""

from __future__ import annotations

import contextlib
import faulthandler
import mmap
import os
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

__all__ = ["BEAT", "Link", "supervise"]

BEAT: Final = 1.0
"""Seconds between two beats of a worker."""

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_TOO_SOON: Final = 1.0
"""A worker that dies within this many seconds of its start, or before it is ready, has died at once."""
_MIN_PAUSE: Final = 1.0
"""Seconds until a worker that died at once is replaced. They double each time that its replacement dies at once."""
_MAX_PAUSE: Final = 30.0
"""Upper limit of that pause, in seconds."""
_LONGEST_STEP: Final = 2.0
"""Seconds that the supervisor counts at most between two looks at the beats: it may have stood still itself."""
_ABORT_TIME: Final = 2.0
"""Seconds for a worker that stands still to print where, before it is killed."""
_COUNTER: Final = struct.Struct("Q")


@dataclass(frozen=True, slots=True)
class Link:
    """A worker's connection with its supervisor."""

    index: int
    """The worker's number, from 0. A replacement has the number of the worker that it replaces."""
    ready: int
    """File descriptor that `announce` writes to."""
    alive: int
    """File descriptor that becomes readable (end of file) when the supervisor is gone."""
    replaces: bool
    """The worker replaces one that died, perhaps long after the configuration was read."""
    beats: mmap.mmap
    """Counters of beats, one for each worker."""

    def announce(self) -> None:
        """Tell the supervisor that the worker accepts connections."""
        os.write(self.ready, bytes([self.index]))

    def beat(self) -> None:
        """Tell the supervisor that the event loop turns. To be called every `BEAT` seconds."""
        at = self.index * _COUNTER.size
        (count,) = _COUNTER.unpack_from(self.beats, at)
        _COUNTER.pack_into(self.beats, at, count + 1)


@dataclass(slots=True)
class _Worker:
    index: int
    started_at: float
    """Time of the start on the monotonic clock, in seconds."""
    ready: bool = False
    beats: int = 0
    """Beats that were counted when the supervisor last looked."""
    still: float = 0.0
    """Seconds for which no beat was seen."""
    aborted: bool = False
    """The worker was told to abort, because it stands still."""


class _Supervisor:
    def __init__(
        self,
        count: int,
        work: Callable[[Link], int],
        started: Callable[[], None],
        stopping: Callable[[], None],
        ended: Callable[[int], None],
        patience: float,
    ) -> None:
        self._count = count
        self._patience = patience
        self._beats = mmap.mmap(-1, count * _COUNTER.size)
        self._looked_at = time.monotonic()
        self._work = work
        self._started = started
        self._on_stop = stopping
        self._ended = ended
        self._workers: dict[int, _Worker] = {}  # by process id
        self._due: dict[int, float] = {}  # index of a worker to be started → when
        self._pauses: dict[int, float] = {}  # index of a worker that died at once → the last pause
        self._complete = False  # all workers were ready at one time
        self._stopping = False
        self._exit_code = 0
        self._alive, self._alive_write = os.pipe()
        self._ready, self._ready_write = os.pipe()

    def run(self) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        # Signals that are ignored are not queued. With a handler, which is never called, they are.
        for number in _SIGNALS:
            signal.signal(number, lambda *_: None)
        os.set_blocking(self._ready, False)
        for index in range(self._count):
            self._start(index, replaces=False)
        while self._workers or self._due:
            self._wait()
            self._note_ready()
            now = time.monotonic()
            self._look_at_beats(now)
            for index in [index for index, due in self._due.items() if due <= now]:
                del self._due[index]
                self._start(index, replaces=True)
        return self._exit_code

    def _note_ready(self) -> None:
        try:
            ready = os.read(self._ready, 4096)
        except BlockingIOError:
            return
        for worker in self._workers.values():
            worker.ready = worker.ready or worker.index in ready
        working = sum(worker.ready for worker in self._workers.values())
        if not self._complete and not self._stopping and working == self._count:
            self._complete = True
            self._started()

    def _look_at_beats(self, now: float) -> None:
        """End each worker whose event loop has stood still for too long."""
        passed = min(now - self._looked_at, _LONGEST_STEP)
        self._looked_at = now
        for pid, worker in self._workers.items():
            (beats,) = _COUNTER.unpack_from(self._beats, worker.index * _COUNTER.size)
            if beats != worker.beats or not worker.ready or not self._patience:
                worker.beats, worker.still = beats, 0.0
                continue
            worker.still += passed
            if worker.still >= self._patience and not worker.aborted:
                worker.aborted = True
                _say(f"waypost: worker {pid} has stood still for {worker.still:.0f} s: ending it")
                os.kill(pid, signal.SIGABRT)
            elif worker.still >= self._patience + _ABORT_TIME:
                os.kill(pid, signal.SIGKILL)

    def _start(self, index: int, *, replaces: bool) -> None:
        pid = os.fork()
        if pid:
            self._workers[pid] = _Worker(index, time.monotonic())
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
            with contextlib.suppress(RuntimeError, ValueError):  # standard error is closed, or no file
                faulthandler.enable()  # prints where a worker stands that is told to abort
            link = Link(index, self._ready_write, self._alive, replaces, self._beats)
            code = self._work(link)
        except BaseException:  # noqa: BLE001 - the interpreter does not get to report it
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _wait(self) -> None:
        """Wait for one signal and handle it. The wait is short, because no signal reports readiness or pauses."""
        timeout = 1.0 if all(worker.ready for worker in self._workers.values()) else 0.02
        if self._due:
            timeout = min(timeout, max(0.0, min(self._due.values()) - time.monotonic()))
        got = signal.sigtimedwait(_SIGNALS, timeout)
        if got is None:
            return
        if got.si_signo == signal.SIGCHLD:
            self._reap()
        elif got.si_signo == signal.SIGHUP:
            self._signal_all(signal.SIGHUP)
        elif self._stopping and got.si_signo == signal.SIGINT:
            self._signal_all(signal.SIGINT)  # a worker that drains stops at once
        else:
            self._stop()

    def _stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            self._due.clear()
            self._on_stop()
        self._signal_all(signal.SIGTERM)

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in self._workers:
            os.kill(pid, number)

    def _reap(self) -> None:
        self._note_ready()  # also for workers that have died since
        while self._workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            worker = self._workers.pop(pid, None)
            if worker is None:
                continue
            self._ended(worker.index)
            code = os.waitstatus_to_exitcode(status)
            if self._stopping:
                # A worker that did not serve yet had nothing to finish.
                self._exit_code = self._exit_code or (max(code, 0) if worker.ready else 0)
            elif code == 1 and not self._complete:
                # The worker printed why it cannot start. Another one could not start either.
                self._exit_code = 1
                self._stop()
            else:
                self._replace(pid, worker, code)

    def _replace(self, pid: int, worker: _Worker, code: int) -> None:
        now = time.monotonic()
        pause = 0.0
        if not worker.ready or now - worker.started_at < _TOO_SOON:
            pause = min(2 * self._pauses[worker.index], _MAX_PAUSE) if worker.index in self._pauses else _MIN_PAUSE
            self._pauses[worker.index] = pause
        else:
            self._pauses.pop(worker.index, None)
        how = f"exited with {code}" if code >= 0 else f"was killed by {signal.Signals(-code).name}"
        _say(f"waypost: worker {pid} {how}: starting another{f' in {pause:g} s' if pause else ''}")
        self._due[worker.index] = now + pause


def supervise(
    count: int,
    work: Callable[[Link], int],
    started: Callable[[], None],
    stopping: Callable[[], None],
    ended: Callable[[int], None] = lambda _: None,
    patience: float = 30.0,
) -> int:
    """Run `work` in `count` processes until SIGTERM or SIGINT. Returns the exit code of the command.

    `work` gets its `Link` and returns its exit code. `started` is called once, when all workers are ready. `stopping`
    is called once, before the workers are told to stop; it gives up what this process shares with them. `ended` is
    called with the index of each worker that has ended. A worker that does not `beat` for `patience` seconds is ended
    and replaced; with 0, none is.
    """
    return _Supervisor(count, work, started, stopping, ended, patience).run()


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")  # one write, because workers write to it too
    sys.stderr.flush()

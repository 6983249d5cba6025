"""Writes the access log in a thread of its own, so that a full pipe or a slow disk delays no message.

`Recorder` (Rust) makes the lines and keeps up to 4 MiB of them until the thread takes them. It drops and counts lines
that find no room. Only whole lines stay in a file: if a disk is full in the middle of a line, that part is removed
again, and the line counts as dropped. Several processes can share a file, because each locks it while it writes, and a
pipe, because no write to it is longer than pipes accept in one piece.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import logging
import os
import select
import stat
import threading
import weakref
from collections.abc import Iterator
from typing import Final

from waypost._native import Recorder

__all__ = ["AccessLog", "try_target"]

_GATHER: Final = 0.1
"""Seconds for which lines are gathered before they are written together."""
_PIECE: Final = 4096
"""Bytes that a pipe accepts in one piece (`PIPE_BUF` on Linux). No line is longer."""
_STOP_TIMEOUT: Final = 1.0
"""Seconds for the last lines when the log stops: the reader of a pipe may have stopped reading."""
_MODE: Final = 0o640
"""Permissions of a new file. Others must not read it, because it names clients and tenants."""
_STANDARD: Final = {"stdout": 1, "stderr": 2}

_logger = logging.getLogger("waypost")
_running: weakref.WeakSet[AccessLog] = weakref.WeakSet()
"""Logs that may have lines to write when the process ends."""


class AccessLog:
    """Writes the lines of one process's `recorder` to `target`: `stdout`, `stderr`, `off` or the path of a file."""

    def __init__(self, recorder: Recorder, target: str) -> None:
        self._recorder = recorder
        self._target = target
        self._fd: int | None = None
        self._opened = False
        self._lock = threading.Lock()  # guards the attributes below
        self._switches: list[tuple[bytes, int, int | None]] = []  # lines for the old file, their count, the new file
        self._waiting = threading.Event()
        self._urgent = threading.Event()
        self._started = False
        self._ending = False  # the thread ends once nothing waits
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._failing = False

    def begin(self) -> None:
        """Open the file and keep lines from now on. Raises `OSError`. A second call does nothing."""
        if not self._opened:
            self._fd = _open(self._target)
            self._opened = True
            self._listen()

    def start(self) -> None:
        """`begin`, and write lines from now on. To be called in the process that serves: threads survive no fork."""
        self.begin()
        self._started = True
        if self._waiting.is_set():
            self.wake()

    def open(self, target: str, *, anew: bool = False) -> None:
        """Write later lines to `target`, and those that wait to the old target.

        With `anew`, a file is opened again even if the target is unchanged, because it may have been moved away. Raises
        `OSError` and then changes nothing.
        """
        if target == self._target and not (anew and _is_file(target)):
            return
        if not self._opened:
            self._target = target
            return
        fd = _open(target)
        with self._lock:
            self._target = target
            self._switches.append((*self._recorder.take_lines(), fd))
            self._listen()
        self.wake(urgent=True)

    def wake(self, urgent: bool = False) -> None:
        """Tell the thread that lines wait. With `urgent`, there are so many that it writes them now."""
        if urgent:
            self._urgent.set()
        self._waiting.set()
        with self._lock:
            if self._thread is None and self._started and not self._stopping:
                self._ending = False
                self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
                self._thread.start()
                _running.add(self)

    def suspend(self) -> None:
        """Write the waiting lines, then end the thread until more lines come."""
        with self._lock:
            self._ending = True
            active = self._thread is not None
        if active:
            self.wake(urgent=True)

    def stop(self, seconds: float = _STOP_TIMEOUT) -> None:
        """Write the waiting lines and end, after at most `seconds`."""
        with self._lock:
            self._stopping = self._ending = True
            thread = self._thread
        if thread is not None:
            self.wake(urgent=True)
            thread.join(seconds)
            if thread.is_alive():
                _logger.warning("the access log cannot be written to %s; lines are lost", self._target)
                return
        self._recorder.log(None)
        _close(self._fd)
        self._fd = None

    # The thread.

    def _run(self) -> None:
        while True:
            self._waiting.wait()
            if not self._ending:
                self._urgent.wait(_GATHER)
            self._waiting.clear()
            self._urgent.clear()
            self._write_all()
            with self._lock:
                if self._ending and not self._waiting.is_set():
                    self._thread = None
                    return

    def _write_all(self) -> None:
        with self._lock:
            switches, self._switches = self._switches, []
            newest = self._recorder.take_lines()  # under the lock, so that no `open` comes between
        for lines, count, fd in switches:
            self._put(lines, count)
            _close(self._fd)
            self._fd = fd
        self._put(*newest)

    def _put(self, lines: bytes, count: int) -> None:
        if lines:
            written = 0 if self._fd is None else self._write(self._fd, lines, count)
            self._recorder.lines_written(written, count - written)

    def _write(self, fd: int, lines: bytes, count: int) -> int:
        """Write `count` lines. Returns how many were written whole."""
        if stat.S_ISREG(os.fstat(fd).st_mode):
            done, error = _append(fd, lines)
        else:
            done, error = 0, None
            for piece in _pieces(lines):
                size, error = _write_whole(fd, piece)
                done += size
                if error is not None:
                    break
        if error is None:
            self._failing = False
            return count
        if not self._failing:
            self._failing = True
            _logger.warning("the access log cannot be written to %s (%s); lines are lost", self._target, error.strerror)
        return lines.count(b"\n", 0, done)

    def _listen(self) -> None:
        self._recorder.log(None if self._target == "off" else self.wake)


@atexit.register
def _stop() -> None:
    for log in list(_running):
        log.stop()


def try_target(target: str) -> None:
    """Raise `OSError` if `target` could not be opened. Makes no file, and waits for nobody at the end of a pipe."""
    if not _is_file(target):
        return
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK))
    except FileNotFoundError:
        directory = os.path.dirname(os.path.realpath(target))  # noqa: PTH120
        code = errno.ENOENT if not os.path.isdir(directory) else errno.EACCES  # noqa: PTH112
        if code == errno.ENOENT or not os.access(directory, os.W_OK | os.X_OK):
            raise OSError(code, os.strerror(code)) from None
    except OSError as exc:
        if exc.errno != errno.ENXIO or not stat.S_ISFIFO(os.stat(target).st_mode):  # noqa: PTH116
            raise  # a pipe that nobody reads yet can be opened later


def _is_file(target: str) -> bool:
    return target != "off" and target not in _STANDARD


def _open(target: str) -> int | None:
    if target == "off":
        return None
    if target in _STANDARD:
        return _STANDARD[target]
    # Without O_NONBLOCK, a named pipe that nobody reads would stop the event loop until somebody does (fifo(7)).
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
    reader = _own_reader(target)
    try:
        fd = os.open(target, flags, _MODE)
    finally:
        _close(reader)
    os.set_blocking(fd, True)
    return fd


def _own_reader(target: str) -> int | None:
    """A reader of `target` if it is a named pipe: only then can it be opened before somebody else reads it."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        if stat.S_ISFIFO(os.stat(target).st_mode):  # noqa: PTH116
            return os.open(target, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    return None


def _close(fd: int | None) -> None:
    if fd is not None and fd not in _STANDARD.values():
        os.close(fd)


def _pieces(lines: bytes) -> Iterator[bytes]:
    """Split `lines` into whole lines of together at most `_PIECE` bytes."""
    begin = 0
    while begin < len(lines):
        end = min(begin + _PIECE, len(lines))
        end = lines.rfind(b"\n", begin, end) + 1 or len(lines)
        yield lines[begin:end]
        begin = end


def _append(fd: int, lines: bytes) -> tuple[int, OSError | None]:
    """Append `lines` to a file. Returns how many bytes the wholly written lines have, and the error, if any."""
    with _locked(fd):
        done, error = _write_whole(fd, lines)
        whole = lines.rfind(b"\n", 0, done) + 1
        if whole < done:
            end = os.lseek(fd, 0, os.SEEK_CUR)
            with contextlib.suppress(OSError):  # the file may only be appended to
                if os.fstat(fd).st_size == end:
                    os.ftruncate(fd, end - (done - whole))
                    os.lseek(fd, end - (done - whole), os.SEEK_SET)
    return whole, error


@contextlib.contextmanager
def _locked(fd: int) -> Iterator[None]:
    """Keep the other workers from writing to the file, where its file system has locks."""
    locked = False
    with contextlib.suppress(OSError):
        fcntl.lockf(fd, fcntl.LOCK_EX)
        locked = True
    try:
        yield
    finally:
        if locked:
            fcntl.lockf(fd, fcntl.LOCK_UN)


def _write_whole(fd: int, piece: bytes) -> tuple[int, OSError | None]:
    """Write `piece`. Returns how many bytes of it were written, and the error if not all were."""
    done = 0
    view = memoryview(piece)
    while done < len(piece):
        try:
            done += os.write(fd, view[done:])
        except BlockingIOError:  # another process that shares the pipe made it non-blocking
            waiting = select.poll()
            waiting.register(fd, select.POLLOUT)
            waiting.poll()
        except OSError as exc:
            return done, exc
    return done, None

"""Processes: started, waited for, measured by what /proc says of their whole tree, and stopped."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

__all__ = ["Process", "cores", "free_port"]

_TICK = os.sysconf("SC_CLK_TCK")
_PATIENCE = 30.0
"""Seconds for a process to become ready or to stop."""


class Process:
    """A command under way. As a context manager, it is stopped on the way out, its children included."""

    def __init__(self, command: Sequence[str], *, core: int | None = None) -> None:
        """`core`: the only CPU it may run on."""
        self.started = time.perf_counter()
        """`time.perf_counter()` right before it was started."""
        self._command = command
        self._popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        if core is not None:
            os.sched_setaffinity(self._popen.pid, {core})  # before it can have started anything
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._seen: list[str] = []
        # Reads on for ever: a full pipe would stop the process.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    @property
    def output(self) -> str:
        """The lines that were waited through, and those that came since."""
        while not self._lines.empty():
            self._seen.append(self._lines.get() or "")
        return "".join(self._seen)

    def wait_for(self, pattern: str, patience: float = _PATIENCE) -> re.Match[str]:
        """Wait, `patience` seconds at most, until a line of its output matches: how it says that it is ready."""
        end = time.monotonic() + patience
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                raise RuntimeError(f"{' '.join(self._command)} did not become ready:\n{self.output}")
            self._seen.append(line)
            found = re.search(pattern, line)
            if found:
                return found

    def wait_for_port(self, port: int, patience: float = _PATIENCE) -> None:
        """Wait until something accepts connections on a port of loopback."""
        end = time.monotonic() + patience
        while self.running and time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except ConnectionRefusedError:
                self.pause()
            else:
                return
        raise RuntimeError(f"{' '.join(self._command)} did not listen on {port}:\n{self.output}")

    def pause(self) -> None:
        """A millisecond, or less where the process ends."""
        try:
            self._popen.wait(0.001)
        except subprocess.TimeoutExpired:
            return

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process itself."""
        self._popen.send_signal(number)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL for what is left of its session."""
        if self.running:
            self._popen.send_signal(signal.SIGTERM)
            try:
                self._popen.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self._popen.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        self._reader.join()

    # Measured.

    def cpu(self) -> float:
        """Seconds of CPU, user and system, that the tree has used. Resolves 10 ms on common kernels."""
        total = 0
        for pid in self._tree():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
            except OSError:
                continue
            total += int(fields[11]) + int(fields[12])
        return total / _TICK

    def rss(self) -> float:
        """Resident memory of the tree (VmRSS) in MB of a million bytes; shared pages count once a process."""
        total = 0
        for pid in self._tree():
            try:
                found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text("utf-8"), re.MULTILINE)
            except OSError:
                continue
            total += int(found[1]) if found else 0
        return total * 1024 / 1e6

    def files(self) -> int:
        """Files and sockets that the tree has open."""
        total = 0
        for pid in self._tree():
            with contextlib.suppress(OSError):
                total += sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        return total

    def _tree(self) -> list[int]:
        todo, tree = [self._popen.pid], []
        while todo:
            pid = todo.pop()
            tree.append(pid)
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                try:
                    todo += map(int, children.read_text("utf-8").split())
                except OSError:
                    continue
        return tree

    def _read(self) -> None:
        stream = self._popen.stdout
        assert stream is not None
        with stream:
            for line in stream:
                self._lines.put(line.decode(errors="replace"))
        self._lines.put(None)


def cores() -> tuple[int | None, int | None]:
    """A CPU for what is measured and another one for all else; `None` where there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[1]) if len(usable) > 1 else (None, None)


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

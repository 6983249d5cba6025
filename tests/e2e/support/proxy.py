"""The command as a process of its own: started, watched, stopped, and held to leave nothing behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

from .client import Address, Client, Response

START: Final = 60.0
"""Seconds until a command has to be up, or to have ended."""
_LISTENING: Final = re.compile(r"listening on (https?://([^ :]+|\[[^]]+\]):(\d+)|unix:(\S+))")


def environment(**extra: str) -> dict[str, str]:
    """The environment of a command: ours, but for what would change how it behaves."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WAYPOST_", "UVICORN_"))}
    return {**kept, "PYTHONUNBUFFERED": "1", **extra}


def command(*args: str, stdin: bytes = b"", **extra: str) -> subprocess.CompletedProcess[bytes]:
    """Run `waypost` with `args` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "waypost", *args],
        input=stdin,
        capture_output=True,
        timeout=START,
        check=False,
        env=environment(**extra),
    )


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Wait for a condition that nothing announces."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"in {seconds:g} s it did not come about that {what}"
        pause.wait(0.005)


class Process:
    """A running program, in a session of its own, whose output is kept."""

    def __init__(self, argv: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
        self._changed = threading.Condition()
        self._output = ""
        self._clients: list[Client] = []
        self.popen = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=cwd,
            env=environment() if env is None else env,
        )
        self.pid = self.popen.pid
        assert self.popen.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self.popen.stdout,))
        self._reader.start()

    @property
    def output(self) -> str:
        """What it has printed so far, on both channels."""
        with self._changed:
            return self._output

    def wait_for(self, pattern: str, *, count: int = 1, seconds: float = START) -> re.Match[str]:
        """Wait until its output holds `pattern` `count` times; gives the last of them."""
        found: list[re.Match[str]] = []

        def there() -> bool:
            found[:] = re.finditer(pattern, self._output)
            return len(found) >= count or not self._reader.is_alive()

        with self._changed:
            self._changed.wait_for(there, seconds)
            assert len(found) >= count, f"no {pattern!r} ({count} times) in the output:\n{self._output}"
            return found[count - 1]

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def exit_code(self, seconds: float = START) -> int:
        """Wait for its end."""
        return self.popen.wait(seconds)

    def alive(self) -> list[int]:
        """Ids of the processes of its session that run."""
        return sorted(_session(self.pid))

    def resident(self, *, peak: bool = False) -> int:
        """Bytes of memory that it holds (or held at most)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(rf"^Vm{'HWM' if peak else 'RSS'}:\s+(\d+) kB", status, re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024

    def sockets(self) -> int:
        """How many sockets it has open."""
        count = 0
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                count += str(entry.readlink()).startswith("socket:")
        return count

    def descriptors(self) -> int:
        """How many files it has open, sockets included."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def cpu(self) -> float:
        """Seconds of processor time that it has taken."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self, expected: int | None = 0) -> None:
        """SIGTERM, and hold it to its promises: the exit code, no process left, nothing said of defects."""
        self.hang_up()
        if self.popen.poll() is None:
            self.popen.terminate()
        try:
            code = self.exit_code()
            wait_until(lambda: not self.alive(), "no process of the command is left")
        finally:
            self.kill()
        assert "Traceback" not in self.output, self.output
        assert "a defect ended" not in self.output, self.output
        assert "never awaited" not in self.output, self.output
        assert expected is None or code == expected, f"exit code {code}:\n{self.output}"

    def kill(self) -> None:
        """The hard way, for what did not stop."""
        self.hang_up()
        for pid in self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.popen.wait(START)
        self._reader.join(START)
        if self.popen.stdout is not None:
            self.popen.stdout.close()

    def hang_up(self) -> None:
        """Close every client's connection."""
        for client in self._clients:
            client.close()
        self._clients.clear()

    def _keep(self, client: Client) -> Client:
        self._clients.append(client)
        return client

    def _read(self, stream: IO[bytes]) -> None:
        while data := os.read(stream.fileno(), 1 << 16):
            with self._changed:
                self._output += data.decode(errors="replace")
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()


class Proxy(Process):
    """A server of Waypost that was waited for."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        config: Path | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        ready: re.Pattern[str] = _LISTENING,
        stops_with: int = 0,
    ) -> None:
        """`ready` finds the address in the output: groups 2 and 3 are host and port, 4 the path of a Unix socket.

        `stops_with` is the exit code after a SIGTERM.
        """
        super().__init__(argv, cwd=cwd, env=env)
        self.config = config
        self.stops_with = stops_with
        try:
            found = self.wait_for(ready.pattern)
        except BaseException:
            self.kill()
            raise
        self.address: Address = found[4] or (found[2].strip("[]"), int(found[3]))
        self.url = found[1]

    @property
    def port(self) -> int:
        assert isinstance(self.address, tuple)
        return self.address[1]

    def accepts(self) -> bool:
        """Whether it takes a new connection."""
        try:
            Client(self.address).close()
        except ConnectionError:
            return False
        return True

    def client(self, **how: Any) -> Client:
        """A new connection, closed when the test is over."""
        return self._keep(Client(self.address, **how))

    def ask(self, method: str, target: str, body: bytes | None = None, **how: Any) -> Response:
        """A request over a connection of its own, answered at once by the proxy or a `Server`."""
        with Client(self.address) as client:
            client.ask(method, target, body, **how)
            response = client.response(method)
            _ = response.body
            return response


def _session(leader: int) -> list[int]:
    """Processes of a session, but for those that have ended and only wait to be noticed."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # "pid (name) state ppid pgrp session …", where a name may hold anything.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (OSError, IndexError):
                continue
            if int(fields[3]) == leader and fields[0] not in "ZX":
                found.append(int(entry.name))
    return found

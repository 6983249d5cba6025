"""The supervisor of several workers: a program of its own, because it forks and takes all signals."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "python"

PRELUDE = """
import os, signal, sys, time
from pathlib import Path
from waypost import workers
started = Path(sys.argv[1])
def until(path):
    while not path.exists():
        time.sleep(0.005)
def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # whole lines: workers share the pipe
def serve(link):
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    link.announce()
    while True:
        signal.pause()
"""
RUN = """
sys.exit(workers.supervise(2, work, started.touch, lambda: say("stopping")))
"""


@contextlib.contextmanager
def supervisor(tmp_path: Path, work: str, run: str = RUN) -> Iterator[subprocess.Popen[str]]:
    """A supervisor of two workers that do `work`; "started" is touched once all are ready."""
    running = subprocess.Popen(
        [sys.executable, "-u", "-c", PRELUDE + textwrap.dedent(work) + run, str(tmp_path / "started")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
    )
    try:
        yield running
    finally:
        running.terminate()
        running.communicate(timeout=60)


def line(running: subprocess.Popen[str], pattern: str) -> str:
    """The next line of output that holds `pattern`."""
    assert running.stdout is not None
    for text in running.stdout:
        if re.search(pattern, text):
            return text
    pytest.fail(f"it ended without saying {pattern}")


def test_a_worker_that_raises_says_where_and_stops_all_before_they_have_started(tmp_path: Path) -> None:
    work = """
    def work(link):
        if link.index == 1:
            raise LookupError("no such thing")
        serve(link)
    """
    with supervisor(tmp_path, work) as running:
        out, _ = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "Traceback" in out
    assert "LookupError: no such thing" in out
    assert not (tmp_path / "started").exists()


def test_later_it_is_replaced_with_growing_pauses_and_keeps_its_index(tmp_path: Path) -> None:
    work = """
    workers._MIN_PAUSE = 0.01
    workers._MAX_PAUSE = 0.03
    def work(link):
        say("index", link.index, link.replaces)
        if link.index == 1 and link.replaces:
            return 1
        if link.index == 1:
            link.announce()
            until(started)
            return 1
        serve(link)
    """
    with supervisor(tmp_path, work) as running:
        for pause in ("0.01", "0.02", "0.03", "0.03"):
            assert f"exited with 1: starting another in {pause} s" in line(running, "starting another")
            assert "index 1 True" in line(running, "index 1 True")
        running.terminate()
        running.communicate(timeout=60)
    assert running.returncode == 0


def test_one_that_was_fine_for_long_is_replaced_at_once(tmp_path: Path) -> None:
    work = """
    workers._TOO_SOON = 0
    def work(link):
        say("pid", os.getpid(), link.index, link.replaces)
        serve(link)
    """
    with supervisor(tmp_path, work) as running:
        pid = int(line(running, "pid .* 0 False").split()[1])
        while not (tmp_path / "started").exists():
            time.sleep(0.005)
        os.kill(pid, signal.SIGKILL)
        said = line(running, "starting another")
        assert said.endswith("was killed by SIGKILL: starting another\n")
        assert line(running, "pid .* 0 True")


def test_signals_are_heard_during_a_pause(tmp_path: Path) -> None:
    work = """
    workers._MIN_PAUSE = 3600
    def work(link):
        if link.index == 1:
            link.announce()
            until(started)
            return 1
        signal.signal(signal.SIGHUP, lambda *_: say("reloaded"))
        serve(link)
    """
    with supervisor(tmp_path, work) as running:
        line(running, "starting another in 3600 s")
        running.send_signal(signal.SIGHUP)
        line(running, "reloaded")
        running.terminate()
        out, _ = running.communicate(timeout=60)
    assert running.returncode == 0
    assert "stopping" in out


def test_one_that_stands_still_says_where_and_is_replaced(tmp_path: Path) -> None:
    work = """
    import threading
    def beating(link):
        link.beat()
        timer = threading.Timer(0.1, beating, [link])
        timer.daemon = True
        timer.start()
    def stands_still():
        while True:
            pass
    def work(link):
        say("pid", os.getpid(), link.index, link.replaces)
        if link.index == 0 or link.replaces:
            beating(link)
            serve(link)
        link.beat()
        link.announce()
        stands_still()
    """
    run = RUN.replace('say("stopping")', 'say("stopping"), lambda _: None, 5.0')
    with supervisor(tmp_path, work, run) as running:
        pid = int(line(running, "pid .* 1 False").split()[1])
        assert f"worker {pid} has stood still for 5 s: ending it" in line(running, "stood still")
        line(running, "in stands_still")
        assert f"worker {pid} was killed by SIGABRT: starting another" in line(running, "starting another")
        assert line(running, "pid .* 1 True")
        running.terminate()
        said, _ = running.communicate(timeout=20)
    assert running.returncode == 0
    assert "stood still" not in said, "the others beat"


def test_one_that_cannot_even_abort_is_killed(tmp_path: Path) -> None:
    work = """
    workers._ABORT_TIME = 0.5
    def work(link):
        say("pid", os.getpid(), link.index, link.replaces)
        if link.index == 0 and not link.replaces:
            signal.signal(signal.SIGABRT, signal.SIG_IGN)
            link.announce()
            while True:
                pass
        workers.Link.beat(link)
        link.announce()
        while True:
            link.beat()
            time.sleep(0.1)
    """
    run = RUN.replace('say("stopping")', 'say("stopping"), lambda _: None, 5.0')
    with supervisor(tmp_path, work, run) as running:
        pid = int(line(running, "pid .* 0 False").split()[1])
        assert f"worker {pid} was killed by SIGKILL" in line(running, "starting another")
        assert line(running, "pid .* 0 True")

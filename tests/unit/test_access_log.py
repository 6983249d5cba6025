"""The thread that writes the access log: where it writes, in what pieces, and what it does when it cannot."""

from __future__ import annotations

import gc
import json
import mmap
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from waypost import access_log
from waypost._native import Recorder
from waypost.access_log import AccessLog


class Written:
    """A recorder with a log, and how many lines were written and dropped."""

    def __init__(self, target: str) -> None:
        self.recorder = Recorder(["no_route"])
        self.log = AccessLog(self.recorder, target)

    def add(self, *ids: str) -> None:
        for each in ids:
            self.recorder.record_rejection("no_route", 404, id=each, method="GET", target=b"/x?secret")

    def lines(self, result: str) -> int:
        start = f'waypost_access_log_lines_total{{result="{result}"}} '
        return next(int(line.removeprefix(start)) for line in self.text() if line.startswith(start))

    def text(self) -> list[str]:
        return self.recorder.render()[0].splitlines()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        pause = threading.Event()
        for _ in range(2000):
            if condition():
                return
            pause.wait(0.005)
        raise AssertionError(self.text()[-3:])


@pytest.fixture
def written() -> Iterator[Callable[[str], Written]]:
    made: list[Written] = []

    def make(target: str) -> Written:
        made.append(Written(target))
        return made[-1]

    yield make
    for each in made:
        each.log.stop(0)


def ids(text: str) -> list[str]:
    assert not text or text.endswith("\n")
    return [json.loads(line)["id"] for line in text.splitlines()]


def test_lines_are_appended_to_a_file(written: Callable[[str], Written], tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    file.write_text('{"id": "old"}\n')
    one, two = written(str(file)), written(str(file))
    for each, name in ((one, "a"), (two, "b")):
        each.log.start()
        each.add(name)
        each.log.stop()
        each.log.stop()  # again does nothing
    assert ids(file.read_text()) == ["old", "a", "b"]
    assert (one.lines("written"), one.lines("dropped")) == (1, 0)
    assert "secret" not in file.read_text()


def test_a_new_file_is_not_for_everybody(written: Callable[[str], Written], tmp_path: Path) -> None:
    log = written(str(tmp_path / "access.log")).log
    assert not (tmp_path / "access.log").exists(), "checking a configuration makes no files"
    log.begin()
    assert (tmp_path / "access.log").stat().st_mode & 0o007 == 0


def test_lines_wait_for_each_other_but_not_for_long(written: Callable[[str], Written], tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    each = written(str(file))
    each.log.start()
    each.add("a", "b", "c")
    each.wait_for(lambda: each.lines("written") == 3)
    assert ids(file.read_text()) == ["a", "b", "c"]


def test_there_is_a_thread_only_while_there_is_something_to_write(
    written: Callable[[str], Written], tmp_path: Path
) -> None:
    def running() -> bool:
        return each.log._thread is not None

    file = tmp_path / "access.log"
    each = written(str(file))
    each.log.start()
    assert not running()
    for name in ("a", "b", "c"):
        each.add(name)
        assert running()
        each.log.suspend()
        each.wait_for(lambda: not running())
    assert ids(file.read_text()) == ["a", "b", "c"]


def test_nothing_is_left_of_one_that_nobody_refers_to(tmp_path: Path) -> None:
    memory = mmap.mmap(-1, Recorder.SIZE)
    recorder = Recorder([], memory)
    log = AccessLog(recorder, str(tmp_path / "access.log"))
    log.begin()
    del log, recorder
    gc.collect()
    memory.close()  # raises where it is still counted in


def test_a_file_that_was_moved_away_is_opened_anew(written: Callable[[str], Written], tmp_path: Path) -> None:
    file, moved = tmp_path / "access.log", tmp_path / "access.log.1"
    each = written(str(file))
    each.log.start()
    each.add("a")
    file.rename(moved)
    each.log.open(str(file))  # the same, and nobody said that it was moved
    assert not file.exists()
    each.log.open(str(file), anew=True)
    each.wait_for(lambda: each.lines("written") == 1)
    each.add("b")
    each.log.stop()
    assert ids(moved.read_text() + file.read_text()) == ["a", "b"]
    assert ids(file.read_text())[-1:] == ["b"]


def test_each_line_goes_to_what_was_open_when_it_came(written: Callable[[str], Written], tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("one", "two", "three")]
    each = written(str(files[0]))
    each.log.begin()
    each.add("a")
    each.log.open(str(files[1]))
    each.add("b", "c")
    each.log.open("off")
    each.add("nowhere")
    each.log.open(str(files[2]))
    each.add("d")
    each.log.start()  # nobody has written until now
    each.log.stop()
    assert [ids(file.read_text()) for file in files] == [["a"], ["b", "c"], ["d"]]
    assert (each.lines("written"), each.lines("dropped")) == (4, 0)


def test_it_can_be_switched_off_and_on(written: Callable[[str], Written], tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    each = written("off")
    each.log.start()
    each.add("unseen")
    each.log.open(str(file))
    each.add("a")
    each.wait_for(lambda: each.lines("written") == 1)
    each.log.open("off")
    each.wait_for(lambda: each.log._fd is None)
    each.add("unseen, too")
    with pytest.raises(FileNotFoundError):
        each.log.open(str(tmp_path / "nowhere" / "access.log"))
    each.log.open(str(file))
    each.add("b")
    each.log.stop()
    assert ids(file.read_text()) == ["a", "b"]


def test_a_pipe_gets_whole_lines_in_pieces_that_do_not_mix(
    written: Callable[[str], Written], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces: list[bytes] = []

    def keep(_: int, piece: bytes) -> tuple[int, None]:
        pieces.append(piece)
        return len(piece), None

    monkeypatch.setattr(access_log, "_write_whole", keep)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        each = written(str(fifo))
        names = [f"{n}-" + "x" * (n % 200) for n in range(500)]
        each.log.begin()
        each.add(*names)
        each.log.start()
        each.log.stop()
    finally:
        os.close(reader)
    assert ids(b"".join(pieces).decode()) == names
    assert all(len(piece) <= select.PIPE_BUF and piece.endswith(b"\n") for piece in pieces)
    assert len(pieces) < 100


def test_a_pipe_that_nobody_reads_stops_nothing(written: Callable[[str], Written], tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        each = written(str(fifo))
        each.log.start()
        # More than the pipe, what the thread has taken and what may wait hold together.
        each.add(*["x" * 128] * 60_000)
        each.log.stop(0.05)  # ends although a write is under way
        took = each.recorder.take_lines()[1]
        assert took > 0
        assert each.lines("dropped") > 0
        assert each.lines("written") + each.lines("dropped") + took < 60_000, "some are in the write under way"
    finally:
        os.close(reader)


def test_a_named_pipe_is_opened_without_its_reader(written: Callable[[str], Written], tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    each = written(str(fifo))
    opening = threading.Thread(target=each.log.start, daemon=True)
    opening.start()
    opening.join(10)
    assert not opening.is_alive(), "it waits for a reader"
    each.add("early")
    each.wait_for(lambda: each.lines("dropped") == 1)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    each.add("late")
    each.wait_for(lambda: each.lines("written") == 1)
    assert ids(os.read(reader, 4096).decode()) == ["late"]
    os.close(reader)
    again = threading.Thread(target=lambda: each.log.open(str(fifo), anew=True), daemon=True)
    again.start()
    again.join(10)
    assert not again.is_alive(), "it waits for a reader"


def test_what_cannot_be_written_is_counted_and_said_once(
    written: Callable[[str], Written], caplog: pytest.LogCaptureFixture
) -> None:
    each = written("/dev/full")
    each.log.start()
    for count in (1, 2, 3):
        each.add("a")
        each.wait_for(lambda: each.lines("dropped") == count)  # noqa: B023
    assert each.lines("written") == 0
    assert len([record for record in caplog.records if "to /dev/full (" in record.message]) == 1


FULL_DISK = """
import os, resource, sys
from waypost._native import Recorder
from waypost.access_log import AccessLog

recorder = Recorder(["no_route"])
log = AccessLog(recorder, sys.argv[1])
log.start()


def write(*ids):
    for each in ids:
        recorder.record_rejection("no_route", 404, id=each, method="GET", target=b"/x")
    before = counts()
    log.suspend()
    while sum(counts()) - sum(before) < len(ids):
        pass
    print(*counts(), flush=True)


def counts():
    start = 'waypost_access_log_lines_total{result="'
    lines = [line for line in recorder.render()[0].splitlines() if line.startswith(start)]
    return [int(line.split()[1]) for result in ("written", "dropped") for line in lines if f'"{result}"' in line]


write("a")
room = os.path.getsize(sys.argv[1])
# From here on, the file cannot grow beyond two and a half lines, as on a disk that is full.
resource.setrlimit(resource.RLIMIT_FSIZE, (room * 5 // 2, resource.RLIM_INFINITY))
write("b", "c", "d")
write("e")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
write("f")
log.stop()
"""


def test_a_full_disk_leaves_no_torn_line(tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(file)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split("\n") == ["1 0", "2 2", "2 3", "3 3", ""]
    assert ids(file.read_text()) == ["a", "b", "f"]
    assert done.stderr.count("the access log cannot be written") == 1


def test_processes_that_share_a_full_disk_tear_no_line_of_each_other(tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    script = f"""{FULL_DISK.partition('write("a")')[0]}
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
for n in range(200):
    write(*[f"{{os.getpid()}}-{{n}}-{{m}}" + "x" * (n % 40) for m in range(5)])
log.stop()
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    written = [int(each.communicate(timeout=60)[0].split()[-2]) for each in processes]
    lines = ids(file.read_text())
    assert len(lines) == len(set(lines)) == sum(written) > 50


def test_a_pipe_that_somebody_made_non_blocking_is_waited_for(
    written: Callable[[str], Written], tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    total = 3 * select.PIPE_BUF * 64  # some pipes full
    line = b"x" * (select.PIPE_BUF - 1) + b"\n"
    thread = threading.Thread(target=lambda: [access_log._write_whole(writer, line) for _ in range(total // len(line))])
    thread.start()
    got = b""
    while len(got) < total:
        select.select([reader], [], [], 10)
        got += os.read(reader, 1 << 16)
    thread.join(10)
    os.close(reader)
    os.close(writer)
    assert got == line * (total // len(line))

"""Writes of one turn: in order, collected only while there are enough of them."""

from __future__ import annotations

from typing import Any

import pytest
from waypost.loop import outbox as module
from waypost.loop.outbox import Outbox


class Loop:
    """Runs what it is given when the turn ends."""

    def __init__(self) -> None:
        self.soon: list[Any] = []

    def call_soon(self, callback: Any) -> None:
        self.soon.append(callback)

    def end_turn(self) -> None:
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()


class Writer:
    """A connection; its transport too."""

    def __init__(self, written: list[tuple[Writer, bytes]]) -> None:
        self.unsent = False
        self.closing = False
        self._written = written

    @property
    def transport(self) -> Any:
        return self

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        assert not self.unsent
        self._written.append((self, data))


@pytest.fixture
def world() -> tuple[Loop, Any, list[tuple[Writer, bytes]]]:
    loop = Loop()
    return loop, Outbox(loop), []  # type: ignore[arg-type]


def turn(world: Any, writers: list[Writer]) -> None:
    """What a user does: writes go to the outbox, or at once and are counted."""
    loop, outbox, _ = world
    for writer in writers:
        if outbox.collecting:
            outbox.put(writer, b"x")
        else:
            writer.write(b"x")
            outbox.countdown -= 1
            if outbox.countdown <= 0:
                outbox.measure()
    loop.end_turn()


def test_what_is_put_is_written_at_the_end_of_the_turn_in_order(world: Any) -> None:
    loop, outbox, written = world
    first, second = Writer(written), Writer(written)
    for writer, data in ((first, b"1"), (second, b"2"), (first, b"3")):
        outbox.put(writer, data)
        assert writer.unsent
    assert (written, len(loop.soon)) == ([], 1)
    loop.end_turn()
    assert written == [(first, b"1"), (second, b"2"), (first, b"3")]
    assert not first.unsent
    outbox.put(first, b"4")
    loop.end_turn()
    assert written[3:] == [(first, b"4")]


def test_a_flush_writes_at_once_and_the_end_of_the_turn_nothing_more(world: Any) -> None:
    loop, outbox, written = world
    writer = Writer(written)
    outbox.put(writer, b"1")
    outbox.flush()
    assert written == [(writer, b"1")]
    loop.end_turn()
    assert len(written) == 1


def test_nothing_is_written_to_a_transport_that_closes(world: Any) -> None:
    loop, outbox, written = world
    writer = Writer(written)
    outbox.put(writer, b"1")
    writer.closing = True
    loop.end_turn()
    assert (written, writer.unsent) == ([], False)


def test_writes_are_collected_while_enough_come_in_a_turn(world: Any) -> None:
    _, outbox, written = world
    writers = [Writer(written) for _ in range(16)]
    assert not outbox.collecting
    while not outbox.collecting:
        turn(world, writers)
    for _ in range(100):
        turn(world, writers)
        assert outbox.collecting
    few = writers[: module._ENOUGH - 1]
    for _ in range(module._PATIENCE):
        assert outbox.collecting
        turn(world, few)
    assert not outbox.collecting


def test_few_writes_are_measured_once_in_a_while_only(world: Any) -> None:
    loop, outbox, written = world
    writer = Writer(written)
    collected = 0
    for _ in range(10 * module._INTERVAL):
        collected += outbox.collecting
        turn(world, [writer])
    assert collected <= 10
    assert len(written) == 10 * module._INTERVAL
    assert loop.soon == []

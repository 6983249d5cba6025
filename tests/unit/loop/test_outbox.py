"""Writes of one turn: in order, collected only while there are enough of them."""

from __future__ import annotations

import os
import resource
import select
import socket
from typing import Any

import pytest
from waypost.loop import outbox as module
from waypost.loop.outbox import Outbox


class Loop:
    """Runs what it is given when the turn ends."""

    def __init__(self) -> None:
        self.soon: list[Any] = []
        self.failures: list[dict[str, Any]] = []

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.failures.append(context)

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
        self.loud = False
        self.descriptor = -1
        self._written = written

    @property
    def transport(self) -> Any:
        return self

    def spoke(self) -> None:
        self.loud = True

    def write(self, data: bytes) -> None:
        assert not self.unsent
        if self.closing:
            raise RuntimeError("the handler is closed")
        self._written.append((self, data))


@pytest.fixture
def world() -> tuple[Loop, Any, list[tuple[Writer, bytes]]]:
    loop = Loop()
    return loop, Outbox(loop), []  # type: ignore[arg-type]


def put(outbox: Outbox, writer: Writer, data: bytes) -> None:
    """What a writer does while writes are collected."""
    writer.unsent = True
    if not outbox.waiting:
        outbox.arm()
    outbox.waiting.append((writer, data))


def turn(world: Any, writers: list[Writer]) -> None:
    """What a user does: writes go to the outbox, or at once and are counted."""
    loop, outbox, _ = world
    for writer in writers:
        if outbox.collecting:
            put(outbox, writer, b"x")
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
        put(outbox, writer, data)
        assert writer.unsent
    assert (written, len(loop.soon)) == ([], 1)
    loop.end_turn()
    assert written == [(first, b"1"), (second, b"2"), (first, b"3")]
    assert not first.unsent
    put(outbox, first, b"4")
    loop.end_turn()
    assert written[3:] == [(first, b"4")]


def test_a_flush_writes_at_once_and_the_end_of_the_turn_nothing_more(world: Any) -> None:
    loop, outbox, written = world
    writer = Writer(written)
    put(outbox, writer, b"1")
    outbox.flush()
    assert written == [(writer, b"1")]
    loop.end_turn()
    assert len(written) == 1


def test_nothing_is_written_to_a_transport_that_closes(world: Any) -> None:
    loop, outbox, written = world
    writer = Writer(written)
    put(outbox, writer, b"1")
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


def test_who_spoke_before_being_asked_is_told_and_not_written_to(world: Any) -> None:
    loop, outbox, written = world
    near, far = socket.socketpair()
    with near, far:
        asked, other = Writer(written), Writer(written)
        asked.descriptor = near.fileno()
        outbox.watch(asked.descriptor, tls=False)
        put(outbox, asked, b"1")
        put(outbox, other, b"2")
        loop.end_turn()
        assert written == [(asked, b"1"), (other, b"2")]
        put(outbox, asked, b"3")
        put(outbox, other, b"4")
        far.send(b"!")
        loop.end_turn()
        assert (written[2:], asked.loud, other.loud) == ([(other, b"4")], True, False)


@pytest.mark.parametrize("tls", [False, True])
def test_what_is_said_under_tls_may_be_tls_itself_but_an_end_is_an_end(world: Any, tls: bool) -> None:
    loop, outbox, written = world
    near, far = socket.socketpair()
    with near:
        writer = Writer(written)
        writer.descriptor = near.fileno()
        outbox.watch(writer.descriptor, tls=tls)
        far.send(b"a session ticket")
        put(outbox, writer, b"1")
        loop.end_turn()
        assert writer.loud == (not tls)
        writer.loud = False
        far.close()
        put(outbox, writer, b"2")
        loop.end_turn()
        assert writer.loud


def test_a_socket_may_have_the_number_of_one_that_is_gone(world: Any) -> None:
    _, outbox, _ = world
    near, far = socket.socketpair()
    with near, far:
        outbox.watch(near.fileno(), tls=False)
        outbox.watch(near.fileno(), tls=True)


def test_a_writer_that_fails_costs_the_others_nothing(world: Any) -> None:
    loop, outbox, written = world
    near, far = socket.socketpair()
    with near, far:
        loud, quiet = Writer(written), Writer(written)
        loud.descriptor = near.fileno()
        assert outbox.watch(near.fileno(), tls=False)
        far.send(b"x")

        def broken() -> None:
            raise ValueError("broken")

        loud.spoke = broken  # type: ignore[method-assign]
        put(outbox, loud, b"a")
        put(outbox, quiet, b"b")
        loop.end_turn()
        assert written == [(quiet, b"b")]
        assert [str(context["exception"]) for context in loop.failures] == ["broken"]
        outbox.close()


def test_more_sockets_may_speak_than_one_poll_tells_by_itself(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, outbox, written = world
    near, far = socket.socketpair()
    with near, far:
        far.send(b"x")
        copies = [os.dup(near.fileno()) for _ in range(40)]
        try:
            for descriptor in copies:
                assert outbox.watch(descriptor, tls=False)
            asked: list[tuple[int, ...]] = []

            class Poll:
                def poll(self, *args: int) -> list[tuple[int, int]]:
                    asked.append(args)
                    return real.poll(*(args if len(args) > 1 else (0, 10)))

            real = outbox._poll
            outbox._poll = Poll()
            monkeypatch.setattr(module, "_EVENTS", 10)
            writers = [Writer(written) for _ in copies]
            for writer, descriptor in zip(writers, copies, strict=True):
                writer.descriptor = descriptor
                put(outbox, writer, b"x")
            outbox.flush()
            assert all(writer.loud for writer in writers)
            assert len(asked) == 2
            assert not written
            real.close()
        finally:
            for descriptor in copies:
                os.close(descriptor)


def test_what_python_polls_by_itself_is_what_is_written_down() -> None:
    """If CPython changes it, the number here has to change with it."""
    near, far = socket.socketpair()
    with near, far:
        far.send(b"x")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = module._EVENTS + 200
        if soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
        copies = []
        try:
            with select.epoll() as poll:
                for _ in range(module._EVENTS + 50):
                    copies.append(os.dup(near.fileno()))
                    poll.register(copies[-1], select.EPOLLIN)
                assert len(poll.poll(0)) == module._EVENTS
                assert len(poll.poll(0, module._MANY_EVENTS)) == len(copies)
        finally:
            for descriptor in copies:
                os.close(descriptor)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

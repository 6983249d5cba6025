"""Mirrors: copies of messages for a second cluster. A mirror never delays or fails its message.

A mirror is an internal call whose response is discarded. It carries its cluster's credential and no other, and spends
no caller's rates. At most `limits.mirrors` mirrors are under way in a process at one time. Further mirrors are dropped
and counted, and so are mirrors of a message whose body is streamed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from waypost._native import Plan, Recorder
from waypost.answers.call import call
from waypost.errors import WaypostError
from waypost.exchange.runtime import Runtime
from waypost.sink import Headers, Sink
from waypost.upstream.settings import UpstreamSettings

__all__ = ["Mirrors"]

_logger = logging.getLogger("waypost")


class Mirrors:
    """The mirrors under way in one process. All event loops share the limit."""

    __slots__ = ("_recorder", "_under_way")

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._under_way = 0

    def begin(self, runtime: Runtime, settings: UpstreamSettings, plan: Plan, cluster: str, *, streamed: bool) -> None:
        """Send a copy of the message of `plan` to `cluster` soon, unless too many mirrors are under way.

        `streamed` says that the body is streamed, so that no copy of it is kept.
        """
        if streamed or self._under_way >= settings.mirrors:
            self._recorder.mirror_dropped()
            return
        self._under_way += 1
        # The child keeps the body from now on. Its exchange begins after the message itself was sent.
        child = plan.child(cluster, "mirror")
        runtime.loop.call_soon(self._call, runtime, settings, child)

    def _call(self, runtime: Runtime, settings: UpstreamSettings, child: Plan) -> None:
        try:
            call(runtime, settings, child, _DiscardSink(self._done))
        except Exception:
            _logger.exception("a defect ended the mirror of message %s", child.id)
            self._done()

    def _done(self) -> None:
        self._under_way -= 1


class _DiscardSink(Sink):
    """Discards a response, and calls `done` at its end."""

    __slots__ = ("_done", "sent")

    def __init__(self, done: Callable[[], None]) -> None:
        self.sent = 0
        self._done = done

    def start(self, status: int, headers: Headers) -> None:
        pass

    def data(self, chunk: bytes) -> None:
        self.sent += len(chunk)

    def end(self, trailers: Sequence[tuple[bytes, bytes]] = ()) -> None:  # noqa: ARG002 - part of Sink
        self._done()

    def abort(self, error: WaypostError) -> None:  # noqa: ARG002 - part of Sink
        self._done()

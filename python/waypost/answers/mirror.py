"""Mirrors: copies of messages for a second cluster. A mirror never delays or fails its message.

A mirror is an internal call whose response is discarded. It carries its cluster's credential and no other, and spends
no caller's rates. At most `limits.mirrors` mirrors are under way in a process at one time, and their bodies count for
`limits.buffered`. Further mirrors are dropped and counted, and so are mirrors of a message whose body is streamed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from waypost._native import Plan, Recorder
from waypost.answers.call import Call, call
from waypost.errors import WaypostError
from waypost.exchange.runtime import Runtime
from waypost.loop.budget import Budget
from waypost.sink import Headers, Sink
from waypost.upstream.settings import UpstreamSettings

__all__ = ["Mirrors"]

_logger = logging.getLogger("waypost")


class Mirrors:
    """The mirrors under way in one process. All event loops share the limits."""

    __slots__ = ("_budget", "_recorder", "_under_way")

    def __init__(self, recorder: Recorder, budget: Budget) -> None:
        self._recorder = recorder
        self._budget = budget
        self._under_way: set[_Mirror] = set()

    def __len__(self) -> int:
        """How many mirrors are under way."""
        return len(self._under_way)

    def begin(self, runtime: Runtime, settings: UpstreamSettings, plan: Plan, cluster: str, *, streamed: bool) -> None:
        """Send a copy of the message of `plan` to `cluster` soon, unless there is no room for another mirror.

        `streamed` says that the body is streamed, so that no copy of it is kept.
        """
        size = plan.body_length
        if (
            streamed
            or len(self._under_way) >= settings.mirrors
            # A mirror never makes messages wait for its bytes.
            or not self._budget.take(size, settings.buffered)
        ):
            self._recorder.mirror_dropped()
            return
        mirror = _Mirror(self, runtime, size)
        self._under_way.add(mirror)
        # The child keeps the body from now on. Its exchange begins after the message itself was sent.
        runtime.loop.call_soon(mirror.begin, settings, plan.child(cluster, "mirror"))

    def over(self, mirror: _Mirror) -> None:
        """Release what `mirror` held, once."""
        if mirror in self._under_way:
            self._under_way.remove(mirror)
            self._budget.give(mirror.size)

    def close(self, runtime: Runtime) -> None:
        """End the mirrors of the running event loop. The log and the metrics have them as failed."""
        for mirror in [each for each in self._under_way if each.runtime is runtime]:
            mirror.cancel()

    def forget(self, runtime: Runtime) -> None:
        """Release what the mirrors of a closed event loop held."""
        for mirror in [each for each in self._under_way if each.runtime is runtime]:
            self.over(mirror)


class _Mirror(Sink):
    """One mirror. Discards the response."""

    __slots__ = ("_call", "_mirrors", "_over", "runtime", "sent", "size")

    def __init__(self, mirrors: Mirrors, runtime: Runtime, size: int) -> None:
        self.runtime = runtime
        self.size = size
        """Bytes of the body."""
        self.sent = 0
        self._mirrors = mirrors
        self._call: Call | None = None
        self._over = False

    def begin(self, settings: UpstreamSettings, child: Plan) -> None:
        if self._over:
            return
        try:
            self._call = call(self.runtime, settings, child, self)
        except Exception:
            _logger.exception("a defect ended the mirror of message %s", child.id)
            self.end()

    def cancel(self) -> None:
        if self._call is not None:
            self._call.cancel()
        self.end()

    def start(self, status: int, headers: Headers) -> None:
        pass

    def data(self, chunk: bytes) -> None:
        self.sent += len(chunk)

    def end(self, trailers: Sequence[tuple[bytes, bytes]] = ()) -> None:  # noqa: ARG002 - part of Sink
        self._over = True
        self._mirrors.over(self)

    def abort(self, error: WaypostError) -> None:  # noqa: ARG002 - part of Sink
        self.end()

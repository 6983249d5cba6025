"""What bounds mirrors, whatever goes wrong with one."""

from __future__ import annotations

import asyncio
from typing import Any

from waypost.answers import mirror as module
from waypost.answers.mirror import Mirrors


def test_a_mirror_that_breaks_is_reported_and_not_counted_any_more(run, scripts, monkeypatch, caplog):
    def broken(*_: Any) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(module, "call", broken)

    async def body(world):
        client = world.client(await world.upstream(scripts.reply()))
        gateway = client.gateway
        headers = [(b"host", b"w"), (b"content-length", b"27")]
        plan = gateway.generation.snapshot.accept("POST", b"/v1/envelopes", headers).plan(
            b'{"id":"1","kind":"query"}  '
        )
        mirrors = Mirrors(gateway.recorder, gateway.budget)
        mirrors.begin(gateway.runtime(), gateway.generation.settings, plan, "c0", streamed=False)
        assert (len(mirrors), gateway.budget.held) == (1, 27)
        await asyncio.sleep(0)
        assert (len(mirrors), gateway.budget.held) == (0, 0)

    run(body)
    assert "a defect ended the mirror of message 1" in caplog.text

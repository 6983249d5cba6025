"""Who waits for room, where several event loops serve the same clusters."""

import asyncio
import threading

from waypost.exchange.waiting_room import WaitingRoom
from waypost.gateway import Gateway

from ..support import until  # noqa: TID252

QUERY = {"id": "q1", "kind": "query", "content": "x"}


def limited(world, up):
    client = world.client(up)
    document = {
        "clusters": {"c": {"speaks": "envelope", "endpoints": [up.url], "concurrency": 1}},
        "routes": [{"name": "all", "to": "c"}],
    }
    return type(client)(document)


def waiting(gateway: Gateway) -> int:
    (found,) = gateway.registry.view()
    return found["waiting"]


def test_turns_go_to_whichever_event_loop_waits(run, scripts):
    async def body(world):
        first = asyncio.Event()
        up = await world.upstream(scripts.held(first), scripts.reply())
        client = limited(world, up)
        holds = asyncio.ensure_future(client.send(QUERY))
        await up.asked.wait()
        answers = []

        async def other_loop():
            answers.append((await client.send(QUERY)).status)
            client.gateway.close()

        others = [threading.Thread(target=asyncio.run, args=(other_loop(),)) for _ in range(2)]
        for thread in others:
            thread.start()
        own = asyncio.ensure_future(client.send(QUERY))
        await until(lambda: waiting(client.gateway) == 3)
        first.set()
        assert (await holds).status == (await own).status == 200
        await until(lambda: len(answers) == 2)
        assert answers == [200, 200]
        for thread in others:
            await asyncio.to_thread(thread.join)
        (found,) = client.gateway.registry.view()
        assert (found["in_flight"], found["waiting"], found["messages"]) == (0, 0, 4)

    run(body)


def test_a_turn_that_nobody_takes_is_the_next_ones(run, scripts):
    """One that is called just as its client leaves."""

    async def body(world):
        first, gone = asyncio.Event(), asyncio.Event()
        up = await world.upstream(scripts.held(first), scripts.reply())
        client = limited(world, up)
        holds = asyncio.ensure_future(client.send(QUERY))
        await up.asked.wait()
        leaves = asyncio.ensure_future(client.send(QUERY, leave=gone))
        await until(lambda: waiting(client.gateway) == 1)
        stays = asyncio.ensure_future(client.send(QUERY))
        await until(lambda: waiting(client.gateway) == 2)
        room = client.gateway.runtime().waiting_room
        called = WaitingRoom.announce

        def announce(self, turns):
            turns = list(turns)
            if turns and not gone.is_set():
                gone.set()
                # It leaves between its turn and being told.
                self._loop.call_soon(self.waiting[(turns[0].cluster, turns[0].ticket)].cancel)
            called(self, turns)

        WaitingRoom.announce = announce
        try:
            first.set()
            assert (await holds).status == 200
            assert (await stays).status == 200
        finally:
            WaitingRoom.announce = called
        leaves.cancel()
        await asyncio.gather(leaves, return_exceptions=True)
        (found,) = client.gateway.registry.view()
        assert (found["in_flight"], found["waiting"]) == (0, 0)
        assert room.waiting == {}

    run(body)

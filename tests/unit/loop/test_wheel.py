"""The timer wheel, on an event loop whose clock the test moves."""

import math

from waypost.loop.wheel import TICK, Timed, Wheel


class Probe(Timed):
    def __init__(self):
        super().__init__()
        self.fired = []

    def expired(self, now):
        self.fired.append(now)


def test_never_early_and_late_by_a_tick_at_most(clock):
    wheel = Wheel(clock)
    probes = {}
    for index in range(100):
        when = 100 + index * 0.0137
        probes[when] = Probe()
        wheel.schedule(probes[when], when)
    clock.advance(110)
    for when, probe in probes.items():
        assert len(probe.fired) == 1
        assert when <= probe.fired[0] <= when + TICK + 1e-9
    assert (len(wheel), clock.armed) == (0, 0)


def test_a_deadline_can_move_both_ways(clock):
    wheel = Wheel(clock)
    later, sooner = Probe(), Probe()
    wheel.schedule(later, 101)
    wheel.schedule(sooner, 109)
    wheel.schedule(later, 105)
    wheel.schedule(sooner, 102)
    clock.advance(104)
    assert (later.fired, len(sooner.fired)) == ([], 1)
    clock.advance(106)
    assert len(later.fired) == 1


def test_cancelled_never_fires_and_nothing_stays_behind(clock):
    wheel = Wheel(clock)
    probe = Probe()
    for _ in range(1000):
        wheel.schedule(probe, clock.now + 60)
        wheel.cancel(probe)
    assert len(wheel) == 0
    wheel.schedule(probe, math.inf)
    clock.advance(1000)
    assert (probe.fired, clock.armed) == ([], 0)

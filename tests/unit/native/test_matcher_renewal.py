"""`Matcher` changed so often that its rules are compiled anew on the way, while changes go on."""

from __future__ import annotations

import random
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from waypost import Matcher

TENANTS = 500
BEGINS = 2_049
"""After so many updates of rules they begin to be compiled anew."""
Rules = dict[str, dict[str, Any]]


def many(count: int) -> Rules:
    return {f"r{number}": {"tenant": [number % TENANTS], "x": [{"exists": False}]} for number in range(count)}


def changed(matcher: Matcher, rules: Rules, number: int, choose: random.Random) -> Iterator[int]:
    """Changes a matcher and what it should be alike, so many times."""
    names = list(rules)
    for step in range(number):
        match choose.randrange(3):
            case 0:
                name, pattern = f"{len(rules)}-{step}-{choose.random()}", {"tenant": [choose.randrange(TENANTS)]}
                matcher.add(name, pattern)
                rules[name] = pattern
                names.append(name)
            case 1:
                name = choose.choice(names)
                rules[name] = {
                    "tenant": [choose.randrange(TENANTS)],
                    f"field-{choose.randrange(9)}": [{"exists": False}],
                }
                matcher.update(name, rules[name])
            case _:
                place = choose.randrange(len(names))
                names[place], names[-1] = names[-1], names[place]
                name = names.pop()
                del rules[name]
                matcher.remove(name)
        yield step


def check(matcher: Matcher, rules: Rules) -> None:
    expected: dict[int, list[str]] = {tenant: [] for tenant in range(TENANTS)}
    for name, pattern in rules.items():
        expected[pattern["tenant"][0]].append(name)
    bodies = [b'{"tenant": %d}' % tenant for tenant in range(TENANTS)]
    assert matcher.matches_many(bodies) == list(expected.values())
    assert matcher.first_many(bodies) == [next(iter(names), None) for names in expected.values()]
    assert list(matcher) == list(rules)
    assert len(matcher) == len(rules)


def test_rules_are_the_same_before_between_and_after() -> None:
    rules = many(20_000)
    matcher = Matcher(rules)
    for step in changed(matcher, rules, 15_000, random.Random(1)):  # noqa: S311 - not a secret
        if step % 97 == 0:
            check(matcher, rules)
    check(matcher, rules)


@pytest.mark.parametrize("more", [0, 100, 500, 550, 600, 1_000])
def test_a_swap_of_all_rules_meanwhile_leaves_nothing_of_them(more: int) -> None:
    old = many(20_000)
    matcher = Matcher(old)
    # From here on they are compiled anew; what is done of that after some more changes depends on the machine.
    for name in list(old)[: BEGINS + more]:
        matcher.update(name, {"tenant": [-1]})
    rules = many(300)
    matcher.replace(rules)
    check(matcher, rules)
    for _ in changed(matcher, rules, 5_000, random.Random(2)):  # noqa: S311 - not a secret
        pass
    check(matcher, rules)


def test_no_change_of_several_threads_is_lost() -> None:
    rules = many(20_000)
    matcher = Matcher(rules)
    faults: list[BaseException] = []

    def change(writer: int) -> None:
        try:
            for number in range(4_000):
                name = f"{writer}-{number}"
                matcher.add(name, {"writer": [name]})
                if number % 4 == 0:
                    matcher.update(f"r{4 * number + writer}", {"tenant": [f"{writer}"]})
                assert matcher.first(f'{{"writer": "{name}"}}') == name
        except BaseException as error:
            faults.append(error)
            raise

    threads = [threading.Thread(target=change, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert len(matcher) == 36_000
    added = [f"{writer}-{number}" for writer in range(4) for number in range(4_000)]
    assert matcher.first_many(f'{{"writer": "{name}"}}' for name in added) == added
    assert [len(matcher.matches(f'{{"tenant": "{writer}"}}')) for writer in range(4)] == [1_000] * 4


def test_a_process_forked_meanwhile_changes_its_own() -> None:
    """It has no thread that compiles, though that was under way."""
    program = f"""
        import os
        from waypost import Matcher

        matcher = Matcher({{f"r{{number}}": {{"tenant": [number]}} for number in range(20_000)}})
        for number in range({BEGINS}):
            matcher.update(f"r{{number}}", {{"tenant": [-number]}})
        child = os.fork()
        # In the end a change would wait for the thread.
        for number in range({BEGINS}, 20_000):
            matcher.update(f"r{{number}}", {{"tenant": [-number]}})
        assert matcher.first_many(b'{{"tenant": %d}}' % -number for number in range(20_000)) == list(matcher)
        if child:
            assert os.waitpid(child, 0) == (child, 0)
            print("both")
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], check=True, capture_output=True, text=True, timeout=60
    )
    assert run.stdout == "both\n"

"""Changing one rule of many, explaining one, deciding on many documents at once, reloading all. A part of `compile`.

`python -m benches.edits [ROUTES]` measures the reload alone.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from waypost import Matcher

from benches.corpus import envelope, pattern, rules
from benches.proc import Process, free_port
from benches.report import Table, verdict
from benches.timing import each, interleaved, quantile, uncollected

_RULES = 100_000
_EDITS = 500
_IN_A_ROW = 5_000
"""Enough of them that all rules are compiled anew on the way, by a thread of the matcher's own."""
_MS = 10.0
"""Milliseconds that a small change may take."""
_RELOADS = 10
_RELOAD_S = 3.0
"""Seconds that a reload may take."""
_STOP_MS = 50.0
"""Milliseconds for which the event loop may stand still meanwhile."""
_GROWTH = 1.1
"""Times the memory after two reloads that there may be after all."""
_HEAD = """\
access_log: off
clusters:
  local: {speaks: envelope, endpoints: [http://127.0.0.1:9]}
"""


def run(*, quick: bool) -> list[Table]:
    count = _RULES // 10 if quick else _RULES
    matcher = Matcher(rules(count))
    edited, asked = _edited(matcher, count, quick=quick), _asked(Matcher(rules(count)), count, quick=quick)
    del matcher
    return [edited, asked, reloaded(count)]


def reloaded(count: int) -> Table:
    """`waypost serve` that reloads, while a client asks for `/healthz` again and again."""
    columns = ("routes in", "median s", f"worst ≤ {_RELOAD_S:g} s", "", "longest stop, ms")
    columns += ("without a reload", f"≤ {_STOP_MS:g} ms", "MB after 2", f"after {_RELOADS}", f"≤ {_GROWTH:g} times")
    table = Table(f"{_RELOADS} reloads of {count:,} routes under `waypost serve`", columns)
    routes = [{"name": name, "match": match, "to": "local"} for name, match in rules(count).items()]
    flow = [f"  - {json.dumps(route)}" for route in routes]
    keys = (("name", "match", "to"), ("", "    ", "    "))
    block = [
        "\n".join(
            f"{'  - ' if key == 'name' else indent}{key}: {json.dumps(route[key])}"
            for key, indent in zip(*keys, strict=True)
        )
        for route in routes
    ]
    lines = "\n".join(map(json.dumps, routes))
    files = {
        "YAML, a line each": {"waypost.yaml": f"{_HEAD}routes:\n" + "\n".join(flow)},
        "YAML, a key a line": {"waypost.yaml": f"{_HEAD}routes:\n" + "\n".join(block)},
        "JSON lines": {"waypost.yaml": f"{_HEAD}include: [routes.jsonl]\n", "routes.jsonl": lines},
    }
    for name, texts in files.items():
        with tempfile.TemporaryDirectory() as directory:
            for file, text in texts.items():
                Path(directory, file).write_text(text, "utf-8")
            table.rows.append((name, *_reloads(Path(directory, "waypost.yaml"))))
    table.notes += [
        (
            "From SIGHUP to the line that says so. The longest stop: how long a client waited for `/healthz` at most, "
            "asking every millisecond. Without a reload: the same for as long as all reloads took."
        ),
        "MB: resident, half a second after a reload.",
    ]
    return table


def _reloads(config: Path) -> list[object]:
    port = free_port()
    with Process([sys.executable, "-m", "waypost", "serve", str(config), "--port", str(port)]) as process:
        process.wait_for("listening", 300)
        took, sizes, during = [], [], []
        for _ in range(_RELOADS):
            with _asked_for_health(port) as waits:
                began = time.perf_counter()
                process.signal(signal.SIGHUP)
                process.wait_for("waypost: reloaded", 300)
                took.append(time.perf_counter() - began)
                time.sleep(0.5)
            during.append(max(waits))
            sizes.append(process.rss())
        with _asked_for_health(port) as waits:
            time.sleep(sum(took))
        stop = max(during) * 1e3
        growth = sizes[-1] / sizes[1]
        return [
            quantile(took, 0.5),
            max(took),
            verdict(max(took) <= _RELOAD_S),
            stop,
            max(waits) * 1e3,
            verdict(stop <= _STOP_MS),
            sizes[1],
            sizes[-1],
            verdict(growth <= _GROWTH),
        ]


@contextmanager
def _asked_for_health(port: int) -> Iterator[list[float]]:
    """Ask for `/healthz` every millisecond; yields how long each answer took, in seconds."""
    waits: list[float] = [0.0]
    done = threading.Event()

    def ask() -> None:
        with socket.create_connection(("127.0.0.1", port)) as client:
            while not done.wait(0.001):
                began = time.perf_counter()
                client.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
                if not client.recv(4096):
                    raise RuntimeError("the connection was closed")
                waits.append(time.perf_counter() - began)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield waits
    finally:
        done.set()
        thread.join()


def _edited(matcher: Matcher, count: int, *, quick: bool) -> Table:
    number = _EDITS // 10 if quick else _EDITS
    table = Table(
        f"One rule among {count:,} changed, ms", ("what", "times", "median", "p99", "worst", f"worst ≤ {_MS:g} ms")
    )
    spread = [place * count // number for place in range(number)]
    news = range(count, count + number)
    # What is updated goes to another subject's pattern.
    edits: list[tuple[str, Iterable[Callable[[], None]]]] = [
        ("add", [partial(matcher.add, f"rule-{new}", pattern(new)) for new in news]),
        ("update", [partial(matcher.update, f"rule-{at}", pattern(at + 3 * count)) for at in spread]),
        ("remove", [partial(matcher.remove, f"rule-{at}") for at in spread]),
    ]
    if not quick:
        row = [partial(matcher.update, f"rule-{at + 1}", pattern(at + 5 * count)) for at in _steps(count)]
        edits.append(("update, on and on", row))
        come_and_go = [
            call
            for new in range(2 * count, 2 * count + _IN_A_ROW)
            for call in (partial(matcher.add, f"rule-{new}", pattern(new)), partial(matcher.remove, f"rule-{new}"))
        ]
        edits.append(("add and remove it, on and on", come_and_go))
    for name, calls in edits:
        took = [seconds * 1e3 for seconds in _singly(calls)]
        figures = (name, len(took), quantile(took, 0.5), quantile(took, 0.99), max(took), verdict(max(took) <= _MS))
        table.rows.append(figures)
    table.notes += [
        "CPU time of each call's thread, each made once.",
        "After some thousands another thread compiles all rules anew meanwhile.",
    ]
    return table


def _steps(count: int) -> list[int]:
    """Rules that the edits before left alone, their neighbours too."""
    step = count // _IN_A_ROW
    return [place * step for place in range(_IN_A_ROW)]


def _singly(calls: Iterable[Callable[[], None]]) -> list[float]:
    took = []
    with uncollected():
        for call in calls:
            began = time.thread_time()
            call()
            took.append(time.thread_time() - began)
    return took


def _asked(matcher: Matcher, count: int, *, quick: bool) -> Table:
    body, rule = envelope(1_000, subject=count // 2), f"rule-{count // 3}"
    bodies = [envelope(1_000, subject=place * count // 1_000) for place in range(1_000)]
    # Apart from each other: what goes through all rules leaves nothing of a few in the caches.
    each_body: dict[str, Callable[[], object]] = {
        "first(body)": partial(each, matcher.first, bodies),
        "first_many(bodies), for each of 1,000": partial(matcher.first_many, bodies),
        "matches(body)": partial(each, matcher.matches, bodies),
        "matches_many(bodies), for each of 1,000": partial(matcher.matches_many, bodies),
    }
    one_body: dict[str, Callable[[], object]] = {
        "explain(body, rule=…)": partial(matcher.explain, body, rule=rule),
        "explain(body)": partial(matcher.explain, body),
        "cost()": matcher.cost,
    }
    rounds = 2 if quick else 15
    took = {name: seconds / len(bodies) for name, seconds in interleaved(each_body, 2 * rounds).items()}
    took |= interleaved(one_body, rounds)
    table = Table(f"Of {count:,} rules, documents of 1 KB that match one", ("what", "µs", "÷ first()"))
    for name, seconds in took.items():
        table.rows.append((name, seconds * 1e6, seconds / took["first(body)"]))
    return table


if __name__ == "__main__":  # [ROUTES]
    print(reloaded(int(sys.argv[1]) if len(sys.argv) > 1 else _RULES))

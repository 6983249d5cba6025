"""Runs benches, prints their tables and keeps them in RESULTS.md."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from benches import revision
from benches.report import Table, environment, render, store

NAMES = ("startup", "proxy", "streams", "cost", "soak", "comparison", "matcher", "scale", "compile")
"""Modules of this package with `run(quick=…) -> list[Table]`, in the order in which RESULTS.md has them."""
AGAINST = ("startup", "proxy")
"""Those whose `run` takes another revision, too. Such a run has a section of its own, after the plain one's."""
SECTIONS = tuple(section for name in NAMES for section in (name, f"{name} --against"))

RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benches", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of: {', '.join(NAMES)} [default: all]")
    parser.add_argument("--quick", action="store_true", help="few repetitions, and RESULTS.md stays as it is")
    parser.add_argument(
        "--against", metavar="REV", help=f"beside another revision, which is built if need be; of: {', '.join(AGAINST)}"
    )
    options = parser.parse_args()
    names = AGAINST if options.against else NAMES
    for name in options.names:
        if name not in names:
            which = "bench that takes --against" if options.against else "bench"
            parser.error(f"there is no {which} {name!r}; benches: {', '.join(names)}")
    beside = {}
    if options.against:
        try:
            beside["against"] = revision.build(options.against)
        except RuntimeError as problem:
            parser.error(f"--against: {problem}")
    for name in options.names or names:
        print(f"== {name}", flush=True)
        bench = importlib.import_module(f"benches.{name}")
        tables: list[Table] = bench.run(quick=options.quick, **beside)
        section = render(bench.__doc__, tables, environment())
        print(section, flush=True)
        if not options.quick:
            store(RESULTS, f"{name} --against" if beside else name, section, SECTIONS)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Runs benches, prints their tables and keeps them in RESULTS.md."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from benches.report import Table, environment, render, store

NAMES = ("startup", "proxy", "streams", "cost", "soak", "comparison", "matcher", "scale", "compile")
"""Modules of this package with `run(quick=…) -> list[Table]`, in the order in which RESULTS.md has them."""

RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benches", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of: {', '.join(NAMES)} [default: all]")
    parser.add_argument("--quick", action="store_true", help="few repetitions, and RESULTS.md stays as it is")
    options = parser.parse_args()
    for name in options.names:
        if name not in NAMES:
            parser.error(f"there is no bench {name!r}; benches: {', '.join(NAMES)}")
    for name in options.names or NAMES:
        print(f"== {name}", flush=True)
        bench = importlib.import_module(f"benches.{name}")
        tables: list[Table] = bench.run(quick=options.quick)
        section = render(bench.__doc__, tables, environment())
        print(section, flush=True)
        if not options.quick:
            store(RESULTS, name, section, NAMES)
    return 0


if __name__ == "__main__":
    sys.exit(main())

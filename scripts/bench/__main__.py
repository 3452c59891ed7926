"""``python -m scripts.bench [NAME…] [--quick] [--keep]``: runs benchmarks one after the other, prints the tables."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import sys

from rich.console import Console
from rich.markdown import Markdown

from tests.stack import report

NAMES = ("latency", "delivery", "backlog", "page", "window", "rooms", "queries", "long_meeting", "soak")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all when none is given")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs; not for quoting")
    parser.add_argument("--keep", action="store_true", help="write the result into docs/performance.md")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    for name in options.names or NAMES:
        print(f"{name} …", file=sys.stderr)
        module = importlib.import_module(f"scripts.bench.{name}")
        section: report.Section = asyncio.run(module.run(quick=options.quick))
        Console().print(Markdown(section.markdown()))
        if options.keep:
            report.keep(name, section, f"python -m scripts.bench {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

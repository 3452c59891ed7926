"""``python -m tests.chaos [NAME…]``: injects faults at random points from a seed, then asks the oracle."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import secrets
import sys

from tests.chaos.options import Options

NAMES = ("spool", "stack", "bridge")
MOST_TOLD = 100  # violations; what comes after so many has the same cause


def main() -> int:
    """Run levels one after the other and print their tables as Markdown; 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all when none is given")
    parser.add_argument("--seed", type=int, help="the seed of an earlier run, which makes the same choices")
    parser.add_argument("--runs", type=int, help="how often each fault is injected")
    parser.add_argument("--only", default="", metavar="PART", help="only faults that have this in their names")
    parser.add_argument("--short", action="store_true", help="each fault a few times, as in the tests")
    parser.add_argument("--keep", action="store_true", help="leave spools and databases of the runs behind")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no such level: {', '.join(sorted(unknown))}")
    seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    chosen = Options(seed, options.runs, options.short, options.keep, options.only)
    print(f"seed {seed}", file=sys.stderr, flush=True)
    violations: list[str] = []
    for name in options.names or NAMES:
        print(f"{name} …", file=sys.stderr, flush=True)
        section, found = asyncio.run(importlib.import_module(f"tests.chaos.{name}_level").run(chosen))
        print(section.markdown(), end="\n\n", flush=True)
        violations += [f"{name}: {line}" for line in found]
    for line in violations[:MOST_TOLD]:
        print(f"VIOLATION {line}", file=sys.stderr)
    if len(violations) > MOST_TOLD:
        print(f"… and {len(violations) - MOST_TOLD} others", file=sys.stderr)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())

"""``python -m tests.fuzz``: runs the tests that draw examples, with new ones in each round, until the time is up.

`make test` draws the same examples for everybody and has the same verdict every time. What is found here becomes an
example there: ``@example(…)`` with the arguments that are printed, or a test of its own.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import time

FOLDERS = ("tests/unit", "tests/tapes", "tests/postgres", "tests/chaos")
DEFAULT_MINUTES = 10.0
_NOTHING_COLLECTED = 5  # pytest's exit code


def main() -> int:
    """Run rounds until the time is up; 1 when something was found, which ends the run."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=DEFAULT_MINUTES, help="no round begins later than this")
    parser.add_argument("--seed", type=int, help="the seed of an earlier run, which draws the same")
    parser.add_argument("-k", dest="chosen", default="", metavar="EXPRESSION", help="only these tests, as for pytest")
    options = parser.parse_args()
    first = secrets.randbelow(2**31) if options.seed is None else options.seed
    ends_at = time.monotonic() + options.minutes * 60
    rounds = 0
    while rounds == 0 or time.monotonic() < ends_at:
        seed = first + rounds
        print(f"round {rounds + 1}, seed {seed}", flush=True)
        code = _round(seed, options.chosen)
        if code == _NOTHING_COLLECTED:
            parser.error(f"no test fits -k {options.chosen!r}")
        if code:
            again = f"python -m tests.fuzz --minutes 0 --seed {seed}" + (
                f" -k '{options.chosen}'" if options.chosen else ""
            )
            print(f"found in round {rounds + 1}. The same again: {again}", file=sys.stderr)
            return 1
        rounds += 1
    print(f"{rounds} rounds, seeds {first} to {first + rounds - 1}: nothing found")
    return 0


def _round(seed: int, chosen: str) -> int:
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-m", "hypothesis or explores", "-k", chosen]
    command += ["--hypothesis-profile=explore", f"--hypothesis-seed={seed}", *FOLDERS]
    return subprocess.run(command, env=os.environ | {"MEETA_TEST_SEED": str(seed)}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.tapes.rewrite`: write the expected events of every tape anew, from its messages."""

from __future__ import annotations

from tests import tapes

if __name__ == "__main__":
    for tape in tapes.names():
        print(f"{tape}: {tapes.write_events(tape)} events")

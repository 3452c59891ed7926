"""Damage to a spool that nobody has open: torn and flipped bytes."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

LOG, DATABASE = "events.sqlite3-wal", "events.sqlite3"


def tear(spool: Path, chance: Random) -> str | None:
    """Cut off the end of the write-ahead log at a random place, as a machine does that lost its power.

    :returns: what was done; None when there is nothing to tear.
    """
    log = spool / LOG
    size = _size(log)
    if not size:
        return None
    place = chance.randrange(size) if chance.random() < 0.5 else size - 1 - chance.randrange(min(size, 20_000))
    os.truncate(log, place)
    return f"{LOG} torn at {place} of {size} bytes"


def flip(spool: Path, chance: Random) -> str | None:
    """Flip one bit of the log or of the database.

    :returns: what was done; None when there is nothing to flip.
    """
    files = [file for file in (spool / LOG, spool / DATABASE) if _size(file)]
    if not files:
        return None
    file = chance.choice(files)
    place, bit = chance.randrange(_size(file)), chance.randrange(8)
    with file.open("r+b") as opened:
        opened.seek(place)
        byte = opened.read(1)[0]
        opened.seek(place)
        opened.write(bytes([byte ^ 1 << bit]))
    return f"bit {bit} of byte {place} of {file.name} flipped"


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0

"""Directories that the program makes, with the modes that they need whatever the umask."""

from __future__ import annotations

import os
from pathlib import Path

_PASSED_THROUGH = 0o711  # entered by all, listed by nobody else


def make(directory: Path) -> None:
    """Make a directory that nobody else can enter, and those above it that are missing.

    As root those above let others pass: PostgreSQL refuses to run as root, and its user has to reach its data.

    :raises OSError: it can't be made.
    """
    missing = [path for path in directory.absolute().parents if not path.exists()]
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.geteuid() == 0:
        for path in missing:
            path.chmod(_PASSED_THROUGH)

"""The report of an error that is nobody's but ours: one line for a person, and a file with the details."""

from __future__ import annotations

import os
import tempfile
import traceback
from pathlib import Path

from meeta_bot.errors import MeetaError
from meeta_bot.logs import redact_text

_PACKAGE = Path(__file__).parent


def report(error: Exception) -> MeetaError:
    """Write the details into a file of this user's own, in the place of the last one; return what to say.

    What is said names the kind of the error and the place; its message may hold what is nobody's business.
    """
    details = redact_text("".join(traceback.format_exception(error)))
    what = f"{error}: " if isinstance(error, ImportError) else ""
    said = f"Internal error: {what}{type(error).__name__} at {_place(error)}"
    try:
        return MeetaError(said, hint=f"please report it, with what is in {_kept(details)}")
    except OSError:  # no disk takes it
        return MeetaError(said, hint=f"please report it: {details}")


def _kept(details: str) -> Path:
    descriptor, name = tempfile.mkstemp(prefix="meeta-bot-")
    path = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(details)
        return path.replace(path.with_name(f"meeta-bot-{os.geteuid()}-error.txt"))
    except OSError:
        path.unlink()
        raise


def _place(error: Exception) -> str:
    """Return file and line: the last of ours, or where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE)]
    if not frames:
        return "an unknown place"
    last = (ours or frames)[-1]
    path = Path(last.filename)
    shown = path.relative_to(_PACKAGE.parent) if path.is_relative_to(_PACKAGE) else path.name
    return f"{shown}:{last.lineno}"

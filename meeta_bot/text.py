"""Texts of others made fit to be stored and shown, and durations for people."""

from __future__ import annotations

import unicodedata

REPLACEMENT = "�"
_LONGEST_NAME = 60
_SCANNED = 16  # characters that are examined for each that may be shown; whoever hides more among them is cut
_MOST_MARKS = 4  # accents on one letter: more than any script needs, too few to climb over the lines above
_BLANKS = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # letters and signs that show as nothing
_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn")


def clean_text(text: str) -> str:
    """Replace what PostgreSQL's text and jsonb can't hold: NUL and lone surrogates become U+FFFD."""
    if "\x00" in text:
        text = text.replace("\x00", REPLACEMENT)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def safe_name(name: str | None, longest: int = _LONGEST_NAME) -> str:
    """Return a text of others in a form that can't harm a terminal.

    No control, direction or invisible characters, no towers of accents, one line of `longest` characters at most. Empty
    when nothing of it would be seen.
    """
    given = name or ""
    scanned = given[: _SCANNED * longest]
    kept = scanned if scanned.isascii() and scanned.isprintable() else _visible(scanned)
    kept = " ".join(kept.split())
    is_whole = len(kept) <= longest and len(scanned) == len(given)
    return kept if is_whole or not kept else f"{kept[: longest - 1]}…"


def _visible(text: str) -> str:
    kept: list[str] = []
    marks = _MOST_MARKS  # none before the first letter
    for char in text:
        category = unicodedata.category(char)
        if category in ("Cc", "Zl", "Zp", "Zs") or char in _BLANKS:
            kept.append(" ")
            marks = _MOST_MARKS
        elif category in ("Mn", "Me"):
            marks += 1
            if marks <= _MOST_MARKS:
                kept.append(char)
        elif category not in _UNSEEN:
            kept.append(char)
            marks = 0
    return "".join(kept)


def duration(milliseconds: float | None) -> str:
    """Write a duration such as ``1:02:03`` or ``0:07``."""
    if milliseconds is None:
        return ""
    minutes, seconds = divmod(int(milliseconds // 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"

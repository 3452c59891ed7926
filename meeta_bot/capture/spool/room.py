"""Room for a spool's file: its bound, the disk, and the reserve that is kept for last words."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from meeta_bot.capture.spool.file import LOG_SQLITE_PAGES, SQLITE_PAGE_BYTES, bound, used_bytes
from meeta_bot.capture.spool.reserve import Reserve, free_bytes
from meeta_bot.settings import Settings

NEARLY_FULL = 0.9  # of the bound: the rest is for what can't be left out
NEARLY_FULL_DISK = LOG_SQLITE_PAGES * SQLITE_PAGE_BYTES  # free on the disk: SQLite's log alone may grow by so much
SIZE_CHECK_BYTES = 2**18  # appended until the size is checked again, which costs as much as a small append


class Room:
    """The room that a spool in `directory` has left."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        """Take the reserve, if there is room for it."""
        self.max_bytes = settings.spool_max_bytes
        self.max_bytes_of_last_words = settings.spool_max_bytes + settings.spool_reserve_bytes
        self.is_nearly_full = False
        self._directory = directory
        self._reserve_bytes = settings.spool_reserve_bytes
        self._unchecked_bytes = 0
        self.reserve = self._make_reserve()

    def bound(self, connection: sqlite3.Connection, *, for_last_words: bool) -> None:
        """Let the file grow no larger than the bound, and the reserve beside it `for_last_words`."""
        bound(connection, self.max_bytes_of_last_words if for_last_words else self.max_bytes)

    def check(self, connection: sqlite3.Connection, appended_bytes: int | None = None) -> None:
        """Find out whether the spool is nearly full, if `appended_bytes` may have changed that; None: anyway."""
        self._unchecked_bytes += SIZE_CHECK_BYTES if appended_bytes is None else appended_bytes
        if not self.is_nearly_full and self._unchecked_bytes < min(SIZE_CHECK_BYTES, self.max_bytes // 100):
            return
        self._unchecked_bytes = 0
        is_bound_near = used_bytes(connection) > NEARLY_FULL * self.max_bytes
        self.is_nearly_full = is_bound_near or free_bytes(self._directory) < NEARLY_FULL_DISK

    def renew_reserve(self) -> None:
        """Take the reserve in a directory that was made anew."""
        self.reserve.remove()
        self.reserve = self._make_reserve()

    def _make_reserve(self) -> Reserve:
        return Reserve(self._directory / "reserve", self._reserve_bytes)

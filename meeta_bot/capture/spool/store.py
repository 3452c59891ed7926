"""All of a spool that lies on disk, as one thread works on it: nothing here waits for anybody but the disk.

A file that was damaged, deleted or replaced while it was open is rebuilt from what can still be read of it
(`repair.rebuild`), and what can't is recorded as damage. So is what the witness knows and the file doesn't
(`repair.recovery`).
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from meeta_bot.capture.spool.batch import read_batch
from meeta_bot.capture.spool.directory import SpoolDirectory
from meeta_bot.capture.spool.failures import code_of, is_damaged, spool_error, spool_errors, spool_full
from meeta_bot.capture.spool.file import (
    capture_of,
    captures,
    missing_ordinals,
    open_file,
    open_unchecked,
    ordinals,
    refuse_other_formats,
    transaction,
    waiting_of,
)
from meeta_bot.capture.spool.format import NAME, SAVE_CAPTURE, Block, SavedCapture
from meeta_bot.capture.spool.group import Addition, seal
from meeta_bot.capture.spool.records import Damage, OpenCapture, Position, Spooled
from meeta_bot.capture.spool.repair import damage as spool_damage
from meeta_bot.capture.spool.repair import inspection, recovery
from meeta_bot.capture.spool.repair.damage import DamagedRange, UnreportedDamage
from meeta_bot.capture.spool.repair.inspection import Standing
from meeta_bot.capture.spool.repair.rebuild import rebuild
from meeta_bot.capture.spool.repair.recovery import RecoveredCapture
from meeta_bot.capture.spool.room import Room
from meeta_bot.capture.spool.witness import Witness
from meeta_bot.capture.spool.writing import cut_first_block, delete_blocks, write_group
from meeta_bot.errors import SpoolFull
from meeta_bot.logs import get_logger
from meeta_bot.settings import Settings

_T = TypeVar("_T")
_log = get_logger("spool")


class Store:
    """The files of one spool directory, owned until `close`."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        """Open or create the files.

        :raises SpoolBusy: another process owns them.
        :raises SpoolError: they can't be written, or have another format.
        """
        self.directory = directory
        self._settings = settings
        self.deleted_ordinal = 0  # up to it, nothing is there any more
        self.last_ordinal = 0
        self._missing: list[tuple[int, int]] = []  # ordinals that have no row any more; nearly always none
        self._unreported = UnreportedDamage()
        self.lost: dict[str, int] = {}  # events that were found missing, by capture
        self._positions: dict[str, Position] = {}
        self._was_checked = False
        with spool_errors(directory), contextlib.ExitStack() as undo:
            self._owned = SpoolDirectory(directory)
            undo.callback(self._owned.close)
            refuse_other_formats(directory / NAME)
            self._room = Room(directory, settings)
            undo.callback(self._room.reserve.remove)
            self._witness = self._open_witness()
            undo.callback(self._witness.close)
            self._open()
            undo.pop_all()

    @property
    def is_nearly_full(self) -> bool:
        """True while little room is left, by the bound or on the disk."""
        return self._room.is_nearly_full

    def waiting_behind(self, ordinal: int) -> int:
        """Count the events behind `ordinal`, without those that are known to be lost."""
        lost = sum(max(0, last - max(first - 1, ordinal)) for first, last in self._missing)
        return self.last_ordinal - ordinal - lost

    # --- adding, reading, forgetting ------------------------------------------------------------------------------

    def commit(
        self, group: Sequence[Addition], passed: int, *, urgent: bool = False
    ) -> tuple[list[Position], list[Block]]:
        """Make a group of appends durable, and delete the events up to ordinal `passed`.

        :param urgent: use the reserve if there is no room otherwise.
        :raises SpoolFull: nothing of it is stored.
        :raises SpoolError: nothing of it is stored.
        """
        self._keep_files()
        if not urgent:
            if not self._room.reserve.restore():
                self._room.is_nearly_full = True
                raise spool_full(self.directory)  # what is left of the disk is for last words
            return self._guarded(lambda: self._commit(group, passed))
        self._room.bound(self._connection, for_last_words=True)
        try:
            try:
                return self._guarded(lambda: self._commit(group, passed))
            except SpoolFull:
                if not self._room.reserve.release():
                    raise
                _log.warning("the disk is full, last words take the reserve", spool=str(self.directory))
                return self._guarded(lambda: self._commit(group, passed))
        finally:
            self._room.bound(self._connection, for_last_words=False)

    def read(self, limit: int, after: int) -> tuple[list[Spooled], int]:
        """Read the oldest events behind ordinal `after`, at most `limit`.

        :returns: with them, the ordinal up to which none follow if there are none.
        """
        return self._guarded(lambda: self._read(limit, after))

    def forget(self, ordinal: int) -> None:
        """Delete the events up to `ordinal`, without flushing."""
        self._keep_files()
        self._guarded(lambda: self._forget(ordinal))

    def open_captures(self) -> list[OpenCapture]:
        """Return the captures that have no end yet; the first call checks all that was there on opening."""
        if not self._was_checked:
            self._guarded(self._check)
            self._was_checked = True
        return self._guarded(self._open_captures)

    def take_damage(self, capture_id: str) -> tuple[Damage, int] | None:
        """Take the damage that a capture was not told yet, once. From any thread.

        :returns: with it, the row of ``damage`` up to which it goes; None when there is none.
        """
        return self._unreported.take(capture_id)

    def waiting_of(self) -> dict[str, int]:
        """Count the events in the spool by capture."""
        return self._guarded(lambda: waiting_of(self._connection, self.deleted_ordinal))

    def close(self, passed: int) -> None:
        """Forget the events up to `passed`, and let go of everything."""
        try:
            with spool_errors(self.directory):
                try:
                    self._keep_files(at_once=True)
                    if passed > self.deleted_ordinal:
                        self.forget(passed)
                    self._guarded(lambda: cut_first_block(self._connection, self.deleted_ordinal))
                finally:
                    self._connection.close()
                self._witness.forget_ended()  # the log has been written back: no tail of it can be lost any more
        finally:
            self._witness.close()
            self._room.reserve.remove()
            self._owned.close()

    def _commit(self, group: Sequence[Addition], passed: int) -> tuple[list[Position], list[Block]]:
        sealed = seal(group, self._position, self.last_ordinal)
        if passed > self.deleted_ordinal:
            self._witness.note_passed(passed)
        with transaction(self._connection):
            if passed > self.deleted_ordinal:  # first, so that a full spool has room
                delete_blocks(self._connection, passed)
            write_group(self._connection, group, sealed)
        self.deleted_ordinal = max(self.deleted_ordinal, passed)
        self.last_ordinal = sealed.last_ordinal
        self._witness.note(save.witnessed(self._witness.known) for save in sealed.saves)
        for save in sealed.saves:
            self._positions[save.capture_id] = save.position
        for capture_id in {key for key, append, _ in group if append.state.ended}:
            del self._positions[capture_id]
        self._room.check(self._connection, sum(len(block.packed) for block in sealed.blocks))
        return sealed.reached, sealed.blocks

    def _position(self, capture_id: str) -> Position:
        """Return the position of a capture."""
        return self._positions.get(capture_id) or self._saved_position(capture_id)

    def _saved_position(self, capture_id: str) -> Position:
        """Return the position of a capture that this process has not written to yet."""
        row = capture_of(self._connection, capture_id)
        if row is not None and row.decoded() is None:
            row = self._mended(row)
        return Position() if row is None else row.position

    def _read(self, limit: int, after: int) -> tuple[list[Spooled], int]:
        start = max(after, self.deleted_ordinal)
        batch = read_batch(self._connection, limit, start, self._settings.spool_read_bytes)
        for row, why in batch.damaged:
            self._note(inspection.set_aside(self._connection, self.directory, row, why, self._standing()))
        if batch.has_hole or (batch.is_last and batch.reached < self.last_ordinal):
            self._record_holes()
        return batch.events, self.last_ordinal

    def _record_holes(self) -> None:
        """Record the rows that are gone, unless that was done when they went."""
        ranges = inspection.holes(self._connection, self._standing(), inspection.VANISHED)
        with transaction(self._connection):
            new = spool_damage.record(self._connection, ranges)
        self._note(new)

    def _forget(self, ordinal: int) -> None:
        ordinal = min(ordinal, self.last_ordinal)
        self._witness.note_passed(ordinal)
        self._connection.execute("PRAGMA synchronous = NORMAL")  # no flush: see promise 3
        try:
            with transaction(self._connection):
                delete_blocks(self._connection, ordinal)
        finally:
            self._connection.execute("PRAGMA synchronous = FULL")
        self.deleted_ordinal = max(self.deleted_ordinal, ordinal)
        self._room.check(self._connection)

    # --- captures -------------------------------------------------------------------------------------------------

    def _open_captures(self) -> list[OpenCapture]:
        found = []
        for saved in captures(self._connection):
            row = self._mended(saved) if saved.decoded() is None else saved
            state = None if row is None else row.decoded()
            if row is not None and state is not None and not row.ended:
                self._positions.setdefault(row.capture_id, row.position)
                found.append(OpenCapture(state, row.position, row.touched_at))
        return found

    def _mended(self, row: SavedCapture) -> SavedCapture | None:
        """Replace a capture's row that is damaged; None when nothing is known of such a capture."""
        mended = recovery.mended(self._connection, self._witness, row)
        return None if mended is None else self._save(mended)

    def _save(self, recovered: RecoveredCapture) -> SavedCapture:
        with transaction(self._connection):
            self._connection.execute(SAVE_CAPTURE, recovered.row)
            new = spool_damage.record(self._connection, recovered.ranges)
        self._note(new)
        return recovered.row

    def _check(self) -> None:
        last = self._last_ordinal_on_opening
        self._note(inspection.check(self._connection, self.directory, last, self._standing()))

    def _standing(self) -> Standing:
        passed = self._witness.passed
        undelivered = {one.capture_id: one.last_seq for one in self._witness.known.values() if one.ordinal > passed}
        return Standing(passed, self.last_ordinal, undelivered)

    def _note(self, ranges: Iterable[DamagedRange]) -> None:
        """Count what was found missing, and load what is to be reported to open captures."""
        for damaged in ranges:
            self.lost[damaged.capture_id] = self.lost.get(damaged.capture_id, 0) + damaged.missed
        self._missing = missing_ordinals(self._connection, self.deleted_ordinal, self.last_ordinal)
        self._unreported.load(self._connection)

    # --- opening --------------------------------------------------------------------------------------------------

    def _open_witness(self) -> Witness:
        return Witness(self.directory / "heads")

    def _open(self) -> None:
        try:
            self._connection = self._connect()
        except sqlite3.Error as error:
            problem = _problem_of_file(error)
            self._connection = open_unchecked(self.directory / NAME)
        else:
            try:
                self._settle()
            except sqlite3.Error as error:
                problem = _problem_of_file(error)
            else:
                return
        self._rebuild(problem)

    def _connect(self) -> sqlite3.Connection:
        path = self.directory / NAME
        try:
            return open_file(path, self._room.max_bytes)
        except sqlite3.Error as error:
            is_full = isinstance(spool_error(error, self.directory), SpoolFull)
            if not is_full or not self._room.reserve.release():
                raise
            return open_file(path, self._room.max_bytes)  # so that what is in it can be delivered

    def _settle(self) -> None:
        """Compare a file that was just opened with the witness, and remember which file it is."""
        self._owned.note_files()
        deleted, last = ordinals(self._connection)
        if not self._witness.knows_passed:
            self._witness.note_passed(deleted)
        behind = recovery.behind(self._connection, self._witness)
        if behind:
            self._keep_log()
        for known in behind:
            self._save(recovery.put_forward(self._connection, self._witness, known))
        # No ordinal is given twice, so that ordinals in a lost tail mean nothing else.
        self.last_ordinal = max(self.last_ordinal, last, self._witness.last_ordinal)
        is_empty = self._connection.execute("SELECT 1 FROM events LIMIT 1").fetchone() is None
        self.deleted_ordinal = self.last_ordinal if is_empty else max(self.deleted_ordinal, deleted)
        self._last_ordinal_on_opening = self.last_ordinal
        self._missing = missing_ordinals(self._connection, self.deleted_ordinal, self.last_ordinal)
        recovery.refresh(self._connection, self._witness)
        for capture_id, damage in self._unreported.load(self._connection).items():
            self.lost.setdefault(capture_id, damage.missed)
        self._room.check(self._connection)

    def _keep_log(self) -> None:
        """Keep SQLite's log as it was found, before anything is written over what it no longer reads of it."""
        log = self.directory / f"{NAME}-wal"
        with contextlib.suppress(OSError):
            if log.stat().st_size <= inspection.DAMAGED_BYTES:
                inspection.keep(self.directory, f"damaged-{self._witness.last_ordinal}-log", log.read_bytes())

    # --- keeping the files ----------------------------------------------------------------------------------------

    def _guarded(self, work: Callable[[], _T]) -> _T:
        """Run `work`; a file that proves to be damaged is rebuilt first, once."""
        try:
            return work()
        except sqlite3.Error as error:
            if not is_damaged(error):
                found = spool_error(error, self.directory)
                self._room.is_nearly_full |= isinstance(found, SpoolFull)
                raise found from error
            problem = error
        with spool_errors(self.directory):
            self._rebuild(str(problem))
            return work()

    def _keep_files(self, *, at_once: bool = False) -> None:
        """Write to no file that has been deleted: it would vanish with this process, and nobody would know."""
        if self._owned.has_files(at_once=at_once):
            return
        with spool_errors(self.directory):
            self._owned.take_again()
            before = self._witness
            before.close()
            self._witness = self._open_witness()
            self._witness.note(before.known.values())
            self._witness.note_passed(before.passed)
            self._room.renew_reserve()
            self._rebuild("it was deleted or replaced while it was in use")

    def _rebuild(self, why: str) -> None:
        """Go on with a file that is rebuilt from what can be read of the open one."""
        _log.error("the spool's file is rebuilt", spool=str(self.directory), problem=why)
        copied = rebuild(self._connection, self.directory, self._room.max_bytes_of_last_words)
        self._connection = self._connect()
        self._settle()
        self._record_holes()
        _log.warning("the spool's file was rebuilt", spool=str(self.directory), events=copied)


def _problem_of_file(error: sqlite3.Error) -> str:
    """Describe the problem of a file that can only be rebuilt; any other error is raised."""
    # A file that has lost its tables is damaged as well, whatever SQLite thinks of it.
    if not is_damaged(error) and code_of(error) != sqlite3.SQLITE_ERROR:
        raise error
    return str(error)

"""All of a spool that lies on disk, as one thread works on it: nothing here waits for anybody but the disk.

A file that was damaged, deleted or replaced while it was open is made again from what can still be read of it
(`repair.rebuild`), and what can't is told as damage. So is what the witness knows and the database doesn't
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
from meeta_bot.capture.spool.file import (
    INSERT_BLOCK,
    NAME,
    SAVE_CAPTURE,
    SELECT_BLOCKS,
    SQLITE_PAGE_BYTES,
    WAL_SQLITE_PAGES,
    Block,
    BlockDamaged,
    BlockRow,
    SavedCapture,
    blocks,
    bound,
    capture_of,
    captures,
    code_of,
    is_damaged,
    missing_ordinals,
    open_file,
    open_unchecked,
    ordinals,
    refuse_other_formats,
    spool_error,
    spool_full,
    transaction,
    used_bytes,
    waiting_of,
)
from meeta_bot.capture.spool.group import Addition, seal
from meeta_bot.capture.spool.records import Damage, OpenCapture, Position, Spooled
from meeta_bot.capture.spool.repair import damage as spool_damage
from meeta_bot.capture.spool.repair import inspection, recovery
from meeta_bot.capture.spool.repair.damage import DamagedRange, UnreportedDamage
from meeta_bot.capture.spool.repair.inspection import Standing
from meeta_bot.capture.spool.repair.rebuild import rebuild
from meeta_bot.capture.spool.repair.recovery import Recovered
from meeta_bot.capture.spool.reserve import Reserve, free_bytes
from meeta_bot.capture.spool.witness import Witness
from meeta_bot.errors import SpoolFull
from meeta_bot.logs import get_logger
from meeta_bot.settings import Settings

NEARLY_FULL = 0.9  # of the bound: the rest is for what can't be left out
NEARLY_FULL_DISK = (
    WAL_SQLITE_PAGES * SQLITE_PAGE_BYTES
)  # bytes free on the disk: SQLite's log alone may grow by so much
SIZE_CHECK_BYTES = 2**18  # appended until the size is looked at again, which costs as much as a small append

_T = TypeVar("_T")
_log = get_logger("spool")


class Store:
    """The files of one spool directory, owned until `close`."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        """Open or create them.

        :raises SpoolBusy: another process owns them.
        :raises SpoolError: they can't be written, or have another format.
        """
        self.directory = directory
        self._settings = settings
        self.first = self.last_ordinal = 0
        self._missing: list[tuple[int, int]] = []  # ordinals that have no row any more; nearly always none
        self._unreported = UnreportedDamage()
        self.lost: dict[str, int] = {}  # events that were found missing, by capture
        self.is_nearly_full = False
        self._positions: dict[str, Position] = {}
        self._unchecked_bytes = 0
        self._was_checked = False
        self._owned = SpoolDirectory(directory)
        try:
            refuse_other_formats(directory / NAME)
            self._reserve = self._make_reserve()
            self._witness = self._open_witness()
            try:
                self._open()
            except BaseException:
                self._witness.close()
                raise
        except BaseException as error:
            self._owned.close()
            if isinstance(error, sqlite3.Error | OSError):
                raise spool_error(error, directory) from error
            raise

    def waiting_behind(self, ordinal: int) -> int:
        """How many events are there behind `ordinal`, those not counted that are known to be lost."""
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
        self._stay_there()
        if not urgent:
            if not self._reserve.restore():
                self.is_nearly_full = True
                raise spool_full(self.directory)  # what is left of the disk is for last words
            return self._guarded(lambda: self._commit(group, passed))
        reserve = self._settings.spool_reserve_bytes
        bound(self._connection, self._settings.spool_max_bytes + reserve)
        try:
            try:
                return self._guarded(lambda: self._commit(group, passed))
            except SpoolFull:
                if not self._reserve.release():
                    raise
                _log.warning("the disk is full, last words take the reserve", spool=str(self.directory))
                return self._guarded(lambda: self._commit(group, passed))
        finally:
            bound(self._connection, self._settings.spool_max_bytes)

    def read(self, limit: int, after: int) -> tuple[list[Spooled], int]:
        """The oldest events behind ordinal `after`, at most `limit`; if there are none, up to where there are none."""
        return self._guarded(lambda: self._read(limit, after))

    def forget(self, ordinal: int) -> None:
        """Delete the events up to `ordinal`, without flushing."""
        self._stay_there()
        self._guarded(lambda: self._forget(ordinal))

    def open_captures(self) -> list[OpenCapture]:
        """The captures without an end; before the first answer, all that was there on opening is checked."""
        if not self._was_checked:
            self._guarded(self._check)
            self._was_checked = True
        return self._guarded(self._open_captures)

    def take_damage(self, capture_id: str) -> tuple[Damage, int] | None:
        """What a capture was not told yet, once; with it up to which row of ``damage`` that is. From any thread."""
        return self._unreported.take(capture_id)

    def waiting_of(self) -> dict[str, int]:
        """Events in the spool by capture."""
        return self._guarded(lambda: waiting_of(self._connection, self.first))

    def close(self, passed: int) -> None:
        """Forget what is passed, and let go of everything."""
        try:
            try:
                self._stay_there(at_once=True)
                if passed > self.first:
                    self.forget(passed)
                self._guarded(self._cut_block)
            finally:
                self._connection.close()
            self._witness.forget_ended()  # the log has been written back: no tail of it can be lost any more
        except (sqlite3.Error, OSError) as error:
            raise spool_error(error, self.directory) from error
        finally:
            self._witness.close()
            self._reserve.remove()
            self._owned.close()

    def _commit(self, group: Sequence[Addition], passed: int) -> tuple[list[Position], list[Block]]:
        sealed = seal(group, self._position, self.last_ordinal)
        if passed > self.first:
            self._witness.note_passed(passed)
        with transaction(self._connection):
            if passed > self.first:  # first, so that a full spool has room
                self._delete(passed)
            self._connection.executemany(INSERT_BLOCK, [block.row() for block in sealed.blocks])
            self._connection.executemany(SAVE_CAPTURE, [save.row() for save in sealed.saves])
            for capture_id, _, reported in group:
                if reported is not None:
                    spool_damage.mark_reported(self._connection, capture_id, reported)
        self.first = max(self.first, passed)
        self.last_ordinal = sealed.last_ordinal
        self._witness.note(save.head(self._witness.known) for save in sealed.saves)
        for save in sealed.saves:
            self._positions[save.capture_id] = save.position
        for capture_id in {key for key, append, _ in group if append.state.ended}:
            del self._positions[capture_id]
        self._check_size(sum(len(block.packed) for block in sealed.blocks))
        return sealed.reached, sealed.blocks

    def _position(self, capture_id: str) -> Position:
        """Where a capture stands."""
        return self._positions.get(capture_id) or self._stored_position(capture_id)

    def _stored_position(self, capture_id: str) -> Position:
        """Where a capture stands that this process has not written to yet."""
        row = capture_of(self._connection, capture_id)
        if row is not None and row.decoded() is None:
            row = self._mended(row)
        return Position() if row is None else row.position

    def _read(self, limit: int, after: int) -> tuple[list[Spooled], int]:
        batch = read_batch(self._connection, limit, max(after, self.first), self._settings.spool_read_bytes)
        for row, why in batch.damaged:
            self._note(inspection.set_aside(self._connection, self.directory, row, why, self._standing()))
        if batch.has_hole or (batch.is_last and batch.reached < self.last_ordinal):
            self._record_holes()
        return batch.found, self.last_ordinal

    def _record_holes(self) -> None:
        """Rows are gone; tell it, unless that was done when they went."""
        ranges = inspection.holes(self._connection, self._standing(), inspection.VANISHED)
        with transaction(self._connection):
            new = spool_damage.record(self._connection, ranges)
        self._note(new)

    def _forget(self, ordinal: int) -> None:
        self._witness.note_passed(min(ordinal, self.last_ordinal))
        self._connection.execute("PRAGMA synchronous = NORMAL")  # no flush: see promise 3
        try:
            with transaction(self._connection):
                self._delete(ordinal)
        finally:
            self._connection.execute("PRAGMA synchronous = FULL")
        self.first = max(self.first, min(ordinal, self.last_ordinal))
        self._check_size(SIZE_CHECK_BYTES)

    def _delete(self, ordinal: int) -> None:
        """Delete the blocks up to `ordinal`; one that it lies in stays on disk as it is."""
        self._connection.execute("DELETE FROM events WHERE ordinal <= ?", (ordinal,))
        self._connection.execute("DELETE FROM captures WHERE ended = 1 AND NOT EXISTS (SELECT 1 FROM events LIMIT 1)")
        spool_damage.forget(self._connection)

    def _cut_block(self) -> None:
        """Delete what is forgotten of the first block, so that it does not come back when the spool is opened again."""
        values = self._connection.execute(f"{SELECT_BLOCKS} ORDER BY ordinal LIMIT 1").fetchone()
        if values is None:
            return
        row = BlockRow(*values)
        with contextlib.suppress(BlockDamaged):  # it stays as it is, for the next that opens the spool
            events = row.events()
            remaining = row.ordinal - self.first
            if 0 < remaining < row.size:
                (rest,) = blocks(events[-remaining:], self.first)
                self._connection.execute(f"REPLACE {INSERT_BLOCK.removeprefix('INSERT ')}", rest.row())

    def _check_size(self, appended: int) -> None:
        """Find out whether there is little room left, if that may have changed."""
        self._unchecked_bytes += appended
        most = self._settings.spool_max_bytes
        if not self.is_nearly_full and self._unchecked_bytes < min(SIZE_CHECK_BYTES, most // 100):
            return
        self._unchecked_bytes = 0
        free = free_bytes(self.directory)
        self.is_nearly_full = used_bytes(self._connection) > NEARLY_FULL * most or free < NEARLY_FULL_DISK

    # --- captures -------------------------------------------------------------------------------------------------

    def _open_captures(self) -> list[OpenCapture]:
        found = []
        for stored in captures(self._connection):
            row = self._mended(stored) if stored.decoded() is None else stored
            state = None if row is None else row.decoded()
            if row is not None and state is not None and not row.ended:
                self._positions.setdefault(row.capture_id, row.position)
                found.append(OpenCapture(state, row.position, row.touched_at))
        return found

    def _mended(self, row: SavedCapture) -> SavedCapture | None:
        """What is put in place of a capture's row that is damaged; None when nothing is known of such a capture."""
        mended = recovery.mended(self._connection, self._witness, row)
        return None if mended is None else self._save(mended)

    def _save(self, recovered: Recovered) -> SavedCapture:
        with transaction(self._connection):
            self._connection.execute(SAVE_CAPTURE, recovered.row)
            new = spool_damage.record(self._connection, recovered.ranges)
        self._note(new)
        return recovered.row

    def _check(self) -> None:
        found = inspection.check(self._connection, self.directory, self._opened_at, self._standing())
        self._note(found)

    def _standing(self) -> Standing:
        passed = self._witness.passed
        undelivered = {head.capture_id: head.last_seq for head in self._witness.known.values() if head.ordinal > passed}
        return Standing(passed, self.last_ordinal, undelivered)

    def _note(self, ranges: Iterable[DamagedRange]) -> None:
        """Count what was found missing, and see what open captures are to be told."""
        for loss in ranges:
            self.lost[loss.capture_id] = self.lost.get(loss.capture_id, 0) + loss.missed
        self._missing = missing_ordinals(self._connection, self.first, self.last_ordinal)
        self._unreported.reload(self._connection)

    # --- opening --------------------------------------------------------------------------------------------------

    def _open_witness(self) -> Witness:
        return Witness(self.directory / "heads")

    def _make_reserve(self) -> Reserve:
        return Reserve(self.directory / "reserve", self._settings.spool_reserve_bytes)

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
        path, most = self.directory / NAME, self._settings.spool_max_bytes
        try:
            return open_file(path, most)
        except sqlite3.Error as error:
            full = isinstance(spool_error(error, self.directory), SpoolFull)
            if not full or not self._reserve.release():
                raise
            return open_file(path, most)  # so that what is in it can be delivered

    def _settle(self) -> None:
        """Compare a database that was just opened with the witness, and remember which file it is."""
        self._owned.note_files()
        first, last = ordinals(self._connection)
        if not self._witness.knows_passed:
            self._witness.note_passed(first)
        behind = recovery.behind(self._connection, self._witness)
        if behind:
            self._keep_log()
        for head in behind:
            self._save(recovery.put_forward(self._connection, self._witness, head))
        # No ordinal is given twice, so that places in a lost tail mean nothing else.
        self.last_ordinal = max(self.last_ordinal, last, self._witness.last_ordinal)
        is_empty = self._connection.execute("SELECT 1 FROM events LIMIT 1").fetchone() is None
        self.first = self.last_ordinal if is_empty else max(self.first, first)
        self._opened_at = self.last_ordinal
        self._missing = missing_ordinals(self._connection, self.first, self.last_ordinal)
        recovery.refresh(self._connection, self._witness)
        for capture_id, damage in self._unreported.reload(self._connection).items():
            self.lost.setdefault(capture_id, damage.missed)
        self._check_size(SIZE_CHECK_BYTES)

    def _keep_log(self) -> None:
        """Keep SQLite's log as it was found, before anything is written over what it no longer reads of it."""
        log = self.directory / f"{NAME}-wal"
        with contextlib.suppress(OSError):
            if log.stat().st_size <= inspection.DAMAGED_BYTES:
                inspection.keep(self.directory, f"damaged-{self._witness.last_ordinal}-log", log.read_bytes())

    # --- keeping the files ----------------------------------------------------------------------------------------

    def _guarded(self, work: Callable[[], _T]) -> _T:
        """Do `work`; a file that proves to be damaged is made again first, once."""
        try:
            return work()
        except sqlite3.Error as error:
            if not is_damaged(error):
                found = spool_error(error, self.directory)
                self.is_nearly_full |= isinstance(found, SpoolFull)
                raise found from error
            problem = error
        try:
            self._rebuild(str(problem))
            return work()
        except (sqlite3.Error, OSError) as error:
            raise spool_error(error, self.directory) from error

    def _stay_there(self, *, at_once: bool = False) -> None:
        """Write to no file that has been deleted: it would vanish with this process, and nobody would know."""
        if self._owned.has_files(at_once=at_once):
            return
        try:
            self._owned.take_again()
            known = self._witness
            known.close()
            self._witness = self._open_witness()
            self._witness.note(known.known.values())
            self._witness.note_passed(known.passed)
            self._reserve.remove()
            self._reserve = self._make_reserve()
            self._rebuild("it was deleted or replaced while it was in use")
        except (sqlite3.Error, OSError) as error:
            raise spool_error(error, self.directory) from error

    def _rebuild(self, why: str) -> None:
        """Go on with a file that is made anew from what can be read of the open one."""
        _log.error("the spool's file is made again", spool=str(self.directory), problem=why)
        most = self._settings.spool_max_bytes + self._settings.spool_reserve_bytes
        copied = rebuild(self._connection, self.directory, most)
        self._connection = self._connect()
        self._settle()
        self._record_holes()
        _log.warning("the spool's file was made again", spool=str(self.directory), events=copied)


def _problem_of_file(error: sqlite3.Error) -> str:
    """What is wrong with a file that can only be made again; any other error is raised."""
    # A file that has lost its tables is damaged as well, whatever SQLite thinks of it.
    if not is_damaged(error) and code_of(error) != sqlite3.SQLITE_ERROR:
        raise error
    return str(error)

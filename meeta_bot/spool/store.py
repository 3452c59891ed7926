"""All of a spool that lies on disk, as one thread works on it: nothing here waits for anybody but the disk.

A file that was damaged, deleted or replaced while it was open is made again from what can still be read of it, and
what can't is told as damage. So is what the witness knows and the database doesn't.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from meeta_bot import chain
from meeta_bot.errors import SpoolBusy, SpoolError, SpoolFull
from meeta_bot.events import SealedEvent
from meeta_bot.logs import get_logger
from meeta_bot.normalize import State
from meeta_bot.settings import Settings
from meeta_bot.spool import damage as spool_damage
from meeta_bot.spool.damage import Loss, Standing
from meeta_bot.spool.file import (
    INSERT_BLOCK,
    NAME,
    PAGE_BYTES,
    SAVE_CAPTURE,
    SELECT_BLOCKS,
    SELECT_CAPTURES,
    WAL_PAGES,
    Block,
    BlockDamaged,
    BlockRow,
    CaptureRow,
    blocks,
    bound,
    capture_row,
    code_of,
    is_damaged,
    missing_ordinals,
    open_database,
    open_raw,
    ordinals,
    spool_error,
    spool_full,
    transaction,
    used_bytes,
    waiting_of,
)
from meeta_bot.spool.heads import Head, Heads
from meeta_bot.spool.records import Append, Damage, OpenCapture, Position, Spooled
from meeta_bot.spool.reserve import Reserve, free_bytes

NEARLY_FULL = 0.9  # of the bound: the rest is for what can't be left out
NEARLY_FULL_DISK = WAL_PAGES * PAGE_BYTES  # bytes free on the disk: SQLite's log alone may grow by so much
LOOK_AT_SIZE_BYTES = 2**18  # appended until the size is looked at again, which costs as much as a small append
LOOK_AT_FILES_SECONDS = 0.2  # how often to see whether the files are still in place; the open ones hold all until then

_T = TypeVar("_T")
_log = get_logger("spool")


class Addition(NamedTuple):
    """One append of a group: whose, what, and up to which row of ``damage`` the capture has been told."""

    capture_id: str
    append: Append
    told: int | None = None


class Store:
    """The files of one spool directory, owned until `close`."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        """Open or create them.

        :raises SpoolBusy: another process owns them.
        :raises SpoolError: they can't be written, or are of a newer version.
        """
        self.directory = directory
        self._settings = settings
        self._path = directory / NAME
        self.first = self.last_ordinal = 0
        self._missing: list[tuple[int, int]] = []  # ordinals that have no row any more; nearly always none
        self._damage: dict[str, tuple[Damage, int]] = {}  # what open captures were not told yet
        self._taken: dict[str, int] = {}  # up to which row of it they are being told
        self._telling = threading.Lock()
        self.lost: dict[str, int] = {}  # events that were found missing, by capture
        self.is_nearly_full = False
        self._positions: dict[str, Position] = {}
        self._since_look = 0
        self._look_at_files_at = 0.0  # by the monotonic clock
        self._was_checked = False
        self._lock = take_lock(directory)
        try:
            self._reserve = Reserve(directory / "reserve", settings.spool_reserve_bytes)
            self._heads = self._open_heads()
            try:
                self._open()
            except BaseException:
                self._heads.close()
                raise
        except BaseException as error:
            os.close(self._lock)
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
        bound(self._database, self._settings.spool_max_bytes + reserve)
        try:
            try:
                return self._guarded(lambda: self._commit(group, passed))
            except SpoolFull:
                if not self._reserve.release():
                    raise
                _log.warning("the disk is full, last words take the reserve", spool=str(self.directory))
                return self._guarded(lambda: self._commit(group, passed))
        finally:
            bound(self._database, self._settings.spool_max_bytes)

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
        with self._telling:
            found = self._damage.pop(capture_id, None)
            if found is not None:
                self._taken[capture_id] = found[1]
            return found

    def waiting_of(self) -> dict[str, int]:
        """Events in the spool by capture."""
        return self._guarded(lambda: waiting_of(self._database, self.first))

    def close(self, passed: int) -> None:
        """Forget what is passed, and let go of everything."""
        try:
            try:
                self._look_at_files_at = 0.0
                self._stay_there()
                if passed > self.first:
                    self.forget(passed)
                self._guarded(self._cut_block)
            finally:
                self._database.close()
            self._heads.forget_ended()  # the log has been written back: no tail of it can be lost any more
        except (sqlite3.Error, OSError) as error:
            raise spool_error(error, self.directory) from error
        finally:
            self._heads.close()
            self._reserve.remove()
            os.close(self._lock)

    def _commit(self, group: Sequence[Addition], passed: int) -> tuple[list[Position], list[Block]]:
        positions = dict(self._positions)
        reached = []
        sealed: list[SealedEvent] = []
        saved: dict[str, tuple[Append, int]] = {}
        for capture_id, append, _ in group:
            before = positions.get(capture_id) or self._stored_position(capture_id)
            position = _seal(capture_id, before, append, sealed)
            positions[capture_id] = position
            reached.append(position)
            saved[capture_id] = append, self._ordinal_of(capture_id, saved, append, len(sealed))
        rows = blocks(sealed, self.last_ordinal)
        captures = [capture_row(name, positions[name], append) for name, (append, _) in saved.items()]
        if passed > self.first:
            self._heads.note_passed(passed)
        with transaction(self._database):
            if passed > self.first:  # first, so that a full spool has room
                self._delete(passed)
            self._database.executemany(INSERT_BLOCK, [row.row() for row in rows])
            self._database.executemany(SAVE_CAPTURE, captures)
            for capture_id, _, told in group:
                if told is not None:
                    spool_damage.mark_told(self._database, capture_id, told)
        self.first = max(self.first, passed)
        self.last_ordinal += len(sealed)
        self._heads.note(
            _head(append.state, positions[name], ordinal, append.touched_at)
            for name, (append, ordinal) in saved.items()
        )
        for capture_id in {key for key, append, _ in group if append.state.ended}:
            del positions[capture_id]
        self._positions = positions
        self._look_at_size(sum(len(row.packed) for row in rows))
        return reached, rows

    def _ordinal_of(self, capture_id: str, saved: dict[str, tuple[Append, int]], append: Append, sealed: int) -> int:
        """That of a capture's last event, with `append`, the last of so many that were sealed."""
        if append.events:
            return self.last_ordinal + sealed
        if capture_id in saved:
            return saved[capture_id][1]
        known = self._heads.known.get(capture_id)
        return known.ordinal if known else 0

    def _stored_position(self, capture_id: str) -> Position:
        """Where a capture stands that this process has not written to yet."""
        row = self._database.execute(f"{SELECT_CAPTURES} WHERE capture_id = ?", (capture_id,)).fetchone()
        if row is None:
            return Position()
        found: CaptureRow | None = CaptureRow(*row)
        if found is not None and found.decoded() is None:
            found = self._mended(found)
        return Position() if found is None else found.position

    def _read(self, limit: int, after: int) -> tuple[list[Spooled], int]:
        after = reached = max(after, self.first)
        found: list[Spooled] = []
        damaged: list[tuple[BlockRow, str]] = []
        has_hole = False
        room = self._settings.spool_read_bytes
        with contextlib.closing(
            self._database.execute(f"{SELECT_BLOCKS} WHERE ordinal > ? ORDER BY ordinal", (after,))
        ) as cursor:
            for row in map(BlockRow._make, cursor):
                try:
                    events = row.events()
                except BlockDamaged as error:
                    damaged.append((row, str(error)))
                    continue
                first = row.ordinal - row.size + 1
                has_hole |= first > reached + 1
                reached = row.ordinal
                skipped = max(0, after + 1 - first)
                part = events[skipped : skipped + limit - len(found)]
                found += map(Spooled, range(first + skipped, row.ordinal + 1), part)
                room -= len(row.sealed)
                if len(found) >= limit or room <= 0:
                    break
        for row, why in damaged:
            self._note(spool_damage.set_aside(self._database, self.directory, row, why, self._standing()))
        if has_hole or (len(found) < limit and room > 0 and reached < self.last_ordinal):
            self._look_for_holes()
        return found, self.last_ordinal

    def _look_for_holes(self) -> None:
        """Rows are gone; tell it, unless that was done when they went."""
        losses = spool_damage.holes(self._database, self._standing(), spool_damage.VANISHED)
        self._write_losses([], losses)

    def _forget(self, ordinal: int) -> None:
        self._heads.note_passed(min(ordinal, self.last_ordinal))
        self._database.execute("PRAGMA synchronous = NORMAL")  # no flush: see promise 3
        try:
            with transaction(self._database):
                self._delete(ordinal)
        finally:
            self._database.execute("PRAGMA synchronous = FULL")
        self.first = max(self.first, min(ordinal, self.last_ordinal))
        self._look_at_size(LOOK_AT_SIZE_BYTES)

    def _delete(self, ordinal: int) -> None:
        """Delete the blocks up to `ordinal`; one that it lies in stays on disk as it is."""
        self._database.execute("DELETE FROM events WHERE ordinal <= ?", (ordinal,))
        self._database.execute("DELETE FROM captures WHERE ended = 1 AND NOT EXISTS (SELECT 1 FROM events LIMIT 1)")
        spool_damage.forget(self._database)

    def _cut_block(self) -> None:
        """Delete what is forgotten of the first block, so that it does not come back when the spool is opened again."""
        values = self._database.execute(f"{SELECT_BLOCKS} ORDER BY ordinal LIMIT 1").fetchone()
        if values is None:
            return
        row = BlockRow(*values)
        with contextlib.suppress(BlockDamaged):  # it stays as it is, for the next that opens the spool
            events = row.events()
            remaining = row.ordinal - self.first
            if 0 < remaining < row.size:
                (rest,) = blocks(events[-remaining:], self.first)
                self._database.execute(f"REPLACE {INSERT_BLOCK.removeprefix('INSERT ')}", rest.row())

    def _look_at_size(self, appended: int) -> None:
        """Find out whether there is little room left, if that may have changed."""
        self._since_look += appended
        most = self._settings.spool_max_bytes
        if not self.is_nearly_full and self._since_look < min(LOOK_AT_SIZE_BYTES, most // 100):
            return
        self._since_look = 0
        free = free_bytes(self.directory)
        self.is_nearly_full = used_bytes(self._database) > NEARLY_FULL * most or free < NEARLY_FULL_DISK

    # --- captures -------------------------------------------------------------------------------------------------

    def _open_captures(self) -> list[OpenCapture]:
        found = []
        for values in self._database.execute(SELECT_CAPTURES).fetchall():
            row: CaptureRow | None = CaptureRow(*values)
            if row is not None and row.decoded() is None:
                row = self._mended(row)
            state = None if row is None else row.decoded()
            if row is not None and state is not None and not row.ended:
                self._positions.setdefault(row.capture_id, row.position)
                found.append(OpenCapture(state, row.position, row.touched_at))
        return found

    def _mended(self, row: CaptureRow) -> CaptureRow | None:
        """In place of a capture's row that is damaged: what the witness, or the capture's events, tell of it.

        None when nothing is known of such a capture: then it is its name that is damaged.
        """
        head = self._last_known(row.capture_id)
        _log.error("a capture's row in the spool is damaged", capture=row.capture_id, known=head is not None)
        if head is None and (self._heads.known or not isinstance(row.head, bytes)):
            return None
        if head is None:
            head = Head(
                row.capture_id, _whole(row.last_seq), row.head, 0, _whole(row.touched_at), 0, row.ended == 1, "", ""
            )
        loss = Loss(head.capture_id, head.last_seq, head.last_seq, 0, "what was known of the capture was damaged")
        return self._save(head, [loss], row.page_load)

    def _last_known(self, capture_id: str) -> Head | None:
        """How far a capture has come by its witness or by its events in the spool, whichever tells more."""
        head = self._heads.known.get(capture_id)
        found = spool_damage.last_event(self._database, capture_id)
        if found is None or (head is not None and head.last_seq >= found[1].seq):
            return head
        ordinal, event = found
        deployment, room = (head.deployment, head.room) if head else ("", "")
        ended = event.type == "capture.ended"
        return Head(
            capture_id, event.seq, event.digest, ordinal, event.occurred_at, event.monotonic_ms, ended, deployment, room
        )

    def _save(self, head: Head, losses: list[Loss], page_load: str | None = None) -> CaptureRow:
        """A row with a state that holds only what the witness knows."""
        state = State(
            capture_id=head.capture_id,
            deployment=head.deployment,
            room=head.room,
            last_ms=head.last_ms,
            ended=head.ended,
        )
        position = Position(head.last_seq, head.head, page_load if isinstance(page_load, str) else None)
        values = capture_row(head.capture_id, position, Append(state, [], head.touched_at))
        self._write_losses([(SAVE_CAPTURE, values)], losses)
        return CaptureRow(*values)  # type: ignore[arg-type]  # made for SQLite, which knows no types

    def _check(self) -> None:
        found = spool_damage.check(self._database, self.directory, self._opened_at, self._standing())
        self._note(found)

    def _standing(self) -> Standing:
        passed = self._heads.passed
        undelivered = {head.capture_id: head.last_seq for head in self._heads.known.values() if head.ordinal > passed}
        return Standing(passed, self.last_ordinal, undelivered)

    def _note(self, losses: Iterable[Loss]) -> None:
        """Count what was found missing, and see what open captures are to be told."""
        for loss in losses:
            self.lost[loss.capture_id] = self.lost.get(loss.capture_id, 0) + loss.missed
        self._missing = missing_ordinals(self._database, self.first, self.last_ordinal)
        self._look_at_damage()

    def _look_at_damage(self) -> None:
        with self._telling:
            self._damage = spool_damage.untold(self._database, self._taken)

    def _write_losses(self, statements: list[tuple[str, tuple[object, ...]]], losses: list[Loss]) -> None:
        with transaction(self._database):
            for sql, values in statements:
                self._database.execute(sql, values)
            new = spool_damage.record(self._database, losses)
        self._note(new)

    # --- opening --------------------------------------------------------------------------------------------------

    def _open_heads(self) -> Heads:
        return Heads(self.directory / "heads")

    def _open(self) -> None:
        try:
            self._database = self._connect()
        except sqlite3.Error as error:
            problem = _problem_of_file(error)
            self._database = open_raw(self._path)
        else:
            try:
                self._settle()
            except sqlite3.Error as error:
                problem = _problem_of_file(error)
            else:
                return
        self._make_again(problem)

    def _connect(self) -> sqlite3.Connection:
        most = self._settings.spool_max_bytes
        try:
            return open_database(self._path, most)
        except sqlite3.Error as error:
            full = isinstance(spool_error(error, self.directory), SpoolFull)
            if not full or not self._reserve.release():
                raise
            return open_database(self._path, most)  # so that what is in it can be delivered

    def _settle(self) -> None:
        """Compare a database that was just opened with the witness, and remember which file it is."""
        self._files = self._identities()
        first, last = ordinals(self._database)
        if not self._heads.knows_passed:
            self._heads.note_passed(first)
        kept = list(self._heads.known.values())
        behind = [head for head in kept if self._is_behind(head)]
        if behind:
            self._keep_log()
        for head in behind:
            self._put_forward(head)
        # No ordinal is given twice, so that places in a lost tail mean nothing else.
        self.last_ordinal = max(self.last_ordinal, last, self._heads.last_ordinal)
        is_empty = self._database.execute("SELECT 1 FROM events LIMIT 1").fetchone() is None
        self.first = self.last_ordinal if is_empty else max(self.first, first)
        self._opened_at = self.last_ordinal
        self._missing = missing_ordinals(self._database, self.first, self.last_ordinal)
        self._refresh_witness()
        self._look_at_damage()
        for capture_id, (damage, _) in self._damage.items():
            self.lost.setdefault(capture_id, damage.missed)
        self._look_at_size(LOOK_AT_SIZE_BYTES)

    def _is_behind(self, head: Head) -> bool:
        """Whether the database knows less of a capture than its witness."""
        values = self._database.execute(f"{SELECT_CAPTURES} WHERE capture_id = ?", (head.capture_id,)).fetchone()
        if values is None:
            return not (head.ended and head.ordinal <= self._heads.passed)  # such a one was forgotten
        row = CaptureRow(*values)
        return row.decoded() is None or row.last_seq < head.last_seq

    def _put_forward(self, known: Head) -> None:
        """Have a capture go on from where its witness saw it, so that no number is given twice, and tell the damage."""
        values = self._database.execute(f"{SELECT_CAPTURES} WHERE capture_id = ?", (known.capture_id,)).fetchone()
        row = None if values is None else CaptureRow(*values)
        state = None if row is None else row.decoded()
        head = self._last_known(known.capture_id) or known
        is_delivered = head.ordinal <= self._heads.passed
        if head.ended and is_delivered:  # it came back without its end, which is delivered
            self._save(head, [])
            return
        there = spool_damage.last_event(self._database, head.capture_id)
        in_state = row.last_seq if row is not None and state is not None else 0
        reached = max(in_state, there[1].seq if there else 0)
        loss = _tail_loss(head, reached, is_delivered=is_delivered, since_at=row.touched_at if row and state else None)
        if row is None or state is None:
            self._save(head, [loss])
            return
        kept = msgspec.structs.replace(state, last_ms=max(state.last_ms, head.last_ms))
        position = Position(head.last_seq, head.head, row.page_load, row.page_seq)
        new = capture_row(head.capture_id, position, Append(kept, [], max(row.touched_at, head.touched_at)))
        self._write_losses([(SAVE_CAPTURE, new)], [loss])

    def _keep_log(self) -> None:
        """Keep SQLite's log as it was found, before anything is written over what it no longer reads of it."""
        log = self._path.with_name(f"{NAME}-wal")
        with contextlib.suppress(OSError):
            if log.stat().st_size <= spool_damage.DAMAGED_BYTES:
                spool_damage.keep(self.directory, f"damaged-{self._heads.last_ordinal}-log", log.read_bytes())

    def _refresh_witness(self) -> None:
        """Have it know what the database knows: a process may be killed between the two."""
        fresh: list[Head] = []
        places: dict[str, int] | None = None
        for row in map(CaptureRow._make, self._database.execute(SELECT_CAPTURES).fetchall()):
            head = self._heads.known.get(row.capture_id)
            state = row.decoded()
            is_same = head is not None and head.last_seq == row.last_seq and head.ended == bool(row.ended)
            if state is not None and not is_same:
                places = spool_damage.last_ordinals(self._database) if places is None else places
                fresh.append(_head(state, row.position, places.get(row.capture_id, 0), row.touched_at))
        self._heads.note(fresh)

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
            self._make_again(str(problem))
            return work()
        except (sqlite3.Error, OSError) as error:
            raise spool_error(error, self.directory) from error

    def _identities(self) -> list[tuple[int, int]]:
        return [_identity(self._path), _identity(self._path.with_name(f"{NAME}-wal"))]

    def _stay_there(self) -> None:
        """Write to no file that has been deleted: it would vanish with this process, and nobody would know."""
        now = time.monotonic()
        if now < self._look_at_files_at:
            return
        try:
            if self._identities() == self._files:
                self._look_at_files_at = now + LOOK_AT_FILES_SECONDS
                return
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError:
            return  # nobody can tell; what is open can be written all the same
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _identity_or_none(self.directory / "lock") != _identity_of(self._lock):
                lock = take_lock(self.directory)
                os.close(self._lock)
                self._lock = lock
            self._heads.close()
            known = self._heads
            self._heads = self._open_heads()
            self._heads.note(known.known.values())
            self._heads.note_passed(known.passed)
            self._reserve.remove()
            self._reserve = Reserve(self.directory / "reserve", self._settings.spool_reserve_bytes)
            self._make_again("it was deleted or replaced while it was in use")
        except (sqlite3.Error, OSError) as error:
            raise spool_error(error, self.directory) from error

    def _make_again(self, why: str) -> None:
        """Make the file anew from what can be read of the open one, and set aside what lies in its place."""
        _log.error("the spool's file is made again", spool=str(self.directory), problem=why)
        fresh = self._path.with_name(f"{NAME}.new")
        _remove_database(fresh)
        new = open_database(fresh, self._settings.spool_max_bytes + self._settings.spool_reserve_bytes)
        try:
            copied = spool_damage.salvage(self._database, new)
        finally:
            new.close()
        _flush(fresh)
        with contextlib.suppress(sqlite3.Error):
            self._database.close()
        self._set_file_aside()
        fresh.replace(self._path)
        _flush(self.directory)
        self._database = self._connect()
        self._settle()
        self._look_for_holes()
        _log.warning("the spool's file was made again", spool=str(self.directory), events=copied)

    def _set_file_aside(self) -> None:
        """Keep the file that lies where the spool's is to be; its log goes, so that no other file is taken for its."""
        for number in range(1, spool_damage.DAMAGED_DATABASES + 1):
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                os.link(self._path, self.directory / f"damaged-file-{number}")
                with contextlib.suppress(OSError):
                    os.link(self._path.with_name(f"{NAME}-wal"), self.directory / f"damaged-file-{number}-wal")
                break
        for ending in ("-wal", "-shm"):
            self._path.with_name(NAME + ending).unlink(missing_ok=True)


def _problem_of_file(error: sqlite3.Error) -> str:
    """What is wrong with a file that can only be made again; any other error is raised."""
    # A file that has lost its tables is damaged as well, whatever SQLite thinks of it.
    if not is_damaged(error) and code_of(error) != sqlite3.SQLITE_ERROR:
        raise error
    return str(error)


def take_lock(directory: Path) -> int:
    """Own `directory`, which is made if need be; the open file that holds the lock.

    :raises SpoolBusy: another process owns it.
    :raises SpoolError: it can't be written.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        hint = "name a directory that you may write to with MEETA_DATA_DIRECTORY"
        raise SpoolError(f"Can't write the spool {directory}: {error.strerror}", hint=hint) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise SpoolBusy(f"The spool {directory} belongs to another process") from None
    return lock


def _seal(capture_id: str, before: Position, append: Append, sealed: list[SealedEvent]) -> Position:
    """Seal the events of `append`, add them to `sealed`, and tell how far the capture has come with them."""
    seq, head = before.last_seq, before.head
    salts = secrets.token_bytes(chain.SALT_BYTES * len(append.events))  # in one call, which costs as much as one salt
    for number, event in enumerate(append.events):
        seq += 1
        salt = salts[number * chain.SALT_BYTES : (number + 1) * chain.SALT_BYTES]
        one = chain.seal(capture_id, seq, head, event, salt)
        head = one.digest
        sealed.append(one)
    page_load = append.page_load or before.page_load
    return Position(seq, head, page_load, append.page_seq if append.page_load else before.page_seq)


def _head(state: State, position: Position, ordinal: int, touched_at: int) -> Head:
    return Head(
        state.capture_id,
        position.last_seq,
        position.head,
        ordinal,
        touched_at,
        state.last_ms,
        state.ended,
        state.deployment,
        state.room,
    )


def _tail_loss(head: Head, reached: int, *, is_delivered: bool, since_at: int | None) -> Loss:
    missed = 0 if is_delivered else head.last_seq - reached
    evidence = f"the spool has lost its tail: its witness had seen number {head.last_seq}, the database has {reached}"
    if is_delivered:
        evidence += "; all of them had been delivered"
    elif missed:
        evidence += f"; numbers {reached + 1} to {head.last_seq} are missing, at most"
    else:
        evidence = f"what the spool knew of the capture was damaged; it goes on behind number {head.last_seq}"
    return Loss(head.capture_id, min(reached + 1, head.last_seq), head.last_seq, missed, evidence, since_at)


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _identity(path: Path) -> tuple[int, int]:
    found = os.stat(path)  # noqa: PTH116 - a third of the time of Path.stat, before every commit
    return found.st_dev, found.st_ino


def _identity_or_none(path: Path) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        return _identity(path)
    return None


def _identity_of(file: int) -> tuple[int, int]:
    found = os.fstat(file)
    return found.st_dev, found.st_ino


def _remove_database(path: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)


def _flush(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)

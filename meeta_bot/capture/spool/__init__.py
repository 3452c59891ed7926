"""The spool: events on disk between being seen and being stored.

**Format.** A directory with these files; the format is 4 (``user_version`` of the file), and a spool of another one
is refused and left as it is::

    lock               flock, held by the owning process
    events.sqlite3     WAL, synchronous=FULL
        captures(capture_id, last_seq, head, state, touched_at, ended, checksum)   one row each
        events(ordinal, sealed, count, contents, checksum)   blocks of sealed events as MessagePack, in order of
                       arrival; every event has an ordinal, a block that of its last. contents: whose they are
        damage(number, capture_id, first_seq, last_seq, missed, evidence, since_at, reported)   numbers found missing
    heads              the witness: the position of every capture (see meeta_bot.capture.spool.witness)
    reserve            room on the disk for last words, while the spool is owned
    sinks.json         the sinks beside the database that it owes its events (see meeta_bot.delivery.owed)
    damaged-…          what could not be read: a block, SQLite's log, or a whole file, as it was found

**Promises.**

1. ``append`` returns after the events and the normalizer's state are on disk together, in one transaction. If it
   raises, nothing of it is.
2. The spool alone gives ``seq`` and digests: without holes, once, in the order of appends of a capture.
3. Events stay until every open cursor has passed them; without a cursor they stay. Forgetting is neither flushed
   nor done at once, so a forgotten event may come back after a kill: sinks take the same event twice.
4. One process owns a spool. Locks vanish with their process: what a killed one left is adopted by the next.
5. What was acknowledged is there, or its loss is shown: whatever is found missing or altered is logged, counted, and
   reported to the capture, if that has not ended (``OpenCapture.damage``, ``take_damage``). What is damaged stops
   nothing: it is set aside, and numbers go on behind those that are lost. A capture whose end is lost with a tail, and
   may not have been delivered, has not ended: it gets another end.
6. A spool that is full takes nothing but last words (``Append.urgent``), and says so before (``is_nearly_full``).

Checksums show what happens by accident, not what somebody does on purpose (see `spool.format`). A power failure
on a disk that does not keep what it has flushed can take the tail of the file and of the witness alike: that alone
leaves no trace here, only in the log that is stored, whose last numbers then have no end.

All work on files happens in one thread (`spool.store`). Appends that wait while the disk is busy share the next
transaction. What was forgotten is deleted together with the next append, or when nothing else waits, or when much of it
has piled up.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from meeta_bot.capture.spool.failures import spool_errors
from meeta_bot.capture.spool.format import BLOCK_EVENTS, FORMAT_VERSION, NAME, Block, unpack
from meeta_bot.capture.spool.group import Addition
from meeta_bot.capture.spool.recent import RecentEvents
from meeta_bot.capture.spool.records import Append, Damage, OpenCapture, Position, Spooled
from meeta_bot.capture.spool.store import Store
from meeta_bot.errors import SpoolBusy, SpoolError, SpoolFull, SpoolUnusable
from meeta_bot.logs import get_logger
from meeta_bot.settings import Settings

__all__ = [
    "BLOCK_EVENTS",
    "FORMAT_VERSION",
    "Append",
    "Cursor",
    "Damage",
    "OpenCapture",
    "Position",
    "Spool",
    "Spooled",
    "acquire",
    "adopt",
    "unpack",
]

_T = TypeVar("_T")

_log = get_logger("spool")

FORGOTTEN_EVENTS = 2000  # forgotten ones that may wait for an append to delete them; a few blocks of disk space
LARGEST_NUMBER_OF_SPOOLS = 1000  # of one data directory; each belongs to a process that runs or was killed


class _Pending(NamedTuple):
    """An append that waits for its transaction."""

    addition: Addition
    future: asyncio.Future[Position]


class Cursor:
    """The position of one sink in a spool, as an ordinal. Events that all cursors have passed are gone."""

    def __init__(self, spool: Spool, ordinal: int) -> None:
        """Begin behind `ordinal`: it and all before are passed. Made by `Spool.cursor`."""
        self._spool = spool
        self.ordinal = ordinal
        self.is_open = True
        self.appended = asyncio.Event()  # set with every append; whoever waits for it clears it

    @property
    def waiting(self) -> int:
        """Number of events in the spool that this cursor has not passed; none once it is closed."""
        return self._spool.waiting_behind(self.ordinal) if self.is_open else 0

    async def read(self, limit: int, after: int = 0) -> list[Spooled]:
        """Read the oldest events that the cursor has not passed, at most `limit`; only those behind ordinal `after`."""
        start = max(self.ordinal, after)
        found, searched = await self._spool.read_on(limit, start)
        if not found and start == self.ordinal < searched:  # what was there is damaged: nothing is to be waited for
            self.ordinal = searched
            self.appended.set()
            await self._spool.forget_passed()
        return found

    async def forget(self, ordinal: int) -> None:
        """Pass the events up to and including `ordinal`."""
        self.ordinal = max(self.ordinal, min(ordinal, self._spool.last_ordinal))
        await self._spool.forget_passed()

    async def close(self) -> None:
        """Go for good, so that events that were not read hold up nobody. Safe to call twice."""
        self.is_open = False
        await self._spool.forget_passed()


class Spool:
    """A spool directory, owned by this process until ``close``."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        """Open or create the spool in `directory`.

        :raises SpoolBusy: another process owns it.
        :raises SpoolError: it can't be written, or has another format.
        """
        self.directory = directory
        self._settings = settings
        self._store = Store(directory, settings)
        self._is_open = True
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool")
        self._pending: list[_Pending] = []
        self._committer: asyncio.Task[None] | None = None
        self._cursors: list[Cursor] = []
        self._recent = RecentEvents(settings.spool_recent_bytes)
        self._taken_damage: dict[str, int] = {}  # by capture: it counts as reported with the capture's next append
        self.appended = asyncio.Event()

    @property
    def last_ordinal(self) -> int:
        """Ordinal of the last event that was ever appended."""
        return self._store.last_ordinal

    @property
    def waiting(self) -> int:
        """Number of events that a sink does not have yet."""
        return self.waiting_behind(self._passed())

    def waiting_behind(self, ordinal: int) -> int:
        """Count the events behind `ordinal`, without those that are known to be lost."""
        return self._store.waiting_behind(ordinal)

    @property
    def is_nearly_full(self) -> bool:
        """True while little room is left, by the bound or on the disk: what can be left out should be, from now on."""
        return self._store.is_nearly_full

    @property
    def damaged(self) -> int:
        """Number of events that were acknowledged and have been found missing since this spool was opened."""
        return sum(self._store.lost.values())

    @property
    def damaged_captures(self) -> list[str]:
        """Captures that have lost some of those events, or of which something else is not as it was written."""
        return sorted(self._store.lost)

    def cursor(self) -> Cursor:
        """Make a cursor; it begins with the oldest event that is still there."""
        cursor = Cursor(self, self._store.deleted_ordinal)
        self._cursors.append(cursor)
        return cursor

    async def append(self, capture_id: str, append: Append) -> Position:
        """Make `append` durable.

        :raises SpoolFull: the bound or the disk's end is reached; nothing of it is stored.
        :raises SpoolError: SQLite failed otherwise; nothing of it is stored.
        """
        future: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        addition = Addition(capture_id, append, self._taken_damage.pop(capture_id, None))
        self._pending.append(_Pending(addition, future))
        if self._committer is None:
            self._committer = asyncio.create_task(self._commit_pending())
        return await future

    async def read(self, limit: int, after: int = 0) -> list[Spooled]:
        """Read the oldest events behind ordinal `after`, at most `limit`, whatever cursors have passed."""
        found, _ = await self.read_on(limit, after)
        return found

    async def read_on(self, limit: int, after: int) -> tuple[list[Spooled], int]:
        """Read as `read` does; with no events, return the ordinal up to which none will come any more."""
        recent = self._recent.read(limit, max(after, self._store.deleted_ordinal))
        if recent:
            await asyncio.sleep(0)  # whoever reads and reads shall not keep others from running
            return recent, 0
        found, searched = await self._in_thread(self._store.read, limit, after)
        if not found:  # it has vanished from the disk; what is in memory has not
            after = max(after, self._store.deleted_ordinal)
            found = [item for item in self._recent.read(limit, after, over_holes=True) if item.ordinal <= searched]
        return found, searched

    async def forget(self, ordinal: int) -> None:
        """Delete the events up to and including `ordinal`, whatever cursors have passed."""
        await self._in_thread(self._store.forget, ordinal)

    async def forget_passed(self) -> None:
        """Delete the events that all open cursors have passed, if it is time for that."""
        passed, deleted = self._passed(), self._store.deleted_ordinal
        self._recent.forget(passed)
        is_idle = passed == self.last_ordinal and not self._pending
        if passed > deleted and (is_idle or passed - deleted >= FORGOTTEN_EVENTS):
            await self.forget(passed)

    async def open_captures(self) -> list[OpenCapture]:
        """Return the captures that have no end yet; right after opening, those of a killed process, with their damage.

        The first call checks all that was there on opening: about 10 µs an event.
        """
        found = await self._in_thread(self._store.open_captures)
        return [
            msgspec.structs.replace(capture, damage=self.take_damage(capture.state.capture_id)) for capture in found
        ]

    def take_damage(self, capture_id: str) -> Damage | None:
        """Take the loss of a capture without an end since it was last asked for; nearly always None.

        It counts as reported with the next append of that capture: if that never comes, the next process gets it.
        """
        taken = self._store.take_damage(capture_id)
        if taken is None:
            return None
        damage, self._taken_damage[capture_id] = taken
        return damage

    async def waiting_of(self) -> dict[str, int]:
        """Count by capture the events in the spool that a sink does not have yet."""
        return await self._in_thread(self._store.waiting_of)

    async def close(self) -> None:
        """Finish what is pending and let go of the directory. Safe to call twice."""
        if self._committer is not None:
            await self._committer
        if self._is_open:
            self._is_open = False
            try:
                await self._in_thread(self._store.close, self._passed())
            except SpoolError as error:  # nothing is lost by it: what was forgotten comes again
                _log.warning("spool closed before everything was forgotten", problem=str(error))
            finally:
                self._thread.shutdown()

    async def _in_thread(self, work: Callable[..., _T], *args: object) -> _T:
        loop = asyncio.get_running_loop()
        with spool_errors(self.directory):
            return await loop.run_in_executor(self._thread, work, *args)

    async def _commit_pending(self) -> None:
        while self._pending:
            group = self._pending[: self._settings.spool_group_appends]
            del self._pending[: len(group)]
            await self._commit_group(group)
        self._committer = None

    async def _commit_group(self, group: list[_Pending], *, urgent: bool = False) -> None:
        additions = [pending.addition for pending in group]
        try:
            positions, blocks = await self._in_thread(self._commit, additions, urgent)
        except Exception as error:
            if not urgent and _is_worth_trying_again(group, error):
                for pending in group:
                    await self._commit_group([pending], urgent=pending.addition.append.urgent)
                return
            for pending in group:
                self._give_back_damage(pending.addition)
                if not pending.future.done():
                    pending.future.set_exception(error)
            return
        self._recent.add(blocks)
        self.appended.set()
        for cursor in self._cursors:
            cursor.appended.set()
        for pending, position in zip(group, positions, strict=True):
            if not pending.future.done():
                pending.future.set_result(position)

    def _commit(self, group: Sequence[Addition], urgent: bool) -> tuple[list[Position], list[Block]]:
        return self._store.commit(group, self._passed(), urgent=urgent)

    def _give_back_damage(self, addition: Addition) -> None:
        """Leave the damage that an append failed to report to the capture's next one."""
        if addition.reported is not None:
            before = self._taken_damage.get(addition.capture_id, 0)
            self._taken_damage[addition.capture_id] = max(addition.reported, before)

    def _passed(self) -> int:
        """Return the ordinal that all open cursors have passed."""
        passed = [cursor.ordinal for cursor in self._cursors if cursor.is_open]
        return max(self._store.deleted_ordinal, min(passed, default=0))


def _is_worth_trying_again(group: list[_Pending], error: Exception) -> bool:
    """Tell whether appends that failed together may succeed alone: one can't be written, or may use the reserve."""
    if isinstance(error, SpoolFull):
        return any(pending.addition.append.urgent for pending in group)
    return len(group) > 1 and not isinstance(error, SpoolError)


def acquire(root: Path, settings: Settings) -> Spool:
    """Take a spool under `root` that no running process owns: the first free one, or a new one.

    :raises SpoolError: `root` can't be written, or too many spools are in use.
    """
    for number in range(1, LARGEST_NUMBER_OF_SPOOLS):
        with _passing_over_others():
            return Spool(root / str(number), settings)
    raise SpoolError(f"{LARGEST_NUMBER_OF_SPOOLS} spools are in use under {root}")


def adopt(root: Path, settings: Settings) -> Iterator[Spool]:
    """Yield the existing spools under `root` whose process is gone, each to be closed by the caller."""
    for file in sorted(root.glob(f"*/{NAME}")):
        with _passing_over_others():
            yield Spool(file.parent, settings)


@contextlib.contextmanager
def _passing_over_others() -> Iterator[None]:
    """Pass over a spool that another process owns; one that can't be read keeps nobody from recording."""
    try:
        yield
    except SpoolBusy:
        pass
    except SpoolUnusable as error:
        _log.error("spool passed over", problem=str(error), hint=error.hint)

"""Queries of meetings, captures, events, people and gaps. They read PostgreSQL and change nothing."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from meeta_bot import database
from meeta_bot.database import sqlfiles
from meeta_bot.errors import Ambiguous, DatabaseUnreachable, NotFound
from meeta_bot.events.document import EventRow
from meeta_bot.limits import MISSED_HEARTBEATS
from meeta_bot.reading.rows import CaptureRow, GapRow, MeetingRow, ParticipantRow, QuarantineRow, VisitRow
from meeta_bot.settings import Settings

LATEST = "latest"
ROWS_PER_PAGE = 1000  # events per statement when all are wanted
_SHORTEST_PREFIX = 4
_HOW_TO_NAME_ONE = f"name it by id, the first {_SHORTEST_PREFIX} or more digits of one, room, or `latest`"
_ID_DIGITS = 32
_CANDIDATES = 5
_BEFORE_ALL = (str(UUID(int=0)), 0)  # position: capture and seq

_R = TypeVar("_R", bound=msgspec.Struct)


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """A filter of events: those pass that meet every condition that is given.

    ``participant`` is an endpoint's id, or a display name that it ever had, in any case. ``since`` is the first
    moment that is wanted, ``until`` the first that no longer is. ``except_types`` are left out.
    """

    types: list[str] | None = None
    except_types: list[str] | None = None
    participant: str | None = None
    since: datetime | None = None
    until: datetime | None = None


EVERYTHING = Filter()


class _Selection(msgspec.Struct, frozen=True, kw_only=True):
    """A filter as statements take it: names resolved to endpoints, and no seq greater than ``through``."""

    types: list[str] | None = None
    except_types: list[str] | None = None
    endpoint_ids: list[str] | None = None
    since: datetime | None = None
    until: datetime | None = None
    through: int | None = None

    @property
    def keys(self) -> tuple[str | None, list[str] | None, list[str] | None]:
        """The only type, several types, endpoints: one type alone is found in an index in the order of seq."""
        if self.types is not None and len(self.types) == 1 and self.endpoint_ids is None:
            return self.types[0], None, None
        return None, self.types, self.endpoint_ids

    @property
    def is_scattered(self) -> bool:
        """True when an index has these events, but not in the order of seq."""
        _, types, endpoint_ids = self.keys
        return (types is not None or endpoint_ids is not None) and self.since is None and self.until is None


class CaptureProgress(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of a stored capture: its last event so far; ``ended`` when nothing will follow."""

    capture_id: str
    last_seq: int
    event_count: int
    ended: bool


@asynccontextmanager
async def reading(url: str, settings: Settings) -> AsyncIterator[Reader]:
    """Yield a reader of the database at `url`.

    :raises DatabaseUnreachable: nothing answers there, or it won't let us in.
    :raises DatabaseNotMigrated: the schema is missing or older than this program.
    :raises DatabaseNewer: it is newer.
    """
    connection = await database.connect(url, settings, purpose="reader", read_only=True)
    try:
        await database.require_schema(connection)
        await _prepare(connection)
        yield Reader(connection, lost_after=settings.heartbeat_interval * MISSED_HEARTBEATS)
    finally:
        connection.terminate()


async def _prepare(connection: database.Connection) -> None:
    try:
        await connection.execute(sqlfiles.statement("reading/session"))
    except database.TROUBLE as error:
        raise DatabaseUnreachable(f"PostgreSQL did not answer: {database.explain(error)}") from None


class Reader:
    """Queries over one connection; one at a time. `reading` makes one.

    Every method raises `DatabaseUnreachable` when the server goes away. ``now`` (None: this moment) decides
    between ``recording`` and ``lost``: a capture without an end is lost after ``lost_after`` seconds without life.
    """

    def __init__(self, connection: database.Connection, *, lost_after: float) -> None:
        self._connection = connection
        self._lost_after = lost_after

    async def meetings(self, limit: int, room: str | None = None, now: datetime | None = None) -> list[MeetingRow]:
        """List the newest meetings, and captures that belong to none; of one room (in any case) when it is given."""
        return await self._meetings(await self._latest(room, limit), now)

    async def find_meeting(self, text: str, now: datetime | None = None) -> MeetingRow:
        """Find the meeting that `text` names: ``latest``, an id, a room (its latest meeting), or a prefix of an id.

        The id of a capture names its meeting, or the capture itself when it belongs to none. A capture that was kept
        out of its room while another one was in it is not what a room or ``latest`` names: the meeting is.

        :raises NotFound: `text` names none.
        :raises Ambiguous: a prefix fits several; the message names them.
        """
        if text == LATEST:
            scopes = await self._beside(await self._latest(None, 1))
        else:
            scopes = await self._beside(await self._latest(text, 1)) or await self._by_prefix(text)
        found = await self._meetings(scopes, now)
        if not found:
            raise NotFound(f"Meeting {text!r} not found", hint=_HOW_TO_NAME_ONE)
        if len(found) > 1:
            named = ", ".join(f"{row.id} ({row.room})" for row in found[:_CANDIDATES])
            raise Ambiguous(f"{text!r} matches several meetings: {named}", hint="give more digits of the id")
        return found[0]

    async def captures(self, capture_ids: Sequence[str], now: datetime | None = None) -> list[CaptureRow]:
        """Return captures by id, in the order in which they began."""
        moment = now or datetime.now(UTC)
        return await self._rows(CaptureRow, "reading/captures", list(capture_ids), moment, self._lost_after)

    async def events(
        self,
        capture_ids: Sequence[str],
        wanted: Filter = EVERYTHING,
        *,
        after: tuple[str, int] = _BEFORE_ALL,
        limit: int = ROWS_PER_PAGE,
    ) -> list[EventRow]:
        """List events by capture and seq, `limit` at most; go on `after` the (capture_id, seq) of the last one."""
        selection = await self._selection(capture_ids, wanted)
        rows: list[EventRow] = []
        for capture_id in sorted(set(capture_ids)):
            if capture_id >= after[0] and len(rows) < limit:
                seq = after[1] if capture_id == after[0] else 0
                rows += await self._page_of_rows(capture_id, selection, seq, limit - len(rows))
        return rows

    async def all_events(
        self, capture_ids: Sequence[str], wanted: Filter = EVERYTHING, *, through: int | None = None
    ) -> AsyncIterator[EventRow]:
        """Yield all events by capture and seq; none with a seq greater than `through`."""
        selection = await self._selection(capture_ids, wanted, through)
        for capture_id in sorted(set(capture_ids)):
            async for row in self._all_rows(capture_id, selection):
                yield row

    async def follow(
        self, capture_ids: Sequence[str], wanted: Filter = EVERYTHING, *, interval: float
    ) -> AsyncIterator[EventRow]:
        """Yield stored events, then new ones, of these captures and of others that join their meeting.

        Queries again after every `interval` (seconds). Ends when all captures have ended. Each capture has a position
        of its own, since they grow at the same time.
        """
        known, positions = list(capture_ids), dict[str, int]()
        while True:
            progress = await self.progress_of_meeting(known)
            known = [one.capture_id for one in progress]
            for one in progress:
                position = positions.get(one.capture_id, 0)
                if one.last_seq > position:
                    # Names are read after the progress, so that none is missed of an event that is passed.
                    selection = await self._selection(known, wanted, one.last_seq)
                    async for row in self._all_rows(one.capture_id, selection, position):
                        yield row
                    positions[one.capture_id] = one.last_seq
            if all(one.ended for one in progress):
                return
            await asyncio.sleep(interval)

    async def progress(self, capture_ids: Sequence[str] | None = None) -> list[CaptureProgress]:
        """Return the progress of captures, in the order in which they began; of all for None."""
        return await self._rows(CaptureProgress, "reading/heads", None if capture_ids is None else list(capture_ids))

    async def progress_of_meeting(self, capture_ids: Sequence[str]) -> list[CaptureProgress]:
        """Return the progress of captures, and of those that by now belong to the same meeting."""
        return await self._rows(CaptureProgress, "reading/heads_of_meeting", list(capture_ids))

    async def participants(self, capture_ids: Sequence[str]) -> list[ParticipantRow]:
        """List the people that captures of one meeting saw, in order of arrival; no minute is counted twice."""
        return await self._rows(ParticipantRow, "reading/participants", list(capture_ids))

    async def visits(self, capture_ids: Sequence[str]) -> list[VisitRow]:
        """List all visits, as each capture saw them."""
        return await self._rows(VisitRow, "reading/visits", list(capture_ids))

    async def gaps(self, capture_ids: Sequence[str]) -> list[GapRow]:
        """List the intervals in which captures could not see, or saw only part."""
        return await self._rows(GapRow, "reading/gaps", list(capture_ids))

    async def quarantine(self, capture_ids: Sequence[str]) -> list[QuarantineRow]:
        """List the events that could not be stored as they came."""
        return await self._rows(QuarantineRow, "reading/quarantine", list(capture_ids))

    async def counts(self, capture_ids: Sequence[str]) -> dict[str, int]:
        """Count the events of each type; two captures of the same meeting add up."""
        return {row["type"]: row["count"] for row in await self._fetch("reading/counts", list(capture_ids))}

    async def endpoint_ids(self, capture_ids: Sequence[str], participant: str) -> list[str]:
        """List the endpoints that `participant` names: a display name that they ever had, or the id itself."""
        wanted = _folded(participant)
        rows = await self._fetch("reading/names", list(capture_ids))
        return [participant, *{row["endpoint_id"] for row in rows if _folded(row["name"]) == wanted}]

    async def _selection(self, capture_ids: Sequence[str], wanted: Filter, through: int | None = None) -> _Selection:
        who = wanted.participant
        return _Selection(
            types=wanted.types,
            except_types=wanted.except_types,
            endpoint_ids=None if who is None else await self.endpoint_ids(capture_ids, who),
            since=wanted.since,
            until=wanted.until,
            through=through,
        )

    async def _all_rows(self, capture_id: str, selection: _Selection, after: int = 0) -> AsyncIterator[EventRow]:
        """Yield the events of one capture after a seq."""
        while rows := await self._page_of_rows(capture_id, selection, after, ROWS_PER_PAGE):
            for row in rows:
                yield row
            if len(rows) < ROWS_PER_PAGE:
                return
            after = rows[-1].seq

    async def _page_of_rows(self, capture_id: str, selection: _Selection, after: int, limit: int) -> list[EventRow]:
        through, most = selection.through, None if selection.is_scattered else limit
        if selection.is_scattered:
            # Sorting whole events would fetch all of them for every page of rows; an index alone tells where it ends.
            # A limit besides would tempt planners to go through everybody's events until there are enough.
            [end] = await self._fetch("reading/page_end", capture_id, after, through, *selection.keys, limit)
            through = end["max"]
            if through is None:
                return []
        conditions = (*selection.keys, selection.since, selection.until, selection.except_types)
        return await self._rows(EventRow, "reading/events", capture_id, after, through, *conditions, most)

    async def _latest(self, room: str | None, limit: int) -> list[UUID]:
        return [row["scope_id"] for row in await self._fetch("reading/scopes_latest", room, limit)]

    async def _beside(self, scopes: list[UUID]) -> list[UUID]:
        """Return the meeting that took place while a capture was kept out of it, for that capture."""
        if not scopes:
            return scopes
        found = await self._fetch("reading/scope_beside", scopes[0])
        return [row["scope_id"] for row in found] or scopes

    async def _by_prefix(self, text: str) -> list[UUID]:
        prefix = text.replace("-", "").lower()
        if not _SHORTEST_PREFIX <= len(prefix) <= _ID_DIGITS or not re.fullmatch("[0-9a-f]+", prefix):
            return []
        first, last = UUID(prefix.ljust(_ID_DIGITS, "0")), UUID(prefix.ljust(_ID_DIGITS, "f"))
        return [row["scope_id"] for row in await self._fetch("reading/scopes_by_prefix", first, last, _CANDIDATES)]

    async def _meetings(self, ids: list[UUID], now: datetime | None) -> list[MeetingRow]:
        return await self._rows(MeetingRow, "reading/meetings", ids, now or datetime.now(UTC), self._lost_after)

    async def _rows(self, shape: type[_R], name: str, *arguments: Any) -> list[_R]:
        return [shape(**dict(row)) for row in await self._fetch(name, *arguments)]

    async def _fetch(self, name: str, *arguments: Any) -> list[Any]:
        try:
            return await self._connection.fetch(sqlfiles.statement(name), *arguments)
        except database.TROUBLE as error:
            raise DatabaseUnreachable(f"PostgreSQL did not answer: {database.explain(error)}") from None


def _folded(name: str) -> str:
    """Fold the differences of names that a person doesn't see or mean: case, and how accents are encoded."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())

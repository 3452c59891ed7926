"""The ways out of a spool: a writer for the database, and one for every other sink that its events go to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping

from meeta_bot.capture.spool import Spool
from meeta_bot.delivery import owed
from meeta_bot.delivery.registry import KINDS, Destination, Sinks
from meeta_bot.delivery.sink import Sink
from meeta_bot.delivery.writer import Prepare, Writer
from meeta_bot.errors import MeetaError, SpoolError
from meeta_bot.logs import get_logger
from meeta_bot.settings import Settings

_log = get_logger("outlets")


class Outlets:
    """The writers of one spool; none waits for another, and an event leaves the spool when every sink has it."""

    def __init__(self, database: Writer, others: Mapping[Destination, Writer]) -> None:
        self.database = database
        self._writers = {"database": database, **{_shown(where): writer for where, writer in others.items()}}

    def start(self) -> None:
        """Begin to deliver. Safe to call twice."""
        for writer in self._writers.values():
            writer.start()

    async def stop(self, within: float | None) -> None:
        """Deliver what is there within so many seconds, for all together; None: as long as it takes."""
        await asyncio.gather(*(writer.stop(within) for writer in self._writers.values()))

    @property
    def unavailable(self) -> str | None:
        """Return why a sink takes nothing at the moment; None when all do."""
        return next((writer.unavailable for writer in self._writers.values() if writer.unavailable), None)

    @property
    def lacking(self) -> list[str]:
        """Return which sinks do not have everything yet, and why."""
        return [
            f"{name}: {writer.unavailable or 'the time was over'}"
            for name, writer in self._writers.items()
            if writer.waiting
        ]


def of_recorder(
    spool: Spool, database: Sink, others: Mapping[Destination, Sink], settings: Settings, prepare: Prepare
) -> Outlets:
    """Return the ways out of a spool that a recorder fills: a sink that hangs must not fill it for the database."""
    further = {where: _writer(spool, where, sink, settings, hold=False) for where, sink in others.items()}
    return Outlets(Writer(spool, database, settings, prepare), further)


def _writer(spool: Spool, where: Destination, sink: Sink, settings: Settings, *, hold: bool) -> Writer:
    return Writer(spool, sink, settings, name=KINDS[where.kind].name, may_be_given_up=not hold)


def _shown(where: Destination) -> str:
    """Name a destination in messages; a target that can't be owed may be a secret."""
    kind = KINDS[where.kind]
    return f"{kind.name} ({where.target})" if kind.can_be_owed else kind.name


class LeftSpool:
    """A spool that nobody appends to any more, on its way to the database and to every sink that it was promised to.

    A promise is kept however long that takes: what a sink lacks that can't be opened, or can't be named, stays in the
    spool. ``lacking`` says why.
    """

    def __init__(
        self, spool: Spool, database: Sink, sinks: Sinks, settings: Settings, *, also: Iterable[Destination] = ()
    ) -> None:
        """Take over `spool`, and `database`, a sink of its own.

        :param sinks: of this process; they stay open.
        :param also: further destinations, which it was not promised to.
        """
        self.stored = asyncio.Event()  # the database has everything, or no more time
        self.lacking: list[str] = []
        self._spool = spool
        self._database = database
        self._sinks = sinks
        self._settings = settings
        self._also = set(also)

    async def deliver_and_close(self, *, within: float | None, database_only: bool = False) -> int:
        """Deliver it, and close it.

        :param within: seconds that it may take; None: as long as it takes.
        :param database_only: break the promises to other sinks.
        :returns: how many events remain in it.
        """
        try:
            outlets = await self._outlets(owed.Owed() if database_only else owed.read(self._spool.directory), within)
            outlets.start()
            await asyncio.gather(self._store(outlets.database, within), outlets.stop(within))
            self.lacking += outlets.lacking
            await forget_kept_promises(self._spool)
            return self._spool.waiting
        finally:
            self.stored.set()
            await self._database.close()
            await self._spool.close()

    async def _store(self, writer: Writer, within: float | None) -> None:
        await writer.stop(within)
        self.stored.set()

    async def _outlets(self, promised: owed.Owed, within: float | None) -> Outlets:
        others: dict[Destination, Writer] = {}
        self.lacking = [*promised.problems]
        for where in sorted(promised.destinations | self._also, key=lambda one: (one.kind, one.target)):
            is_owed = where in promised.destinations
            problem = await self._problem(where) if is_owed and within is not None else None
            if problem is None:
                others[where] = _writer(self._spool, where, self._sinks.get(where), self._settings, hold=is_owed)
            else:
                self.lacking.append(problem)
        if self.lacking:
            self._spool.cursor()  # it never reads, so that nothing is forgotten
            for problem in self.lacking:
                _log.error("events stay in the spool", spool=str(self._spool.directory), reason=problem)
        return Outlets(Writer(self._spool, self._database, self._settings), others)

    async def _problem(self, where: Destination) -> str | None:
        """Return why a sink can't be opened; to try again and again would take all the time that there is."""
        try:
            await self._sinks.get(where).open()
        except MeetaError as error:
            return f"{_shown(where)}: {error}"
        return None


async def forget_kept_promises(spool: Spool) -> None:
    """Forget which sinks a spool owes its events when it has given them everything, the ends of captures included."""
    with contextlib.suppress(SpoolError):
        if not spool.waiting and not await spool.open_captures():
            owed.forget(spool.directory)


async def deliver_and_close(spool: Spool, database: Sink, settings: Settings, *, within: float | None) -> int:
    """Deliver a spool that nobody appends to, and close it and its sinks.

    :returns: how many events remain in it.
    """
    sinks = Sinks(settings)
    try:
        return await LeftSpool(spool, database, sinks, settings).deliver_and_close(within=within)
    finally:
        await sinks.close()

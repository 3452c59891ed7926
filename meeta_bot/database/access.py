"""A command's way to PostgreSQL: the one that was named, or the embedded one for as long as it is needed."""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType

from meeta_bot.database import embedded
from meeta_bot.settings import Settings


class DatabaseAccess:
    """A PostgreSQL that answers at ``url`` while the block lasts.

    ``eager`` starts an embedded server on entering the block, else ``open`` does.
    """

    def __init__(self, settings: Settings, *, eager: bool = True) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()
        self.is_embedded = settings.database_url is None
        self._eager = eager
        self._is_open = False
        self.url = embedded.url(settings)
        if settings.database_url is not None:
            self.url = settings.database_url.get_secret_value()

    async def __aenter__(self) -> DatabaseAccess:
        if self._eager:
            await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def open(self) -> None:
        """Start the embedded server; again if it went away.

        :raises EmbeddedDatabaseError: it does not start.
        """
        if not self.is_embedded:
            return
        if self._is_open:
            await embedded.ensure(self._settings)
        else:
            await self._stack.enter_async_context(embedded.running(self._settings))
            self._is_open = True

"""Which PostgreSQL a command works with: the one that was named, or the embedded one for as long as it is needed."""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType

from meeta_bot import embedded
from meeta_bot.settings import Settings


class DatabaseAccess:
    """Gives ``url`` while the block lasts."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()
        self._is_embedded = settings.database_url is None
        self.url = "" if settings.database_url is None else settings.database_url.get_secret_value()

    async def __aenter__(self) -> DatabaseAccess:
        if self._is_embedded:
            self.url = await self._stack.enter_async_context(embedded.running(self._settings))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def ensure(self) -> None:
        """Start the embedded one again if it went away."""
        if self._is_embedded:
            await embedded.ensure(self._settings)

"""Chromium as the recorder starts it."""

from __future__ import annotations

import asyncio
from collections import Counter

from meeta_bot import settings
from meeta_bot.browser import Chromium


async def test_no_profile_gets_more_rooms_than_its_websockets_allow() -> None:
    chromium = Chromium(settings.load({"rooms_per_page": 10, "rooms_per_profile": 25}))
    await chromium.start()
    try:
        pages = await asyncio.gather(*(chromium.new_page() for _ in range(5)))
        assert sorted(Counter(page.context for page in pages).values()) == [1, 2, 2]
        await pages[0].close()
        another = await chromium.new_page()
        assert max(Counter(page.context for page in [*pages[1:], another]).values()) == 2
        assert len({page.context for page in [*pages, another]}) == 3
    finally:
        await chromium.stop()

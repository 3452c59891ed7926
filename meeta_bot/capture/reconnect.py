"""Ways back into a lost room: pauses between tries, and the moment to give up. Pure but for the numbers."""

from __future__ import annotations

from collections import deque

from meeta_bot.events import EndReason, GapCause
from meeta_bot.settings import Settings

_CRASHES = {
    GapCause.PAGE_CRASHED: EndReason.PAGE_CRASHED,
    GapCause.PAGE_HUNG: EndReason.PAGE_CRASHED,
    GapCause.BROWSER_CRASHED: EndReason.BROWSER_CRASHED,
}


class Reconnect:
    """The losses of one capture and its tries to get back. All times are milliseconds of the monotonic clock.

    The first try comes at once, later ones after pauses that double. Whoever was not back in time gives up, and so does
    one whose page or browser crashes again and again, however quickly it comes back each time.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._crashes: deque[float] = deque(maxlen=settings.crashes_limit)
        self._since_ms: float | None = None
        self.attempts = 0  # since the room was lost

    def lost(self, cause: GapCause, now_ms: float) -> float | EndReason:
        """Count a lost room, or a try to get back that failed; return the seconds to pause, or a reason to give up."""
        if self._since_ms is None:
            self._since_ms = now_ms
        if cause in _CRASHES:
            self._crashes.append(now_ms)
            full = len(self._crashes) == self._settings.crashes_limit
            if full and now_ms - self._crashes[0] <= self._settings.crashes_window * 1000:
                return _CRASHES[cause]
        pause = self._pause()
        self.attempts += 1
        if now_ms + pause * 1000 - self._since_ms > self._settings.reconnect_timeout * 1000:
            return EndReason.RECONNECT_EXHAUSTED
        return pause

    def left_ms(self, now_ms: float) -> float:
        """Return the time for which the capture may still try; never negative."""
        since_ms = now_ms if self._since_ms is None else self._since_ms
        return max(0.0, since_ms + self._settings.reconnect_timeout * 1000 - now_ms)

    def back(self) -> None:
        """Begin anew: the bot is in the room again."""
        self._since_ms = None
        self.attempts = 0

    def _pause(self) -> float:
        if self.attempts == 0:
            return 0.0
        doublings = min(self.attempts - 1, 30)  # beyond, any pause is the longest
        return float(min(self._settings.reconnect_pause_initial * 2**doublings, self._settings.reconnect_pause_max))

"""Care for a bridge that is not heard: one warning, and at the latest leaving and entering the room.

The hook asks for new media sessions by itself (hook/revive.js), which nobody sees. When that brings nothing, only a
new stay can, which everybody sees: so it is tried rarely, with pauses of minutes that double.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from meeta_bot.events import BridgeLost, BridgeRestored, FocusReturned, MediaReceived, MediaSessionMissing
from meeta_bot.settings import Settings

COSTS = "speakers, reactions and statistics are not recorded until it is back"
BRIDGE_COUNT = "bridge-count"  # a property in the focus's presence (jicofo): how many bridges it could use

CaredFor = BridgeLost | BridgeRestored | FocusReturned | MediaReceived | MediaSessionMissing
CARED_FOR = (BridgeLost, BridgeRestored, FocusReturned, MediaReceived, MediaSessionMissing)


class BridgeCare:
    """The outages of the bridge in one capture. All times are milliseconds of the monotonic clock."""

    def __init__(self, settings: Settings, log: FilteringBoundLogger) -> None:
        self._settings = settings
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._warning: asyncio.TimerHandle | None = None
        self._returning: asyncio.TimerHandle | None = None
        self._has_warned = False
        self._returns = 0
        self._returned_ms: float | None = None

    def note(self, payload: CaredFor, now_ms: float, *, bridges: str | None, leave: Callable[[str], None]) -> None:
        """Do what an event asks for; parameters as of :meth:`missing`."""
        match payload:
            case BridgeLost():
                self.lost(payload)
            case BridgeRestored():
                self.restored()
            case MediaSessionMissing(evidence=evidence):
                self.missing(now_ms, bridges=bridges, leave=lambda: leave(evidence or "no media session"))
            case MediaReceived(bytes=count, seconds=seconds):
                self._log.warning("media is received that is not wanted", bytes=count, seconds=seconds)
            case FocusReturned(away_ms=away_ms):
                self._log.info("the conference focus is back", away_ms=away_ms)

    def lost(self, payload: BridgeLost) -> None:
        """Warn once that the bridge is not heard: now, or when a channel that closed is not back in the usual time."""
        seconds = self._settings.bridge_open_ms / 1000 if payload.evidence == "closed" else 0.0
        self._stop_waiting()
        self._warning = self._loop.call_later(seconds, self._warn, payload.evidence)

    def restored(self) -> None:
        """Note that it is heard again."""
        self._stop_waiting()
        if self._has_warned:
            self._log.info("the bridge is heard again")
        self._has_warned = False

    def missing(self, now_ms: float, *, bridges: str | None, leave: Callable[[], None]) -> None:
        """Leave when it may help and a pause since the last time is over, unless the bridge is heard before.

        :param bridges: the count that the focus gives; with none it invites by itself when one comes.
        """
        if bridges == "0" or self._returning is not None:
            return
        seconds = self._pause(now_ms)
        self._log.warning("no media session brings the bridge; the room is left and entered", in_seconds=round(seconds))
        self._returning = self._loop.call_later(seconds, self._leave, now_ms + seconds * 1000, leave)

    def stay_is_over(self) -> None:
        """Forget what was to happen in a stay that is over."""
        self._stop_waiting()
        self._has_warned = False

    def _pause(self, now_ms: float) -> float:
        if self._returned_ms is None:
            return 0.0
        longest = self._settings.media_rejoin_pause_max
        passed = (now_ms - self._returned_ms) / 1000
        if passed >= longest:
            self._returns = 0  # long ago
        doublings = max(0, min(self._returns - 1, 30))
        return max(0.0, float(min(self._settings.media_rejoin_pause_initial * 2**doublings, longest)) - passed)

    def _leave(self, now_ms: float, leave: Callable[[], None]) -> None:
        self._returning = None
        self._returns += 1
        self._returned_ms = now_ms
        leave()

    def _warn(self, evidence: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            self._log.warning("the bridge can't be heard", evidence=evidence, costs=COSTS)

    def _stop_waiting(self) -> None:
        for timer in (self._warning, self._returning):
            if timer is not None:
                timer.cancel()
        self._warning = self._returning = None

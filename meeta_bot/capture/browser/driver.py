"""Playwright's driver, a program of Node.js that commands Chromium: started, stopped, and why it did not start."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO, cast

import playwright
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Playwright, async_playwright

from meeta_bot.capture.browser.last_words import how_to_get, missing_libraries, reason_in
from meeta_bot.errors import BrowserError
from meeta_bot.settings import Settings

_KEPT_BYTES = 64 * 2**10  # of what the driver wrote on standard error, the newest; it writes when something is wrong
_WORDS_TIMEOUT = 2.0  # seconds; the last words of a driver that is dead are in the pipe already
_LOOK_PAUSE = 0.01  # seconds between looks whether one that was killed is gone

_NAME = "Playwright's driver"
_BY_HAND = "try it by hand, in the same environment: {} --version; NODE_OPTIONS, if it is set, changes what it does"
_SAID_NOTHING = "it ended without a word, as one that is killed for want of memory"
_REINSTALL = "install it anew: pip install --force-reinstall playwright; or name a Node.js with PLAYWRIGHT_NODEJS_PATH"
# What the kernel says about a program that it doesn't start.
_HINTS = {
    errno.EACCES: "make it executable for this user: chmod +x {}, on a file system that is not mounted noexec",
    errno.ENOENT: _REINSTALL,
    errno.ENOEXEC: _REINSTALL,
    errno.ENOMEM: "give the machine or the container more memory",
    errno.EAGAIN: "raise the limit of processes: ulimit -u, or TasksMax in a systemd unit",
    errno.EMFILE: "raise the limit of open files: ulimit -n, or LimitNOFILE in a systemd unit",
}


class Driver:
    """A driver that runs, with ``playwright`` to command it. Made by :meth:`start`."""

    def __init__(self, playwright: Playwright, words: _Words, settings: Settings) -> None:
        self.playwright = playwright
        self._words = words
        self._settings = settings

    @classmethod
    async def start(cls, settings: Settings) -> Driver:
        """Start it.

        :raises BrowserError: it does not start, for whatever reason.
        """
        _expect_its_errors()
        words = _Words()
        try:
            await words.open()
            return cls(await _begin(words, settings), words, settings)
        except Exception as error:
            words.kill_writers()
            problem = await _explained(error, await words.all(), settings)
            words.close()
            raise problem from error
        except BaseException:
            words.kill_writers()
            words.close()
            raise

    @property
    def has_ended(self) -> bool:
        """True when it is gone, and any browser with it."""
        return self._words.is_over

    def when_it_ends(self, call: Callable[[], None]) -> None:
        """Call this at once when it is gone: Playwright tells nobody, and a page would be missed for its silence."""
        self._words.when_over(call)

    async def why_it_ended(self) -> str:
        """Return its own reason, if it gave one."""
        return f"{_NAME} ended: {reason_in(await self._words.all()) or _SAID_NOTHING}"

    async def stop(self) -> None:
        """Stop it, and with it every browser that it has started; after ``browser_stop_timeout`` it is killed."""
        await _stop(self.playwright, self._settings)
        self._words.kill_writers()
        self._words.close()


async def _begin(words: _Words, settings: Settings) -> Playwright:
    starting = asyncio.ensure_future(async_playwright().start())
    try:
        with words.taken_from_standard_error():
            async with asyncio.timeout(settings.browser_start_timeout):
                return await asyncio.shield(starting)
    except BaseException:
        await _give_up(starting, words, settings)
        raise


async def _stop(playwright: Playwright, settings: Settings) -> None:
    with contextlib.suppress(PlaywrightError, TimeoutError):
        async with asyncio.timeout(settings.browser_stop_timeout):
            await playwright.stop()


async def _give_up(starting: asyncio.Future[Playwright], words: _Words, settings: Settings) -> None:
    """Stop a driver that has just come up all the same, kill one that hangs: nobody else knows of it."""
    await asyncio.wait([starting], timeout=settings.browser_stop_timeout)
    if not starting.done():
        await _reaped(words.kill_writers())
        await asyncio.wait([starting], timeout=_WORDS_TIMEOUT)
        starting.cancel()
    (outcome,) = await asyncio.gather(starting, return_exceptions=True)
    if not isinstance(outcome, BaseException):
        await _stop(outcome, settings)


async def _reaped(processes: list[int]) -> None:
    """Wait until the event loop knows that they are dead, so that nothing of them is left when it closes."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_WORDS_TIMEOUT):
            while not set(processes).isdisjoint(_children()):  # noqa: ASYNC110 - the loop tells only Playwright
                await asyncio.sleep(_LOOK_PAUSE)
            await asyncio.sleep(_LOOK_PAUSE)


async def _explained(error: Exception, lines: list[str], settings: Settings) -> BrowserError:
    """Return the error for a driver that does not start: what the kernel or the program itself says, and what to do."""
    cause = error if isinstance(error, OSError) else error.__context__
    if isinstance(cause, OSError) and not isinstance(error, TimeoutError):
        reason, hint = _refused(cause)
    else:
        reason, hint = _ended(error, lines, settings)
        if libraries := await missing_libraries(lines):
            hint = how_to_get(libraries)
    return BrowserError(f"{_NAME} did not start: {reason}", hint=hint)


def _refused(error: OSError) -> tuple[str, str | None]:
    """Return why the kernel starts no such program, and what to do."""
    reason = error.strerror or str(error)
    if not isinstance(error.filename, str):
        return reason, _HINTS.get(error.errno or 0)
    if error.errno == errno.ENOENT and Path(error.filename).exists():
        reason = "its loader or interpreter is missing; it was built for another system"
    return f"{error.filename}: {reason}", _HINTS.get(error.errno or 0, _BY_HAND).format(error.filename)


def _ended(error: Exception, lines: list[str], settings: Settings) -> tuple[str, str | None]:
    """Return what became of a program that was started, and what to do."""
    if isinstance(error, TimeoutError):
        return too_late(settings), None
    if isinstance(error, PlaywrightError) and "Node.js" in str(error):
        return str(error).partition(". ")[0], _REINSTALL
    return reason_in(lines) or _SAID_NOTHING, _BY_HAND.format(_node())


def too_late(settings: Settings) -> str:
    """Return the reason for what did not answer within ``browser_start_timeout``."""
    seconds = settings.browser_start_timeout
    return f"no answer in {seconds:g} s (MEETA_BROWSER_START_TIMEOUT gives it longer)"


def _node() -> str:
    """Return the program that Playwright's package brings; another may be named."""
    return str(Path(playwright.__file__).parent / "driver" / "node")


def _expect_its_errors() -> None:
    """Have the event loop not complain of errors that Playwright keeps for whoever asks: calls tell us of them."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    if before is not None and getattr(before, "knows_driver", False):
        return

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if _is_expected(context):
            return
        if before is None:
            loop.default_exception_handler(context)
        else:
            before(loop, context)

    handle.knows_driver = True  # type: ignore[attr-defined]
    loop.set_exception_handler(handle)


def _is_expected(context: dict[str, Any]) -> bool:
    error = context.get("exception")
    is_kept = "never retrieved" in context["message"]
    return is_kept and (isinstance(error, PlaywrightError) or str(error).endswith("reading from the driver"))


class _Words(asyncio.Protocol):
    """Standard error of the driver: read as it comes, and the newest of it kept."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._over = asyncio.Event()
        self._when_over: Callable[[], None] | None = None
        self._transport: asyncio.ReadTransport | None = None
        self._writing: int | None = None
        self._pipe: tuple[int, int] | None = (
            None  # its device and number, by which other processes are known that have it
        )

    async def open(self) -> None:
        """Open the pipe.

        :raises OSError: this process has too many files open.
        """
        reading, self._writing = os.pipe()
        self._pipe = _identity(os.fstat(self._writing))
        pipe = os.fdopen(reading, "rb", buffering=0)
        self._transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: self, pipe)

    @contextlib.contextmanager
    def taken_from_standard_error(self) -> Iterator[None]:
        """Have what Playwright starts within the block write here: it gives its driver our standard error."""
        before = sys.stderr
        stand_in = sys.stderr = cast("TextIO", _StandIn(before, self._writing))
        try:
            yield
        finally:
            if sys.stderr is stand_in:
                sys.stderr = before
            self._let_go()

    def _let_go(self) -> None:
        if self._writing is not None:
            os.close(self._writing)
            self._writing = None

    def data_received(self, data: bytes) -> None:
        """Keep the newest."""
        self._kept += data
        del self._kept[:-_KEPT_BYTES]

    def eof_received(self) -> None:
        """Note that whoever could write is gone."""
        self._over.set()
        if self._when_over is not None:
            call, self._when_over = self._when_over, None
            call()

    def when_over(self, call: Callable[[], None]) -> None:
        """Call this when nobody can write any more; not when we read no more."""
        self._when_over = call
        if self._over.is_set():
            self.eof_received()

    @property
    def is_over(self) -> bool:
        """True when nobody can write any more."""
        return self._over.is_set()

    async def all(self) -> list[str]:
        """Return the lines, all that there will be if the driver is gone."""
        if self._transport is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WORDS_TIMEOUT):
                    await self._over.wait()
        return self._kept.decode(errors="replace").splitlines()

    def kill_writers(self) -> list[int]:
        """Kill programs that we started and that still have it: a driver that hangs. Return which."""
        killed = []
        for child in _children():
            with contextlib.suppress(OSError):
                if _identity(Path(f"/proc/{child}/fd/2").stat()) == self._pipe:
                    os.kill(child, signal.SIGKILL)
                    killed.append(child)
        return killed

    def close(self) -> None:
        """Read no more. Safe to call twice."""
        self._let_go()
        if self._transport is not None:
            self._transport.close()


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _children() -> list[int]:
    """Return the processes that this one started and that are there; none where the kernel does not tell."""
    found: list[int] = []
    for task in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, task.read_text().split())
    return found


class _StandIn:
    """Standard error for everybody in this process, and another file for programs that inherit it."""

    closed = False

    def __init__(self, real: TextIO, descriptor: int | None) -> None:
        self._real = real
        self._descriptor = descriptor

    def fileno(self) -> int | None:
        """Return the file for other programs."""
        return self._descriptor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

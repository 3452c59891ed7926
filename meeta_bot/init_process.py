"""Init, where orphans come to this process: as process 1 of a container, or as a subreaper.

When Chromium dies, its zygotes, renderers and helpers are nobody's children any more. Who gets them has to ask for
their exit statuses, or each stays as a zombie. But whoever asks for all statuses takes those away that asyncio and
Playwright wait for. So the program runs in a child, which no orphan comes to, and what is left here asks, and passes
signals on.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_PR_GET_CHILD_SUBREAPER = 37

# What a person or a supervisor sends to a process. A terminal sends its own to the child as well.
_PASSED_ON = frozenset(
    {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT}
)


def divide() -> None:
    """Return at once where no orphans come to; else return in a child, and be its init here until it ends."""
    if not _gets_orphans():
        return
    awaited = {*_PASSED_ON, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    init = os.getpid()
    child = os.fork()
    if child:
        _watch(child, awaited)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))  # who kills init means the program
    if os.getppid() != init:  # it is dead already
        os._exit(128 + signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _gets_orphans() -> bool:
    if os.getpid() == 1:
        return True
    prctl = getattr(ctypes.CDLL(None), "prctl", None)  # only Linux has it
    answer = ctypes.c_int(0)
    return prctl is not None and prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(answer)) == 0 and answer.value == 1


def _watch(child: int, awaited: set[signal.Signals]) -> NoReturn:
    """Reap every process that ends and pass signals on to `child`; end as it ends."""
    while True:
        received = signal.sigwaitinfo(awaited)
        if received.si_signo == signal.SIGCHLD:
            if (status := _reap(child)) is not None:
                _end(status)
        elif received.si_code <= 0:  # sent by a process; what the kernel sends for a terminal, it sends to all in front
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, received.si_signo)


def _reap(child: int) -> int | None:
    """Ask for the statuses of all that have ended; return that of `child` if it is among them."""
    found = None
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == child:
                found = ended[1]
    return found


def _end(status: int) -> NoReturn:
    """End with the status of the child: its exit code, or the signal that it died of."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:  # which has no handler
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        os.kill(os.getpid(), number)  # process 1 does not die of it
        os._exit(128 + number)
    os._exit(os.WEXITSTATUS(status))

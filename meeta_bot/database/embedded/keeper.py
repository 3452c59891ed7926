"""The keeper, a process that starts the embedded PostgreSQL, and stops it when nobody uses it any more.

Run by path with the standard library only (`embedded` says how), so that it starts in milliseconds and stays
small. It detaches from whoever starts it. Arguments: one JSON object, the fields of `Order`.

Every command that uses the server holds a shared lock on `users`. The kernel drops it however that command ends,
SIGKILL included, so an exclusive lock on it says for certain that nobody is left. As long as this process lives
it holds `alive`. The server goes down with it (PDEATHSIG), for nobody else would ever stop it.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, TypedDict

POLL = 0.1  # seconds between two checks; how long a server outlives its last user
STOP_TIMEOUT = 30.0  # seconds for a fast shutdown; then an immediate one, which costs a recovery, no data
LOG_LIMIT = 4 * 2**20  # bytes of log; then it begins anew
HANDOVER = 1.0  # seconds that the keeper before gets to notice that its server died, and to go
EXIT_BUSY = 3  # another process keeps the server already
_PR_SET_PDEATHSIG = 1


class Order(TypedDict):
    """The server to run and the files to check. `user` and `group` are ids, or null to stay who we are."""

    command: list[str]
    users: str
    alive: str
    keep: str
    log: str
    user: int | None
    group: int | None


def _take(path: str, how: int) -> int | None:
    """Return a descriptor that holds the lock `how` on a file; None when somebody else's is in the way."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _start(order: Order) -> subprocess.Popen[bytes]:
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def die_with_us() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT))  # after the change of user, which resets it

    identity: dict[str, Any] = {}
    if order["user"] is not None:
        identity = {"user": order["user"], "group": order["group"], "extra_groups": []}
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(
            order["command"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={"LC_ALL": "C", "PATH": os.defpath},
            start_new_session=True,
            preexec_fn=die_with_us,  # noqa: PLW1509 - one thread
            **identity,
        )
    finally:
        os.close(log)


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGINT)
    try:
        server.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        server.send_signal(signal.SIGQUIT)
        server.wait()


def _supervise(order: Order, server: subprocess.Popen[bytes]) -> None:
    """Supervise the server until it has ended, by itself or because nobody uses it."""
    while server.poll() is None:
        time.sleep(POLL)
        if not Path(order["keep"]).exists():
            # Held until this process ends: who comes now waits, then starts a server of its own.
            unused = _take(order["users"], fcntl.LOCK_EX)
            if unused is not None:
                _stop(server)
                return
        log = Path(order["log"])
        if log.stat().st_size > LOG_LIMIT:
            os.truncate(log, 0)


def main(argument: str) -> int:
    """Detach, start the server and supervise it. Returns at once in the process that was called."""
    order: Order = json.loads(argument)
    deadline = time.monotonic() + HANDOVER
    while _take(order["alive"], fcntl.LOCK_EX) is None:  # never closed: it is held until this process ends
        if time.monotonic() > deadline:
            return EXIT_BUSY
        time.sleep(POLL / 10)
    if os.fork():
        return 0  # the lock goes with the child, so who called knows from now on that a keeper lives
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # meant for commands; those let go of their locks
    _supervise(order, _start(order))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

"""Where orphans come to: they are reaped, signals arrive, and the program's own children keep their statuses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.stack.process_tree import AS_SUBREAPER

WAIT_SECONDS = 30
AS_PROCESS_1 = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
WAYS = {"subreaper": AS_SUBREAPER, **({"process 1": AS_PROCESS_1} if os.geteuid() == 0 else {})}

HEAD = """
import os, signal, subprocess, sys, time
from pathlib import Path
from meeta_bot import init_process
init_process.divide()
"""
# A child of its own, whose children outlive it for a moment.
ORPHANS = """
shell = "for i in 1 2 3; do sh -c 'echo $$; exec sleep 0.2' & done; exit 7"
parent = subprocess.Popen(["sh", "-c", shell], stdout=subprocess.PIPE, text=True)
orphans = parent.stdout.read().split()
assert parent.wait() == 7
assert len(orphans) == 3
until = time.monotonic() + 20
while any(Path(f"/proc/{one}").exists() for one in orphans):  # a zombie is there for as long as nobody asks for it
    assert time.monotonic() < until, "zombies"
    time.sleep(0.02)
print("reaped by", os.getppid() != os.getpid())
sys.exit(5)
"""
SIGNALS = """
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
signal.signal(signal.SIGHUP, lambda *_: print("hung up", flush=True))
print("ready", flush=True)
while True:
    time.sleep(0.05)  # what comes just before it would otherwise wait for its end
"""


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return WAYS[str(request.param)]


def _start(way: tuple[str, ...], text: str) -> subprocess.Popen[str]:
    command = [*way, sys.executable, "-c", HEAD + text]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_orphans_are_reaped_and_the_program_s_own_children_are_left_to_it(way: tuple[str, ...]) -> None:
    running = _start(way, ORPHANS)
    out, err = running.communicate(timeout=WAIT_SECONDS)
    assert (out, err, running.returncode) == ("reaped by True\n", "", 5)


def test_signals_are_passed_on() -> None:
    running = _start(AS_SUBREAPER, SIGNALS)
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    running.send_signal(signal.SIGHUP)
    assert running.stdout.readline() == "hung up\n"
    running.send_signal(signal.SIGTERM)
    assert running.wait(WAIT_SECONDS) == 3


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGABRT])
def test_a_program_that_dies_of_a_signal_is_told_so(number: signal.Signals) -> None:
    running = _start(AS_SUBREAPER, f"os.kill(os.getpid(), {int(number)}); time.sleep(30)")
    assert running.wait(WAIT_SECONDS) == -number


def test_who_kills_init_kills_the_program() -> None:
    running = _start(AS_SUBREAPER, "print(os.getpid(), flush=True); time.sleep(300)")
    assert running.stdout is not None
    running.stdout.readline()
    running.kill()
    assert running.communicate(timeout=WAIT_SECONDS)[0] == ""  # its end of the pipe is closed: it is gone


def test_elsewhere_the_program_is_the_process_that_was_started() -> None:
    running = _start((), "print(os.getpid())")
    out, err = running.communicate(timeout=WAIT_SECONDS)
    assert (out, err) == (f"{running.pid}\n", "")

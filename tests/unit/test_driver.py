"""Playwright's driver that does not start, whatever keeps it from it: one line, what to do, and nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
from pathlib import Path

import pytest

from meeta_bot.capture.browser.driver import Driver
from meeta_bot.errors import BrowserError
from tests.stack.process_tree import descendants
from tests.unit.builders import settings

LOADER = (
    "error while loading shared libraries: libatomic.so.1: cannot open shared object file: No such file or directory"
)
MUSL = "Error loading shared library libstdc++.so.6: No such file or directory (needed by /opt/node)"
OLD = "/opt/node: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.28' not found (required by /opt/node)"


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Playwright looks for Node.js; nothing is there yet."""
    path = tmp_path / "node"
    monkeypatch.setenv("PLAYWRIGHT_NODEJS_PATH", str(path))
    return path


def write(path: Path, text: str, mode: int = 0o755) -> None:
    path.write_text(text)
    path.chmod(mode)


async def refusal(**changes: float) -> BrowserError:
    """The error of a driver that does not start; nothing of it is left."""
    with pytest.raises(BrowserError) as problem:
        await Driver.start(settings(browser_stop_timeout=1, **changes))
    gc.collect()  # an error that nobody asked for would be told now
    await asyncio.sleep(0)
    assert not [line for _, line in descendants(os.getpid()) if "run-driver" in line]
    return problem.value


def started_by_a_shell(text: str) -> str:
    return f"#!/bin/sh\n{text}\n"


@pytest.mark.parametrize(
    ("text", "says", "to_do"),
    [
        (
            f"echo 'node: {LOADER}' >&2; exit 127",
            f"node: {LOADER}",
            "install it; on Debian: apt-get install libatomic1",
        ),
        (f"echo '{MUSL}' >&2; exit 127", MUSL, "install it; on Debian: apt-get install libstdc++6"),
        (f'echo "{OLD.replace("`", chr(92) + "`")}" >&2; exit 1', OLD, "try it by hand"),
        ("echo 'node: bad option: --x' >&2; exit 9", "node: bad option: --x", "try it by hand"),
        (
            "echo 'FATAL ERROR: Reached heap limit - JavaScript heap out of memory' >&2; kill -ABRT $$",
            "FATAL ERROR",
            "try",
        ),
        ("exit 0", "it ended without a word", "try it by hand"),
        ("exit 3", "it ended without a word", "try it by hand"),
        ("kill -KILL $$", "it ended without a word", "try it by hand"),
        ("echo usage; exit 2", "it ended without a word", "try it by hand"),
    ],
)
async def test_one_that_dies_at_once_says_why(
    text: str, says: str, to_do: str, node: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write(node, started_by_a_shell(text))
    problem = await refusal()
    assert str(problem).startswith(f"Playwright's driver did not start: {says}")
    assert (problem.hint or "").startswith(to_do)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("text", "mode", "says", "to_do"),
    [
        (None, 0, "No such file or directory", "install it anew"),
        ("#!/bin/sh\nexit 0\n", 0o644, "Permission denied", "make it executable"),
        ("\x7fELF and no more", 0o755, "Exec format error", "install it anew"),
        ("#!/no/such/interpreter\n", 0o755, "its loader or interpreter is missing", "install it anew"),
    ],
)
async def test_one_that_the_kernel_does_not_start_is_told_with_its_place(
    text: str | None, mode: int, says: str, to_do: str, node: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        write(node, text, mode)
    problem = await refusal()
    assert str(problem).startswith(f"Playwright's driver did not start: {node}: {says}")
    assert (problem.hint or "").startswith(to_do)
    assert capfd.readouterr() == ("", "")


def lacking_its_c_library(node: Path) -> None:
    """Put a program there that looks for a library that there is not."""
    program = Path(shutil.which("ls") or "").read_bytes()
    node.write_bytes(program.replace(b"libc.so.6\0", b"libq.so.6\0"))
    node.chmod(0o755)


async def test_the_loader_s_own_words(node: Path) -> None:
    lacking_its_c_library(node)
    problem = await refusal()
    assert "error while loading shared libraries: libq.so.6: cannot open shared object file" in str(problem)
    assert problem.hint == "install it; on Debian: apt-get install libq6"


async def test_real_node_with_options_that_it_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_OPTIONS", "--nonsense")
    problem = await refusal()
    assert str(problem).endswith("--nonsense is not allowed in NODE_OPTIONS")
    assert "NODE_OPTIONS" in (problem.hint or "")


async def test_one_that_hangs_is_killed(node: Path) -> None:
    write(node, started_by_a_shell("exec sleep 600 # run-driver"))
    with pytest.raises(BrowserError, match=r"no answer in 0.2 s \(MEETA_BROWSER_START_TIMEOUT gives it longer\)"):
        await Driver.start(settings(browser_start_timeout=0.2, browser_stop_timeout=0.2))
    assert not [line for _, line in descendants(os.getpid()) if "sleep 600" in line]


@pytest.mark.parametrize("seconds", [0, 0.05, 0.2])
async def test_a_start_that_is_given_up_leaves_nothing(seconds: float) -> None:
    starting = asyncio.create_task(Driver.start(settings()))
    await asyncio.sleep(seconds)  # what is tested is that it is under way
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not [line for _, line in descendants(os.getpid()) if "run-driver" in line]


async def test_one_that_is_well_leaves_standard_error_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    import sys

    before = sys.stderr
    driver = await Driver.start(settings())
    assert sys.stderr is before
    assert not driver.has_ended
    await driver.stop()
    assert not [line for _, line in descendants(os.getpid()) if "run-driver" in line]
    assert capfd.readouterr() == ("", "")


async def test_one_that_is_killed_later_is_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    driver = await Driver.start(settings())
    (pid,) = [pid for pid, line in descendants(os.getpid()) if "run-driver" in line]
    os.kill(pid, 9)
    assert await asyncio.wait_for(driver.why_it_ended(), 10) == (
        "Playwright's driver ended: it ended without a word, as one that is killed for want of memory"
    )
    await driver.stop()
    del driver
    gc.collect()
    assert capfd.readouterr() == ("", "")

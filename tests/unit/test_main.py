"""``meeta-bot`` before it has begun: Ctrl-C while it is being imported."""

from __future__ import annotations

import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
# Ctrl-C comes when typer is about to be imported; then the program that pyproject.toml names is begun.
PROGRAM = """
import signal, sys
from importlib.metadata import EntryPoint

class Impatient:
    def find_spec(self, name, *_):
        if name == "typer":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Impatient())
signal.signal(signal.SIGINT, {handler})
sys.argv = ["meeta-bot", "--version"]
EntryPoint("meeta-bot", "{entry}", "console_scripts").load()()
"""


@pytest.mark.parametrize(
    ("handler", "code"), [("signal.default_int_handler", -signal.SIGINT), ("signal.SIG_IGN", 0)], ids=["asked", "nohup"]
)
def test_ctrl_c_during_the_imports_ends_the_process_quietly_unless_it_is_ignored(handler: str, code: int) -> None:
    entry = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["scripts"]["meeta-bot"]
    program = PROGRAM.format(entry=entry, handler=handler)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (code, b"")

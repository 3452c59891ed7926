"""Errors that nobody expected: exit code 70, one line, and the details where it says; never 1, which refutes."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from meeta_bot import cli, crash_report

COMMANDS = [
    ("record", "https://meet.example.org/Room"),
    ("doctor",),
    ("meetings",),
    ("timeline",),
    ("participants",),
    ("events",),
    ("export",),
    ("verify",),
    ("schema",),
    *(("db", name) for name in ("upgrade", "status", "rebuild", "url", "shell", "start", "stop")),
    *(("spool", name) for name in ("flush", "status")),
]
# Every command loads settings but one, which prints the schema of events; both fail in a way that nobody thought of.
BROKEN = """
import sys
from meeta_bot import cli, events, settings

def fails(*_, **__):
    raise RuntimeError("unthought of")

breaks = (settings.load, events.json_schema)
for module in list(sys.modules.values()):
    for name, part in list(vars(module).items()):
        if any(part is one for one in breaks):
            setattr(module, name, fails)
sys.argv = ["meeta-bot", *{arguments!r}]
cli.main()
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def _kept(folder: Path) -> Path:
    return folder / f"meeta-bot-{os.geteuid()}-error.txt"


@pytest.mark.parametrize("error", ["ZeroDivisionError('jwt=hush')", "OSError(24, 'Too many open files')"])
def test_an_error_that_nobody_expected_is_one_line_and_70(
    error: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fails(**_: object) -> None:
        raise eval(error)  # noqa: S307 - a test's own text

    monkeypatch.setattr(cli, "app", fails)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 70
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert said[0].startswith(f"error: Internal error: {error.partition('(')[0]} at ")
    assert said[1] == f"hint:  please report it, with what is in {_kept(tmp_path)}"
    text = _kept(tmp_path).read_text()
    assert "Traceback" in text
    assert "hush" not in text
    assert stat.S_IMODE(_kept(tmp_path).stat().st_mode) == 0o600


def test_the_details_of_the_last_one_take_the_place_of_those_before(tmp_path: Path) -> None:
    for number in range(3):
        crash_report.report(ValueError(f"number {number}"))
    assert [path.name for path in tmp_path.iterdir()] == [_kept(tmp_path).name]
    assert "number 2" in _kept(tmp_path).read_text()


def test_where_no_disk_takes_the_details_they_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "mkstemp", full)
    assert "number 1" in (crash_report.report(ValueError("number 1")).hint or "")


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_no_command_ends_with_the_code_of_a_refuted_log_for_an_error_of_our_own(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    program = BROKEN.format(arguments=list(arguments))
    environment = {**os.environ, "TMPDIR": str(tmp_path), "MEETA_DATA_DIRECTORY": str(tmp_path / "data")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == 70, done.stderr


def test_a_package_that_can_t_be_imported_is_no_traceback_either(tmp_path: Path) -> None:
    program = """
import sys
class Broken:
    def find_spec(self, name, *_):
        if name == "greenlet":
            raise ImportError("libstdc++.so.6: cannot open shared object file: No such file or directory")
sys.meta_path.insert(0, Broken())
sys.argv = ["meeta-bot", "doctor"]
from meeta_bot.__main__ import main
main()
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 70
    assert "libstdc++.so.6: cannot open shared object file" in done.stderr.splitlines()[0]
    assert len(done.stderr.splitlines()) == 2

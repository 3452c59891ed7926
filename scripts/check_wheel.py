"""``make wheel``: the wheel works alone.

Builds it, installs it into an environment of its own, and there migrates an embedded PostgreSQL and prints the
schema. So a statement, a hook file or a requirement that only the checkout has is found.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
NEEDED = ("meeta_bot/sql/migrations/0001_tables.sql", "meeta_bot/capture/browser/hook/join.js")


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Standard output of a command; its errors end this program."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def constraints(folder: Path) -> Path:
    """The pinned versions without their hashes, which the wheel itself can't have."""
    pins = re.findall(r"^[A-Za-z0-9_.-]+==\S+", (REPOSITORY / "requirements.txt").read_text(encoding="utf-8"), re.M)
    path = folder / "constraints.txt"
    path.write_text("\n".join(pins) + "\n", encoding="utf-8")
    return path


def main() -> None:
    """Run the check."""
    with tempfile.TemporaryDirectory(prefix="meeta-wheel-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the embedded PostgreSQL does not run as root, and reads its programs from here
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, cwd=REPOSITORY)
        (wheel,) = folder.glob("*.whl")
        listing = run(sys.executable, "-m", "zipfile", "-l", wheel, cwd=folder)
        missing = [path for path in NEEDED if path not in listing]
        if missing:
            sys.exit(f"The wheel lacks {', '.join(missing)}")
        venv.create(folder / "venv", with_pip=True)
        python = folder / "venv/bin/python"
        quiet = ("-q", "--disable-pip-version-check")
        run(python, "-m", "pip", "install", *quiet, "-c", constraints(folder), wheel, cwd=folder)
        program = folder / "venv/bin/meeta-bot"
        environment = {"MEETA_DATA_DIRECTORY": str(folder / "data"), "PYTHONPATH": ""}
        json.loads(run(program, "schema", cwd=folder, **environment))
        run(program, "db", "upgrade", cwd=folder, **environment)
        status = json.loads(run(program, "db", "status", "--json", cwd=folder, **environment))
        if status["pending"] or not status["applied"]:
            sys.exit(f"The wheel did not migrate: {status}")
        print(f"{wheel.name}: installed alone, migrated, printed its schema")


if __name__ == "__main__":
    main()

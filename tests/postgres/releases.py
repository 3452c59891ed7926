"""The program as it was at each migration, so that tests can upgrade a database as its users did."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from meeta_bot import settings
from meeta_bot.database import migrations, sqlfiles

ROOT = Path(__file__).resolve().parent.parent.parent / "sql"
FORMER = Path(__file__).with_name("former")
_SETTINGS = settings.load()


class Release(NamedTuple):
    """What one version of the program brings."""

    migrations: list[tuple[int, str, str]]
    definitions: tuple[sqlfiles.Definition, ...]


def releases(root: Path = ROOT, former: Path = FORMER) -> list[Release]:
    """Return one for each migration of `root`, in order; the last one is the program as it is.

    Functions and views are those of today, unless `former` has them as they were at that migration or a later one:
    ``former/0001/views/timeline.sql``. An empty file there says that there was none yet.
    """
    steps = sqlfiles.migrations(root)
    return [
        Release(steps[: place + 1], _definitions(root, former, number)) for place, (number, _, _) in enumerate(steps)
    ]


def _definitions(root: Path, former: Path, number: int) -> tuple[sqlfiles.Definition, ...]:
    texts = {definition.name: definition.text for definition in sqlfiles.definitions(root)}
    kept = [folder for folder in former.glob("[0-9]*") if int(folder.name) >= number]
    for folder in sorted(kept, reverse=True):  # the earliest comes last, and holds
        for file in folder.glob("*/*.sql"):
            texts[f"{file.parent.name}/{file.stem}"] = file.read_text(encoding="utf-8")
    return sqlfiles.in_order([sqlfiles.Definition(name, text) for name, text in sorted(texts.items()) if text.strip()])


def install(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this program that one."""
    monkeypatch.setattr(sqlfiles, "migrations", lambda: release.migrations)
    monkeypatch.setattr(sqlfiles, "definitions", lambda: release.definitions)


async def upgrade(url: str, release: Release, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Install `release`, for good, and upgrade the database at `url` with it."""
    install(release, monkeypatch)
    return await migrations.upgrade(url, _SETTINGS)

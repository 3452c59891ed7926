"""What a benchmark returns, and the page in docs/ that keeps it."""

from __future__ import annotations

import os
import platform
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "performance.md"


@dataclass(frozen=True)
class Table:
    """Rows of text under columns; `caption` says what the figures are and in which unit."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        lines = [self.caption, "", _row(self.columns), _row("---" for _ in self.columns)]
        return "\n".join([*lines, *map(_row, self.rows)])


@dataclass(frozen=True)
class Target:
    """A figure that was promised, and the one that was measured."""

    promise: str
    measured: str
    reached: bool


@dataclass
class Section:
    """One benchmark's result. `text` says what was done and how to read it."""

    title: str
    text: str
    tables: list[Table] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    def markdown(self) -> str:
        parts = [f"## {self.title}", self.text.strip(), *(table.markdown() for table in self.tables)]
        if self.targets:
            rows = [(target.promise, target.measured, "yes" if target.reached else "no") for target in self.targets]
            parts.append(Table("To reach:", ("promise", "measured", "reached"), rows).markdown())
        return "\n\n".join(parts)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def median(values: Sequence[float]) -> float:
    """The middle of several rounds."""
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of `values` do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def machine() -> str:
    """One line about where this runs."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {system}"


def keep(name: str, section: Section, command: str) -> None:
    """Put a section into its place in docs/performance.md, between its markers."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    block = f"{begin}\n{section.markdown()}\n\n`{command}` on {machine()}.\n{end}"
    page = PAGE.read_text(encoding="utf-8")
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"{PAGE.name} has no place for {name}")
    PAGE.write_text(pattern.sub(lambda _: block, page), encoding="utf-8")

"""What the command line says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """`runs` is how often each fault is injected, None for what the form says; `only` a part of a fault's name."""

    seed: int
    runs: int | None = None
    short: bool = False
    keep: bool = False
    only: str = ""

    def count(self, name: str, short: int, long: int) -> int:
        """How often the fault of that name is injected."""
        if self.only not in name:
            return 0
        return self.runs or (short if self.short else long)

    @property
    def rounds(self) -> int:
        """How many captures are tampered with in each way."""
        return 2 if self.short else 20

"""One difference between two environments, and how much it matters."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Level"]


class Level(StrEnum):
    """How much a difference matters; the worst first."""

    ERROR = "error"
    """Jobs would fail, or worse, run something else than was meant."""
    WARNING = "warning"
    """It may matter."""
    NOTE = "note"
    """Good to know."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference between two environments.

    Attributes:
        level: How much it matters.
        distribution: What differs.
        client: The client's version.
        worker: The worker's version.
        reason: Why it matters.
        remedy: What to type, and where.
    """

    level: Level
    distribution: str
    client: str
    worker: str
    reason: str
    remedy: str

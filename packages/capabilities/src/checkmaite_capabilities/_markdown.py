"""Markdown that says what was meant, whatever the names in it hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

__all__ = ["bar", "escape", "number", "percent", "seconds", "table"]

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+\-.!|~&$:])")
_LONGEST = 120
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def escape(text: str) -> str:
    """Text as Markdown shows it letter for letter: one line, at most 120 characters, no markup, no HTML."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(line) > _LONGEST:
        line = line[: _LONGEST - 1] + "…"
    # An entity is safe also where a backslash is not: inside a table's cell, and before a renderer's extensions.
    return _SPECIAL.sub(lambda match: f"&#{ord(match[1])};" if match[1] in "<>&|`$:" else "\\" + match[1], line)


def number(value: float | None, digits: int = 3) -> str:
    """A figure, or a dash where it is not defined."""
    return "-" if value is None else f"{value:.{digits}f}"


def percent(value: float | None) -> str:
    """A share in per cent, or a dash where it is not defined."""
    return "-" if value is None else f"{100 * value:.1f} %"


def seconds(value: float | None) -> str:
    """A time in a unit that reads well, or a dash where it is not defined."""
    if value is None:
        return "-"
    if value >= 1:
        return f"{value:.2f} s"
    return f"{value * 1e3:.2f} ms" if value >= 1e-3 else f"{value * 1e6:.0f} µs"


def bar(share: float | None, width: int = 20) -> str:
    """A bar of block characters for a share from 0 to 1."""
    if share is None:
        return ""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """A table.

    Args:
        head: Titles of the columns.
        rows: Cells, already escaped.
        left: How many columns, from the first, hold text and are set to the left; figures are set to the right.
    """
    rule = [":--" if column < left else "--:" for column in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *rows))

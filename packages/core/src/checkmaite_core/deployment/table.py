"""Differences as one table of text, for errors, warnings and terminals."""

from __future__ import annotations

import re
from collections.abc import Sequence

from checkmaite_core.deployment.finding import Finding

__all__ = ["findings_table"]


def findings_table(findings: Sequence[Finding], *, worker: str = "worker") -> str:
    """The findings as a table, a line for each, under one header.

    Args:
        findings: Such as :func:`compare_environments` returns; shown in that order.
        worker: What the worker's column is called, such as a node's name.
    """
    rows: list[tuple[str, ...]] = [("", "distribution", "client", worker, "why it matters", "what to type")]
    rows += [
        (item.level.value, item.distribution, item.client, item.worker, item.reason, item.remedy) for item in findings
    ]
    rows = [tuple(map(_on_one_line, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _on_one_line(cell: str) -> str:
    """What stands in foreign metadata must neither break the table nor act on a terminal."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", "?", cell)

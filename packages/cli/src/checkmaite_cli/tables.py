"""Answers for people: a table that fits the terminal, and says what it leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from checkmaite_cli.console import plain
from checkmaite_cli.output import cell_text

__all__ = ["new_table", "print_table"]

WIDEST_CELL = 60
"""Cells of an answer are cut to this many columns of the terminal."""
_BETWEEN = 2


def new_table(**options: Any) -> Table:
    """An empty table in the style of this command: a rule under the header, and nothing else."""
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _BETWEEN - 1, 0, 0), **options)


def print_table(console: Console, names: Sequence[str], rows: Sequence[Sequence[Any]], *, total: int) -> None:
    """Print rows, and below them what is not shown.

    Args:
        console: Where to.
        names: The columns' names.
        rows: The rows to show.
        total: How many rows the answer has.
    """
    texts = [[_show(value) for value in row] for row in rows]
    widths = [
        max([cell_len(plain(name)), *(min(cell_len(row[position]), WIDEST_CELL) for row in texts)])
        for position, name in enumerate(names)
    ]
    fitting = _fitting(widths, console.width)
    table = new_table()
    for position in range(fitting):
        numeric = all(isinstance(row[position], int | float | Decimal | None) for row in rows)
        table.add_column(
            Text(plain(names[position])), justify="right" if numeric else "left", no_wrap=True, max_width=WIDEST_CELL
        )
    for row in texts:
        table.add_row(*map(Text, row[:fitting]))
    console.print(table)
    console.print(_footer(names[fitting:], shown=len(rows), total=total), style="dim", soft_wrap=True)


def _fitting(widths: Sequence[int], room: int) -> int:
    """How many columns fit beside each other; one at least."""
    used = 0
    for position, width in enumerate(widths):
        used += width + (_BETWEEN if position else 0)
        if used > room and position:
            return position
    return len(widths)


def _footer(hidden: Sequence[str], *, shown: int, total: int) -> str:
    lines = [f"{total} row{'' if total == 1 else 's'}"]
    if shown < total:
        lines[0] = f"the first {shown} of {total} rows; --limit {total} shows all"
    if hidden:
        columns = "column does" if len(hidden) == 1 else "columns do"
        lines.append(f"{len(hidden)} more {columns} not fit: {', '.join(map(plain, hidden))}")
        lines.append("(name the columns you want in the SELECT, or use --format csv or json)")
    return "\n".join(lines)


def _show(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        value = value.replace(microsecond=0)
    return plain(cell_text(value))

"""The end of the demo: what the store answers, and what to type next."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from checkmaite_cli.console import plain
from checkmaite_cli.demo import questions
from checkmaite_cli.tables import new_table

if TYPE_CHECKING:
    from checkmaite_analytics_store import AnalyticsStore
    from checkmaite_cli.demo.plan import Plan

__all__ = ["show_answers", "show_next_commands"]

_LOW, _VERY_LOW = 0.8, 0.6
"""Accuracies below these are shown in yellow and red."""


def show_answers(console: Console, store: AnalyticsStore, plan: Plan) -> None:
    """Ask the store and show the robustness table and the state of the data.

    Raises:
        StoreError: The store cannot be read.
    """
    sql = questions.robustness(plan.models)
    console.print("Accuracy of each model on each kind of test images:", style="bold")
    console.print()
    table = new_table()
    table.add_column("images")
    for model in plan.models:
        table.add_column(model.replace("-", "-\n"), justify="right")
    for row in store.query(sql).to_pylist():
        table.add_row(plain(row["images"]), *(_accuracy(row[model]) for model in plan.models))
    console.print(table)
    console.print()
    console.print("It comes from the store, which was asked:", style="bold")
    console.print()
    console.print(Text(textwrap.indent(sql, "  "), style="dim"), soft_wrap=True)
    console.print()
    for row in store.query(questions.QUALITY).to_pylist():
        console.print(Text.assemble(("Quality of the data: ", "bold"), _quality(row)))
        console.print()


def show_next_commands(
    console: Console, store: AnalyticsStore, command: str, location: str, report_of: str, scope: str | None
) -> None:
    """Say how much the store holds, and commands that go on from here.

    Args:
        console: Where to.
        store: The store.
        command: How this program is called.
        location: The store, as it is typed.
        report_of: Event whose report is worth reading.
        scope: Whose jobs are in the ledger; None if the backend keeps none.

    Raises:
        StoreError: The store cannot be read.
    """
    [held] = store.query(questions.HISTORY).to_pylist()
    console.print(
        Text.assemble(
            ("The store ", "bold"),
            f"is {plain(location)}: {held['results']} results, from {held['runs']} runs so far.",
        ),
        soft_wrap=True,
    )
    console.print()
    console.print("Go on with:", style="bold")
    lines = [
        f'query --store {location} "{questions.CONFUSIONS}"',
        f"report --store {location} {report_of}",
        f"runs --store {location}",
    ]
    if scope is not None:
        lines.append(f"jobs list --store {location} --scope {scope}")
    for line in lines:
        console.print(Text(f"  {plain(command)} {plain(line)}", style="cyan"), soft_wrap=True)


def _accuracy(value: float | None) -> Text:
    if value is None:
        return Text("-")
    return Text(f"{value:.3f}", style="red" if value < _VERY_LOW else "yellow" if value < _LOW else "")


def _quality(row: dict[str, Any]) -> str:
    evenness = "" if row["label_evenness"] is None else f" (evenness {row['label_evenness']:.2f})"
    return (
        f"{row['images']:,} scans of {row['classes_present']} digits{evenness}, {row['exact_duplicates']} exact and "
        f"{row['near_duplicates']} near duplicates, {row['blank_images']} blank, {row['low_contrast_images']} of low "
        f"contrast, {row['outlier_images']} unusual, {row['conflicting_labels']} with conflicting labels."
    )

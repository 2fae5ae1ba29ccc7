"""``checkmaite runs`` and ``checkmaite report``: what was run, and what each run has to say."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.text import Text

from checkmaite_cli.console import make_console, plain
from checkmaite_cli.invocation import as_typed
from checkmaite_cli.opening import opened
from checkmaite_cli.shortening import shortened
from checkmaite_cli.tables import new_table
from checkmaite_core.errors import ObjectNotFoundError
from checkmaite_core.naming import check_event_id

if TYPE_CHECKING:
    from checkmaite_analytics_store import AnalyticsStore

__all__ = ["print_report", "show_runs"]

_NEWEST_FIRST = (
    "SELECT committed_at, event_id, capability_id, model_ids, dataset_ids, is_current FROM runs "
    "ORDER BY committed_at DESC, event_id DESC"
)


def show_runs(uri: str, *, limit: int) -> None:
    """Print the history, newest first.

    Args:
        uri: The store.
        limit: Most runs to show; what it leaves out is said.

    Raises:
        StoreError: The store cannot be read.
    """
    with opened(uri) as store:
        ids: list[str] = store.query("SELECT event_id FROM runs ORDER BY event_id")["event_id"].to_pylist()
        rows = store.query(f"{_NEWEST_FIRST} LIMIT {int(limit)}").to_pylist()
    shown = [row["event_id"] for row in rows]
    short = dict(zip(shown, shortened(ids, shown), strict=True))
    table = new_table()
    table.add_column("Stored (UTC)", no_wrap=True)
    table.add_column("Event", no_wrap=True)
    table.add_column("What ran", overflow="fold")
    for row in rows:
        table.add_row(_time(row["committed_at"]), plain(short[row["event_id"]]), _what(row))
    console = make_console()
    console.print(table)
    count = f"{len(ids)} run{'' if len(ids) == 1 else 's'}"
    left_out = f"the newest {len(rows)} of {count}; --limit {len(ids)} shows all" if len(rows) < len(ids) else count
    console.print(left_out, style="dim", soft_wrap=True)


def print_report(uri: str, wanted: str) -> None:
    """Print the Markdown report of a run.

    Args:
        uri: The store.
        wanted: An event id or run_uid, or the beginning of one. Of a run with several events it is the newest one's.

    Raises:
        RunContractError: It cannot be an id.
        ObjectNotFoundError: There is no such run, there are several, or it has no report.
        StoreError: The store cannot be read.
    """
    check_event_id(wanted)  # it goes into SQL, and such an id has no quote in it
    with opened(uri) as store:
        event_id = _find(store, wanted, uri)
        reference = store.reference(event_id)
        text = None if reference is None else store.read_report(reference)
        if text is None:
            raise ObjectNotFoundError(
                f"event {event_id!r} in {uri} has no report.",
                hint='Its capability makes none; its rows are in the tables: use "checkmaite query".',
                uri=store.uri,
            )
    sys.stdout.write(plain(text, keep="\n\t").rstrip("\n") + "\n")
    sys.stdout.flush()


def _find(store: AnalyticsStore, wanted: str, uri: str) -> str:
    rows = store.query(
        "SELECT event_id, run_uid FROM runs "  # noqa: S608 - the id has been checked
        f"WHERE starts_with(event_id, '{wanted}') OR starts_with(run_uid, '{wanted}') "
        "ORDER BY committed_at DESC, event_id DESC"
    ).to_pylist()
    exact = [row for row in rows if wanted in (row["event_id"], row["run_uid"])]
    found = exact or rows
    runs = {row["run_uid"] for row in found}
    if len(runs) == 1:
        newest: str = found[0]["event_id"]
        return newest
    listing = f'"checkmaite runs --store {as_typed(uri)}" lists them.'
    if not runs:
        raise ObjectNotFoundError(
            f"{uri} has no run whose event_id or run_uid begins with {wanted!r}.", hint=listing, uri=store.uri
        )
    raise ObjectNotFoundError(
        f"{len(runs)} runs in {uri} have an id that begins with {wanted!r}.",
        hint=f"Type more of it; {listing}",
        uri=store.uri,
    )


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def _what(row: Mapping[str, Any]) -> Text:
    """Such as ``ModelEvaluation: resnet-18 on digits``."""
    models, datasets = (", ".join(json.loads(row[kind])) for kind in ("model_ids", "dataset_ids"))
    capability = row["capability_id"].rpartition(".")[2]
    inputs = " on ".join(part for part in (models, datasets) if part)
    text = Text(plain(f"{capability}: {inputs}" if inputs else capability))
    if not row["is_current"]:
        text.append(" (since replaced)", style="dim")
    return text

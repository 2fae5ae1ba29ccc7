"""From events to the rows of tables: which events are current, and what every table shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from checkmaite_analytics_store._bundle import StoredRun
from checkmaite_analytics_store._columns import TablePart, decode_tables, to_arrow
from checkmaite_analytics_store._folded import FoldedReader
from checkmaite_analytics_store._inbox import TailEvent
from checkmaite_analytics_store._layout import RUNS, TABLES
from checkmaite_analytics_store._manifest import Manifest
from checkmaite_analytics_store._order import EventOrder
from checkmaite_analytics_store._types import KEY_COLUMNS, REFERENCES_COLUMNS, RUNS_COLUMNS
from checkmaite_core.provenance import Provenance
from checkmaite_core.record import Scalar, ScalarType
from checkmaite_core.reference import inputs_text

__all__ = [
    "Currency",
    "only_current",
    "payload_tables",
    "reference_rows",
    "run_rows",
    "runs_of",
    "weigh",
    "without_runs",
]


@dataclass(frozen=True, slots=True)
class Currency:
    """Which events are the newest of their runs, after a tail has come to what is folded.

    Attributes:
        current: Events of the tail whose rows the tables show.
        superseded: The run_uids whose folded rows they replace.
    """

    current: frozenset[str]
    superseded: frozenset[str]


def weigh(tail: Sequence[TailEvent], manifest: Manifest | None, reader: FoldedReader) -> Currency:
    """Find the newest event of each run of the tail.

    Raises:
        CorruptObjectError: A file of the table ``runs`` is damaged.
    """
    newest: dict[str, EventOrder] = {}
    for event, run in runs_of(tail):
        order = EventOrder(event.committed_at, run.stamp, event.event_id)
        uid = run.reference.run_uid
        newest[uid] = max(order, newest.get(uid, order))
    folded = reader.current_events(manifest, {uid: order.committed_at for uid, order in newest.items()})
    current = {uid: order.event_id for uid, order in newest.items() if uid not in folded or order > folded[uid]}
    # With a file of runs set aside, a run may have folded rows that it would have told of.
    blind = manifest is not None and any(entry.key.startswith(f"{TABLES}{RUNS}/") for entry in manifest.quarantined)
    superseded = current.keys() if blind else current.keys() & folded.keys()
    return Currency(frozenset(current.values()), frozenset(superseded))


def runs_of(tail: Sequence[TailEvent]) -> list[tuple[TailEvent, StoredRun]]:
    """The events of a tail that are runs."""
    return [(event, event.content) for event in tail if isinstance(event.content, StoredRun)]


def run_rows(tail: Sequence[TailEvent], currency: Currency) -> pa.Table:
    """The tail's rows of the table ``runs``, sorted by event id."""
    rows: list[Mapping[str, Scalar]] = []
    for event, run in sorted(runs_of(tail), key=lambda pair: pair[0].event_id):
        reference, report = run.reference, run.reference.report
        rows.append(
            {
                "event_id": event.event_id,
                "run_uid": reference.run_uid,
                "capability_id": reference.capability_id,
                "is_current": event.event_id in currency.current,
                "committed_at": event.committed_at,
                "config": run.config,
                "dataset_ids": json.dumps(reference.dataset_ids, ensure_ascii=False),
                "model_ids": json.dumps(reference.model_ids, ensure_ascii=False),
                "metric_ids": json.dumps(reference.metric_ids, ensure_ascii=False),
                "inputs": inputs_text(reference),
                "report_kind": report.kind if report else None,
                "report_uri": report.uri if report and report.kind == "artifact" else None,
                **{name: getattr(run.provenance, name) for name in Provenance.model_fields},
            }
        )
    return to_arrow(rows, RUNS_COLUMNS)


def reference_rows(tail: Sequence[TailEvent]) -> pa.Table:
    """The tail's references, sorted by event id."""
    rows: list[Mapping[str, Scalar]] = [
        {
            "event_id": event.event_id,
            "run_uid": run.reference.run_uid,
            "writer": run.stamp.writer,
            "sequence": run.stamp.sequence,
            "reference": run.reference.model_dump_json(),
            "unknown": json.dumps(run.unknown, sort_keys=True) if run.unknown else None,
        }
        for event, run in sorted(runs_of(tail), key=lambda pair: pair[0].event_id)
    ]
    return to_arrow(rows, REFERENCES_COLUMNS)


def payload_tables(tail: Sequence[TailEvent], uri_of: Callable[[str], str]) -> dict[str, pa.Table]:
    """The rows of all of the tail's events, current or not, by table.

    Raises:
        CorruptObjectError: An event's rows are not valid Arrow data; it is named.
    """
    parts: dict[str, list[TablePart]] = {}
    columns: dict[str, dict[str, ScalarType]] = {}
    for event, run in runs_of(tail):
        for table in run.tables:
            columns.setdefault(table.name, dict(KEY_COLUMNS)).update(table.columns)
            parts.setdefault(table.name, []).append((event.event_id, run.reference.run_uid, table))
    return {name: decode_tables(parts[name], columns[name], uri_of) for name in sorted(parts)}


def only_current(rows: pa.Table, current: Collection[str]) -> pa.Table:
    """Those rows whose events are in ``current``."""
    return rows.filter(pc.is_in(rows["event_id"], value_set=pa.array(sorted(current), type=pa.string())))


def without_runs(rows: pa.Table, run_uids: Collection[str]) -> pa.Table:
    """Those rows whose run_uids are not in ``run_uids``."""
    return rows.filter(pc.invert(pc.is_in(rows["run_uid"], value_set=pa.array(sorted(run_uids), type=pa.string()))))

"""Runs to store, for the tests; as a script, a process that races with others to give a column its type.

Usage: store_worker.py retype URI NAME, where NAME is a digit that chooses the type. Says ``ready``, waits for a line,
works, and prints what became of it.
"""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime

from checkmaite_analytics_store import AnalyticsStore, StoreSettings
from checkmaite_core.errors import SchemaError
from checkmaite_core.provenance import Provenance
from checkmaite_core.record import Record, tabulate
from checkmaite_core.reference import CapabilityRunRef
from checkmaite_core.report import Report
from checkmaite_core.store import RunBundle


class Score(Record, table_name="scores"):
    label: str
    value: float | None = None


class Everything(Record, table_name="everything"):
    text: str | None = None
    whole: int | None = None
    real: float | None = None
    flag: bool | None = None
    raw: bytes | None = None
    moment: datetime | None = None
    day: date | None = None


def bundle_of(event_id: str, run_uid: str, records: list[Record], report: Report | None = None) -> RunBundle:
    tables = tabulate(records, run_uid)
    reference = CapabilityRunRef(
        event_id=event_id,
        run_uid=run_uid,
        capability_id="test",
        store_uri="file:///test",
        tables={rows.table: len(rows.rows) for rows in tables},
        dataset_ids=("data",),
        model_ids=("model",),
        report=report,
        created_at=datetime.now(UTC),
    )
    return RunBundle(event_id, reference, Provenance(job_id=event_id, user_id="tester"), '{"k":1}', tables)


def scores_of(event_id: str, run_uid: str, *values: float | None) -> RunBundle:
    records: list[Record] = [
        Score(run_uid=run_uid, label=f"label-{position}", value=value) for position, value in enumerate(values)
    ]
    return bundle_of(event_id, run_uid, records)


def main(action: str, uri: str, name: str) -> None:
    store = AnalyticsStore(uri, settings=StoreSettings(grace=0))
    print("ready", flush=True)
    sys.stdin.readline()
    assert action == "retype"
    kind = {"0": str, "1": int, "2": float, "3": bool}[name]

    class Racing(Record, table_name="racing"):
        value: kind  # type: ignore[valid-type]

    try:
        store.commit(bundle_of(f"racing-{name}", f"racing-{name}", [Racing(run_uid=f"racing-{name}", value=kind(1))]))
        print("stored", flush=True)
    except SchemaError as error:
        print(error.message, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

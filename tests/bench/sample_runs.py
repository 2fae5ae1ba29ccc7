"""Runs as evaluations make them - 23 rows in 3 tables - and stores full of them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from checkmaite_analytics_store import AnalyticsStore
from checkmaite_analytics_store._bundle import encode_bundle
from checkmaite_core.provenance import Provenance
from checkmaite_core.record import Record, tabulate
from checkmaite_core.reference import CapabilityRunRef
from checkmaite_core.store import RunBundle

ROWS = 23


class Metric(Record, table_name="bench_metrics"):
    name: str
    value: float
    threshold: float | None = None


class PerClass(Record, table_name="bench_per_class"):
    label: str
    precision: float
    recall: float
    support: int


class Summary(Record, table_name="bench_summary"):
    images: int
    seconds: float
    passed: bool


def records_of(number: int, run_uid: str) -> list[Record]:
    return [
        *[Metric(run_uid=run_uid, name=f"metric-{n}", value=(number * 7919 + n) % 1000 / 1000) for n in range(10)],
        *[
            PerClass(run_uid=run_uid, label=f"class-{n}", precision=n / 12, recall=(number + n) % 100 / 100, support=n)
            for n in range(12)
        ],
        Summary(run_uid=run_uid, images=1000 + number, seconds=number / 10, passed=number % 3 == 0),
    ]


def run_of(number: int) -> RunBundle:
    name = f"bench-{number:07}"
    tables = tabulate(records_of(number, name), name)
    reference = CapabilityRunRef(
        event_id=name,
        run_uid=name,
        capability_id=f"bench.capability-{number % 10}",
        store_uri="file:///bench",
        tables={rows.table: len(rows.rows) for rows in tables},
        dataset_ids=(f"dataset-{number % 50}",),
        model_ids=(f"model-{number % 20}",),
        report=None,
        created_at=datetime.now(UTC),
    )
    return RunBundle(name, reference, Provenance(job_id=name, user_id="bench"), '{"threshold":0.5}', tables)


def commit(store: AnalyticsStore, numbers: range, threads: int = 8) -> None:
    """As a user's processes would; in threads, so that the disk can join their fsyncs."""
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(lambda number: store.commit(run_of(number)), numbers):
            pass


def put_unsynced(root: Path, numbers: range) -> None:
    """The same objects without their fsyncs, for stores of which only the reading is measured.

    The store must have been written to before, so that its format and the columns' types are registered.
    """
    inbox = root / "inbox"
    for number in numbers:
        bundle = run_of(number)
        file = os.open(inbox / f"{bundle.event_id}.run", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(file, encode_bundle(bundle))
        finally:
            os.close(file)


AGGREGATE = "SELECT name, avg(value), min(value), max(value), count(*) FROM bench_metrics GROUP BY name ORDER BY name"
JOIN = (
    "SELECT r.capability_id, p.label, avg(p.recall) FROM bench_per_class p JOIN runs r USING (event_id) "
    "WHERE r.is_current GROUP BY ALL ORDER BY ALL"
)

"""The ledger lies in the analytics store's own location, and neither harms the other."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from ledger_steps import Jobs

from checkmaite_analytics_store import AnalyticsStore, StoreSettings
from checkmaite_core.provenance import Provenance
from checkmaite_core.record import Record, tabulate
from checkmaite_core.reference import CapabilityRunRef
from checkmaite_core.store import RunBundle
from checkmaite_ledger import JobLedger, LedgerSettings, LedgerWriter
from checkmaite_storage import LocalObjectStore


class Score(Record, table_name="scores"):
    value: float


def bundle(event_id: str) -> RunBundle:
    tables = tabulate([Score(run_uid=event_id, value=1.0)], event_id)
    reference = CapabilityRunRef(
        event_id=event_id,
        run_uid=event_id,
        capability_id="test",
        store_uri="file:///test",
        tables={"scores": 1},
        created_at=datetime.now(UTC),
    )
    return RunBundle(event_id, reference, Provenance(job_id=event_id, user_id="tester"), "{}", tables)


def test_a_store_is_founded_folded_verified_and_vacuumed_beside_a_ledger(tmp_path: Path) -> None:
    objects = LocalObjectStore(tmp_path / "store")
    jobs, writer = Jobs(), LedgerWriter.claim(objects, "here", {}, after=0, settings=LedgerSettings(snapshot_events=1))
    number = writer.append([jobs.accept("a"), jobs.accept("b")], {"a": b"A", "b": b"x" * 300_000})
    writer.maintain(jobs.listed, number)
    ledger_files = {path for path in (tmp_path / "store/jobs").rglob("*") if path.is_file()}
    assert {path.parent.name for path in ledger_files} == {"epochs", "log", "snapshots", "e1"}

    store = AnalyticsStore(objects.uri, settings=StoreSettings(grace=0, vacuum_age=0))
    for event_id in ("one", "two"):
        store.commit(bundle(event_id))
        store.fold()
    store.vacuum()
    assert store.verify().ok
    assert store.query("SELECT count(*) AS n FROM scores").to_pylist() == [{"n": 2}]
    assert {path for path in (tmp_path / "store/jobs").rglob("*") if path.is_file()} == ledger_files
    assert [record.job_id for record in JobLedger(objects.uri, "here").jobs().records] == ["b", "a"]
    assert writer.submission("b") == b"x" * 300_000

"""Writes what this version leaves on disk and on the wire into ``tests/formats/<version>``.

    python tests/formats/make_release.py tests/formats/0.2

Run it once for each release, from a checkout of that release, commit what it has made, and never change that again:
``test_releases.py`` reads all of them for ever. README.md beside this file says what is in such a folder.
"""

from __future__ import annotations

import json
import sys
import warnings
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from checkmaite_analytics_store import AnalyticsStore, StoreSettings
from checkmaite_core.deployment import Environment
from checkmaite_core.deployment.stamp import Stamp
from checkmaite_core.errors import ScopeInUseError
from checkmaite_core.failure import FailureKind, FailureRecord
from checkmaite_core.job import JobStatus
from checkmaite_core.outcome import Outcome, Unsettled
from checkmaite_core.provenance import Provenance
from checkmaite_core.record import Record, tabulate
from checkmaite_core.reference import CapabilityRunRef
from checkmaite_core.report import ArtifactReport, InlineTextReport, Report
from checkmaite_core.resources import Resources
from checkmaite_core.store import AnalyticsStoreConfig, RunBundle
from checkmaite_core.submission import WorkOrder
from checkmaite_ledger import JobRecord, LedgerSettings, LedgerWriter, Policy
from checkmaite_ledger.directory import Change
from checkmaite_ledger.events import (
    Accepted,
    Adopted,
    AttemptFailed,
    Began,
    CancelRequested,
    Ended,
    Event,
    Started,
)
from checkmaite_ledger.records import accept, evolve
from checkmaite_ray.protocol import PROTOCOL, Blob, problem, wire_view
from checkmaite_storage import LocalObjectStore

WHEN = datetime(2026, 12, 1, 9, 30, 15, 250_000, tzinfo=UTC)
NOW = WHEN.timestamp()


class Everything(Record, table_name="everything"):
    text: str | None = None
    whole: int | None = None
    real: float | None = None
    flag: bool | None = None
    raw: bytes | None = None
    moment: datetime | None = None
    day: date | None = None


class Score(Record, table_name="scores"):
    label: str
    value: float | None = None


class ScoreOfNow(Record, table_name="scores"):
    label: str
    value: float | None = None
    weight: int | None = None


class Empty(Record, table_name="empty"):
    pass


def main(target: Path) -> None:
    """Make everything."""
    target.mkdir(parents=True)
    (target / "wire").mkdir()
    make_store(target / "store")
    make_ledger(target / "ledger")
    for name, value in wire().items():
        path = target / "wire" / name
        if isinstance(value, bytes):
            path.write_bytes(value)
        else:
            path.write_text((value if isinstance(value, str) else json.dumps(value, indent=1)) + "\n")


def reference(event: str, run: str, tables: dict[str, int], report: Report | None = None) -> CapabilityRunRef:
    return CapabilityRunRef(
        event_id=event,
        run_uid=run,
        capability_id="example.Scores",
        store_uri="s3://bucket/results",
        tables=tables,
        dataset_ids=("data-ä",),
        model_ids=("model-1", "model-2"),
        metric_ids=("accuracy",),
        report=report,
        created_at=WHEN,
    )


def provenance(event: str) -> Provenance:
    return Provenance(
        user_id="someone",
        workspace_id="robustness",
        environment="prod",
        executor="ci",
        cluster_id="cluster-1",
        request_id="request-1",
        job_id=event,
        backend="ray",
        submitted_at=WHEN,
        completed_at=WHEN,
    )


def bundle(event: str, run: str, records: list[Record], report: Report | None = None) -> RunBundle:
    tables = tabulate(records, run)
    counts = {rows.table: len(rows.rows) for rows in tables}
    return RunBundle(event, reference(event, run, counts, report), provenance(event), '{"k":1}', tables)


def scores(event: str, run: str, *values: float | None) -> RunBundle:
    return bundle(event, run, [Score(run_uid=run, label=f"l{n}", value=value) for n, value in enumerate(values)])


def make_store(root: Path) -> None:
    """A store with all that can lie in one: folded, waiting, settled, set aside, superseded, reduced to a stub."""
    settings = StoreSettings(grace=0, vacuum_age=0, fold_after=0, merge_bytes=1)
    with AnalyticsStore(root, settings=settings) as store:
        store.commit(scores("job-first", "run-a", 0.25, None))
        store.settle("job-lost")
        for number in range(12):
            store.commit(scores(f"job-{number:02}", f"run-{number:02}", number / 4))
            store.fold()
        everything = Everything(
            run_uid="run-e",
            text="tëxt",
            whole=2**60 + 1,
            real=0.1,
            flag=True,
            raw=b"\x00\xff",
            moment=WHEN,
            day=date(2026, 12, 1),
        )
        report = store.put_report("job-everything", InlineTextReport(content="# A large report"))
        store.commit(
            bundle("job-everything", "run-e", [everything, Everything(run_uid="run-e"), Empty(run_uid="run-e")], report)
        )
        store.commit(scores("job-second", "run-a", 0.75))  # the same run as the first, and newer
        store.fold()
        store.vacuum()
        store.commit(scores("job-aside", "run-aside", 0.125))
        store.fold()
        _damage(Path(next(name for name in store.files("scores") if "job-aside" in _events(Path(name)))))
        store.fold()
        inline = InlineTextReport(content="# A report\n")
        store.commit(
            bundle("job-waiting", "run-w", [ScoreOfNow(run_uid="run-w", label="w", value=0.5, weight=7)], inline)
        )
        store.settle("job-lost-too")
        store.commit(scores("job-empty", "run-empty"))
        (root.parent / "store-answers.json").write_text(json.dumps(answers(store), indent=1) + "\n")
    times = {str(path.relative_to(root)): path.stat().st_mtime_ns for path in sorted(root.rglob("*.run"))}
    (root.parent / "store-times.json").write_text(json.dumps(times, indent=1) + "\n")


def answers(store: AnalyticsStore) -> dict[str, Any]:
    """What a reader must find in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that something is set aside
        rows = {table: store.query(f"SELECT * FROM {table}").to_pylist() for table in store.tables()}
    return {table: sorted(json.dumps(row, sort_keys=True, default=str) for row in rows[table]) for table in rows}


def _events(path: Path) -> set[str]:
    import pyarrow.parquet

    return set(pyarrow.parquet.read_table(path)["event_id"].to_pylist())


def _damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(data))


class Ledger:
    """Appends events, and knows the records that they make."""

    def __init__(self, writer: LedgerWriter) -> None:
        self.writer = writer
        self.records: dict[str, JobRecord] = {record.job_id: record for record in writer.records}

    def add(self, *events: Event, submissions: dict[str, bytes] | None = None) -> None:
        changes = []
        for event in events:
            if isinstance(event, Accepted):
                record = accept(event, len(self.records))
            else:
                record = evolve(self.records[event.job_id], event)
            self.records[event.job_id] = record
            changes.append(Change(event, record))
        self.writer.append(changes, submissions or {})


def accepted(job: str, **more: Any) -> Accepted:
    fields: dict[str, Any] = {
        "job_id": job,
        "at": NOW,
        "name": "näme",
        "capability_id": "example.Scores",
        "run_key": f"key-of-{job}",
        "client": "user@host",
        "submitted_at": NOW,
        "shape": "cpu=1",
        "demand": {"CPU": 1.0, "GPU": 0.5},
        "store_uri": "s3://bucket/results",
        "policy": Policy(1, 2, 3, ("ConnectionError",), 4.5, "resubmit"),
    }
    return Accepted(**fields | more)


def make_ledger(root: Path) -> None:
    """A ledger with every kind of event and of object: two epochs, a snapshot, small and large submissions."""
    objects = LocalObjectStore(root)
    settings = LedgerSettings(snapshot_events=4, snapshot_ratio=0, inline_limit=1000, grace_seconds=1e9)
    ledger = Ledger(LedgerWriter.claim(objects, "team", {"host": "one", "pid": 7}, after=0, settings=settings))
    ledger.add(accepted("job-done"), submissions={"job-done": blob().pack()})
    ledger.add(
        Started("job-done", NOW, 1, "c0", "i0"),
        Began("job-done", NOW + 1, 1, "pid 3 on node"),
        AttemptFailed("job-done", NOW + 2, 1, "lost"),
        Started("job-done", NOW + 3, 2, "c1", "i1", "lost"),
        Adopted("job-done", NOW + 3, "other@host", "request-2"),
        Ended("job-done", NOW + 4, "COMPLETED", outcomes()["outcome-completed.json"]),
    )
    ledger.add(accepted("job-large", run_key=None), submissions={"job-large": b"x" * 2000})
    ledger.writer.maintain(list(ledger.records.values()), ledger.writer.number)
    ledger.add(accepted("job-small", force=True), submissions={"job-small": blob().pack()})
    ledger = Ledger(LedgerWriter.claim(objects, "team", {"host": "two", "pid": 8}, after=1, settings=settings))
    ledger.add(accepted("job-unstored", stored=False))
    failure = FailureRecord(kind=FailureKind.LOST, error_type="ray.exceptions.WorkerCrashedError", message="gone")
    ledger.add(
        Started("job-small", NOW, 1, "c2", "i2"),
        CancelRequested("job-small", NOW + 5, "user@host"),
        AttemptFailed("job-small", NOW + 6, 1, "", failure.model_dump_json()),
    )
    ledger.add(
        Started("job-unstored", NOW, 1, "c2", "i2"),
        Ended("job-unstored", NOW + 7, "FAILED", outcomes()["outcome-failed.json"]),
    )


def environment() -> Environment:
    return Environment(
        python="3.11.7",
        platform="Linux-x86_64",
        versions={"checkmaite-core": "0.1.0", "pydantic": "2.12.0"},
        module="example",
        subject="example-dist",
        code="sha256:" + "ab" * 32,
        lock="sha256:" + "cd" * 32,
        distributions={"pydantic": "2.12.0"},
        tools={"uv": "/usr/bin/uv"},
    )


def order() -> WorkOrder:
    return WorkOrder(
        job_id="job-1",
        capability_id="example.Scores",
        report_threshold=0.5,
        provenance=provenance("job-1"),
        store=AnalyticsStoreConfig(uri="s3://bucket/results", storage_options={"anon": True}),
        environment=environment(),
        version_skew="warn",
    )


def blob() -> Blob:
    return Blob(order=order().model_dump_json(), overlay='{"env_vars":{"A":"ä"}}', payload=b"\x80\x05pickle\x00")


def outcomes() -> dict[str, str]:
    done = reference("job-done", "run-1", {"scores": 2}, InlineTextReport(content="# Report"))
    failure = FailureRecord(
        kind=FailureKind.USER_CODE,
        error_type="builtins.ValueError",
        message="no",
        traceback="Traceback ...",
        retryable=True,
        attempts=2,
    )
    cancelled = FailureRecord(kind=FailureKind.CANCELLED, error_type="x.JobCancelledError", message="asked")
    return {
        "outcome-completed.json": Outcome(
            status=JobStatus.COMPLETED, reference=done, started_at=WHEN, finished_at=WHEN
        ).model_dump_json(),
        "outcome-failed.json": Outcome(status=JobStatus.FAILED, failure=failure, finished_at=WHEN).model_dump_json(),
        "outcome-cancelled.json": Outcome(
            status=JobStatus.CANCELLED, failure=cancelled, finished_at=WHEN
        ).model_dump_json(),
        "unsettled.json": Unsettled(failure=failure).model_dump_json(),
        "failure.json": failure.model_dump_json(),
    }


def wire() -> dict[str, Any]:
    """What processes say to each other: values that travel as JSON, and text and bytes as they are."""
    artifact = ArtifactReport(
        media_type="text/markdown", filename="r.md", uri="reports/job-1/" + "ab" * 32, size=3, sha256="ab" * 32
    )
    ended = evolve(
        accept(accepted("job-done"), 0),
        Ended("job-done", NOW + 4, "COMPLETED", outcomes()["outcome-completed.json"]),
    )
    started = evolve(accept(accepted("job-runs"), 0), Started("job-runs", NOW, 1, "c", "i"))
    running = evolve(started, Began("job-runs", NOW, 1))
    refused = problem(ScopeInUseError("another cluster serves it.", hint="Wait."))
    return {
        **outcomes(),
        "work-order.json": order().model_dump_json(),
        "environment.json": environment().model_dump_json(),
        "stamp.json": Stamp(digest="sha256:" + "ab" * 32, lock="uv.lock").model_dump_json(),
        "resources.json": Resources(num_cpus=0.5, memory=10, custom={"slot": 1}).model_dump_json(),
        "reference-artifact.json": reference("job-1", "run-1", {"scores": 2}, artifact).model_dump_json(),
        "provenance.json": provenance("job-1").model_dump_json(),
        "blob.bin": blob().pack(),
        "hello-asked.json": {
            "protocol": PROTOCOL,
            "session": "s1",
            "options": {"s3://bucket/results": {"anon": True}},
            "takeover": False,
        },
        "hello-said.json": {"protocol": PROTOCOL, "incarnation": "i1", "ledger": "s3://bucket/results", "pid": 7},
        "hello-refused.json": {"protocol": PROTOCOL, "problem": refused},
        "views.json": [wire_view(ended), wire_view(running), wire_view(accept(accepted("job-waits"), 0))],
    }


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))

"""Every release's files are read for ever, and can be written on; see README.md beside this file."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest

from checkmaite_analytics_store import AnalyticsStore, StoreSettings
from checkmaite_core.deployment import Environment
from checkmaite_core.deployment.stamp import Stamp
from checkmaite_core.errors import ScopeInUseError
from checkmaite_core.failure import FailureKind, FailureRecord
from checkmaite_core.job import JobStatus
from checkmaite_core.outcome import Outcome, Unsettled
from checkmaite_core.provenance import Provenance
from checkmaite_core.reference import CapabilityRunRef
from checkmaite_core.resources import Resources
from checkmaite_core.submission import WorkOrder
from checkmaite_ledger import JobLedger, LedgerSettings, LedgerWriter
from checkmaite_ray.protocol import Blob, raise_problem
from checkmaite_storage import LocalObjectStore

HERE = Path(__file__).parent
RELEASES = sorted(path.name for path in HERE.iterdir() if path.name[0].isdigit())


@pytest.fixture(params=RELEASES)
def release(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of one release's files, as it had left them."""
    copy = tmp_path / "release"
    shutil.copytree(HERE / request.param, copy)
    for name, moment in json.loads((copy / "store-times.json").read_text()).items():
        os.utime(copy / "store" / name, ns=(moment, moment))
    return copy


def missing(store: AnalyticsStore, release: Path) -> dict[str, list[Any]]:
    """The rows that the release saw and this version does not; what is new may be more columns, and no more rows."""
    found: dict[str, list[Any]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that something is set aside
        for table, rows in json.loads((release / "store-answers.json").read_text()).items():
            have = [{name: str(value) for name, value in row.items()} for row in query(store, table)]
            want = [{name: str(value) for name, value in json.loads(row).items()} for row in rows]
            lost = [row for row in want if not any(row.items() <= one.items() for one in have)]
            if lost or len(have) != len(want):
                found[table] = lost or have
    return found


def query(store: AnalyticsStore, table: str) -> list[dict[str, Any]]:
    return list(store.query(f'SELECT * FROM "{table}"').to_pylist())


def test_a_store_of_a_release_answers_as_it_did(release: Path) -> None:
    with AnalyticsStore(release / "store") as store:
        assert missing(store, release) == {}
        assert store.reference("job-second").run_uid == "run-a"  # type: ignore[union-attr]
        assert store.reference("job-lost") is None
        everything = store.reference("job-everything")
        assert everything is not None
        assert store.read_report(everything) == "# A large report"
        waiting = store.reference("job-waiting")
        assert waiting is not None
        assert store.read_report(waiting) == "# A report\n"
        findings = store.verify().findings
        assert [finding.key.split("/")[1] for finding in findings] == ["scores"], "only what was set aside"


def test_a_store_of_a_release_is_folded_vacuumed_and_written_on(release: Path) -> None:
    settings = StoreSettings(grace=0, vacuum_age=0, fold_after=0)
    with AnalyticsStore(release / "store", settings=settings) as store:
        report = store.fold()
        assert (report.folded, report.abandoned) == (2, 1)
        assert len(report.quarantined) == 1
        assert missing(store, release) == {}
        store.vacuum()
        store.fold()
        assert missing(store, release) == {}
        assert store.settle("job-waiting") is not None
        assert store.settle("job-lost-too") is None
        assert store.settle("job-new") is None


def test_a_ledger_of_a_release_tells_its_history(release: Path) -> None:
    ledger = JobLedger(str(release / "ledger"), "team")
    found = {record.job_id: record for record in ledger.jobs().records}
    assert {job: str(record.status) for job, record in found.items()} == {
        "job-done": "COMPLETED",
        "job-large": "PENDING",
        "job-small": "PENDING",
        "job-unstored": "FAILED",
    }
    done = found["job-done"]
    assert (done.attempt, done.causes, done.adopted, done.name) == (2, ("lost",), 1, "näme")
    assert done.policy.retry_exceptions == ("ConnectionError",)
    assert found["job-small"].cancel_requested_at is not None
    assert FailureRecord.model_validate_json(found["job-small"].failure).kind is FailureKind.LOST
    assert [epoch.who["host"] for epoch in ledger.epochs()] == ["one", "two"]
    assert ledger.report("job-done") == "# Report"


def test_a_ledger_of_a_release_is_taken_over_and_goes_on(release: Path) -> None:
    settings = LedgerSettings(snapshot_events=1, snapshot_ratio=0)
    objects = LocalObjectStore(release / "ledger")
    writer = LedgerWriter.claim(objects, "team", {"host": "new"}, after=2, settings=settings)
    assert Blob.unpack(writer.submission("job-small")).overlay == '{"env_vars":{"A":"ä"}}'
    assert writer.submission("job-large") == b"x" * 2000
    records = writer.records
    writer.maintain(records, writer.number)
    again = LedgerWriter.claim(objects, "team", {}, after=3)
    assert again.records == records
    assert again.submission("job-large") == b"x" * 2000


def test_what_a_release_said_is_understood(release: Path) -> None:
    said = {path.name: path.read_bytes() for path in (release / "wire").iterdir()}
    order = WorkOrder.model_validate_json(said["work-order.json"])
    assert (order.job_id, order.version_skew, order.store.storage_options) == ("job-1", "warn", {"anon": True})
    assert order.environment == Environment.model_validate_json(said["environment.json"])
    assert order.provenance == Provenance.model_validate_json(said["provenance.json"])
    completed = Outcome.model_validate_json(said["outcome-completed.json"])
    assert (completed.status, completed.reference.tables) == (JobStatus.COMPLETED, {"scores": 2})  # type: ignore[union-attr]
    for name, status in (("failed", JobStatus.FAILED), ("cancelled", JobStatus.CANCELLED)):
        outcome = Outcome.model_validate_json(said[f"outcome-{name}.json"])
        assert outcome.status is status
        assert outcome.failure is not None
    failure = FailureRecord.model_validate_json(said["failure.json"])
    assert (failure.kind, failure.attempts, failure.retryable) == (FailureKind.USER_CODE, 2, True)
    assert Unsettled.read(said["unsettled.json"].decode()) is not None
    reference = CapabilityRunRef.model_validate_json(said["reference-artifact.json"])
    assert reference.report is not None
    assert reference.report.kind == "artifact"
    assert Resources.model_validate_json(said["resources.json"]).custom == {"slot": 1}
    assert Stamp.model_validate_json(said["stamp.json"]).lock == "uv.lock"
    blob = Blob.unpack(said["blob.bin"])
    assert (WorkOrder.model_validate_json(blob.order), blob.payload) == (order, b"\x80\x05pickle\x00")


def test_what_a_registry_of_a_release_told_is_understood(release: Path) -> None:
    hello = json.loads((release / "wire" / "hello-said.json").read_text())
    assert {"protocol", "incarnation", "ledger", "pid"} <= hello.keys()
    with pytest.raises(ScopeInUseError, match="another cluster"):
        raise_problem(json.loads((release / "wire" / "hello-refused.json").read_text()))
    views = json.loads((release / "wire" / "views.json").read_text())
    assert [view[1] for view in views] == ["COMPLETED", "RUNNING", "PENDING"]
    assert Outcome.model_validate_json(views[0][4]).status is JobStatus.COMPLETED

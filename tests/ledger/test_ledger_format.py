"""What is written is read as it was, by this version and as far as possible by others; the rest is refused."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from ledger_steps import Jobs

from checkmaite_core.errors import CorruptObjectError, StoreFormatError
from checkmaite_core.job import JobStatus
from checkmaite_ledger import JobLedger, JobRecord, LedgerWriter, Policy
from checkmaite_ledger import _snapshot as snapshot
from checkmaite_ledger._entries import InLog, OwnObject
from checkmaite_storage import CommitLog, LocalObjectStore


@pytest.fixture
def objects(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path / "store")


def full(job_id: str, position: int) -> JobRecord:
    """A record of which nothing has its default."""
    record = JobRecord(
        job_id=job_id,
        position=position,
        name="näme",
        capability_id="demo.It",
        run_key=None,
        client="user@host",
        submitted_at=1.5,
        accepted_at=2.5,
        shape="cpu=1",
        demand={"CPU": 1.0, "GPU": 0.5},
        store_uri="s3://bucket/store",
        policy=Policy(1, 2, 3, ("ConnectionError", "a.b.C"), 4.5, "resubmit"),
        stored=False,
        attempt=3,
        slot="c1",
        incarnation="x1",
        causes=("lost", "node"),
        started_at=3.5,
        began_at=4.5,
        place="pid 1",
        cancel_requested_at=5.5,
        adopted=2,
        status=JobStatus.CANCELLED,
        ended_at=6.5,
        outcome='{"a":"b\\n"}',
        retry="node",
        more={"began": {"gpu": "h200"}},
        failure='{"kind":"lost"}',
        waiting_for="the store",
        waiting_since=7.5,
        recovers="job-0",
        reason="force=True",
    )
    defaults = [field.name for field in fields(JobRecord) if getattr(record, field.name) == field.default]
    assert defaults == []  # also a field that is added later belongs into the snapshot
    return record


def test_a_snapshot_gives_back_every_field_of_every_record() -> None:
    records = [full(f"job-{position}", position) for position in range(450)]
    records[7] = replace(records[7], demand={}, policy=Policy(), name="other", run_key="key")
    places = {"job-1": InLog(12, 3), "job-2": OwnObject("payloads/e1/ab-1", "ab")}
    assert snapshot.decode_snapshot(snapshot.encode_snapshot(records, places), "here") == (records, places)
    assert snapshot.decode_snapshot(snapshot.encode_snapshot([], {}), "here") == ([], {})


def test_what_jobs_have_in_common_is_in_memory_once() -> None:
    data = snapshot.encode_snapshot([full(f"job-{position}", position) for position in range(300)], {})
    first, *others = snapshot.decode_snapshot(data, "here")[0]
    assert all(other.demand is first.demand and other.policy is first.policy for other in others)


def test_a_newer_snapshot_says_what_to_update(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(snapshot, "_FORMAT", 2)
        data = snapshot.encode_snapshot([full("a", 0)], {})
    with pytest.raises(StoreFormatError, match=r"newer version.*\n.*Update checkmaite-ledger"):
        snapshot.decode_snapshot(data, "here")


def test_an_older_snapshot_without_a_field_is_read_with_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as older:
        older.setattr(snapshot, "_OWN", tuple(name for name in snapshot._OWN if name != "failure"))
        data = snapshot.encode_snapshot([full("a", 0)], {})
    assert snapshot.decode_snapshot(data, "here")[0] == [replace(full("a", 0), failure="")]


@pytest.mark.parametrize(
    "entries",
    [
        [{"format": 2, "events": 0, "submissions": {}}],
        [{"format": 1, "events": 1, "submissions": {}}, {"kind": "frozen", "job_id": "a"}],
        [
            {"format": 1, "events": 1, "submissions": {}},
            {"kind": "ended", "job_id": "a", "at": 1.0, "status": "PAUSED", "outcome": "{}"},
        ],
    ],
    ids=["format", "kind of event", "status"],
)
def test_a_newer_object_of_the_log_says_what_to_update(objects: LocalObjectStore, entries: list[Any]) -> None:
    writer = CommitLog(objects, "jobs/here/").claim({}, after=0)
    writer.append([json.dumps(entry).encode() for entry in entries])
    with pytest.raises(StoreFormatError, match="Update checkmaite-ledger"):
        JobLedger(objects.uri, "here").jobs()
    with pytest.raises(StoreFormatError):
        LedgerWriter.claim(objects, "here", {}, after=1)


def test_events_that_do_not_fit_what_came_before_are_named(objects: LocalObjectStore) -> None:
    jobs, writer = Jobs(), LedgerWriter.claim(objects, "here", {}, after=0)
    accepted = jobs.accept("a")
    writer.append([accepted], {"a": b""})
    writer.append([accepted], {"a": b""})
    with pytest.raises(CorruptObjectError, match="'accepted' of job a, which was accepted before") as caught:
        JobLedger(objects.uri, "here").jobs()
    assert caught.value.uri == f"{objects.uri}/jobs/here/log/{3:016}"


def test_the_ledger_says_where_it_is(objects: LocalObjectStore) -> None:
    jobs, writer = Jobs(), LedgerWriter.claim(objects, "here", {}, after=0)
    assert (writer.number, writer.uri) == (1, f"{objects.uri}/jobs/here")
    assert writer.append([jobs.accept("a")], {"a": b""}) == writer.number == 2

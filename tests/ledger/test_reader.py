from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ledger_steps import NOW, Jobs

from checkmaite_core.errors import ConfigurationError, CorruptObjectError, JobNotFoundError, StoreError
from checkmaite_core.job import JobStatus
from checkmaite_core.report import ArtifactReport, InlineTextReport
from checkmaite_ledger import JobLedger, LedgerWriter
from checkmaite_storage import LocalObjectStore


@pytest.fixture
def objects(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path / "store")


@pytest.fixture
def writer(objects: LocalObjectStore) -> LedgerWriter:
    return LedgerWriter.claim(objects, "here", {"host": "one"}, after=0)


@pytest.fixture
def ledger(objects: LocalObjectStore) -> JobLedger:
    return JobLedger(objects.uri, "here")


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


def ids(ledger: JobLedger, **filters: object) -> list[str]:
    return [record.job_id for record in ledger.jobs(**filters).records]  # type: ignore[arg-type]


def test_the_history_is_listed_newest_first_and_by_filters(ledger: JobLedger, writer: LedgerWriter, jobs: Jobs) -> None:
    writer.append(
        [jobs.accept(job_id, name=job_id[0]) for job_id in ("a1", "b1", "a2")], dict.fromkeys(jobs.records, b"")
    )
    writer.append([jobs.start("a1"), jobs.begin("a1"), jobs.fail("b1")], {})
    assert ids(ledger) == ["a2", "b1", "a1"]
    assert ids(ledger, name="a") == ["a2", "a1"]
    assert ids(ledger, status="RUNNING") == ["a1"]
    assert ids(ledger, status=JobStatus.FAILED, name="a") == []
    assert ids(ledger, since=datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=1)) == ["a2", "b1"]
    with pytest.raises(ConfigurationError, match="cursor"):
        ledger.jobs(cursor="b1")


def test_pages_neither_repeat_nor_skip_while_jobs_arrive(ledger: JobLedger, writer: LedgerWriter, jobs: Jobs) -> None:
    for number in range(5):
        writer.append([jobs.accept(f"j{number}")], {f"j{number}": b""})
    page = ledger.jobs(limit=2)
    seen = [record.job_id for record in page.records]
    while page.next_cursor is not None:
        arrived = f"late-{len(jobs.records)}"
        writer.append([jobs.accept(arrived)], {arrived: b""})
        page = ledger.jobs(limit=2, cursor=page.next_cursor)
        seen += [record.job_id for record in page.records]
    assert seen == ["j4", "j3", "j2", "j1", "j0"]


def test_a_job_shows_what_a_handle_would(ledger: JobLedger, writer: LedgerWriter, jobs: Jobs) -> None:
    writer.append([jobs.accept(job_id) for job_id in "abc"], dict.fromkeys("abc", b""))
    writer.append([jobs.start("a"), jobs.begin("a"), jobs.start("b"), jobs.begin("b"), jobs.complete("b")], {})
    writer.append([jobs.fail("c")], {})
    running, completed, failed = (ledger.job(job_id).view() for job_id in "abc")
    assert (running.status, running.started_at) == (JobStatus.RUNNING, datetime.fromtimestamp(NOW + 1, UTC))
    assert completed.reference is not None
    assert (completed.status, completed.reference.run_uid) == (JobStatus.COMPLETED, "run-of-b")
    assert completed.finished_at is not None
    assert failed.failure is not None
    assert (failed.status, failed.failure.message) == (JobStatus.FAILED, "no")
    assert ledger.job("a").parsed_outcome() is None


def test_an_unknown_job_and_an_unknown_scope_are_told_apart(ledger: JobLedger, objects: LocalObjectStore) -> None:
    LedgerWriter.claim(objects, "there", {}, after=0)
    with pytest.raises(ConfigurationError, match=r"no scope 'here'.*\n.*there: there"):
        ledger.job("a")
    LedgerWriter.claim(objects, "here", {}, after=0)
    with pytest.raises(JobNotFoundError, match="'a'") as caught:
        ledger.job("a")
    assert caught.value.job_id == "a"


def test_reading_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="Scopes there: none"):
        JobLedger(str(tmp_path / "nowhere"), "here").jobs()
    assert list(tmp_path.iterdir()) == []


def test_a_report_is_read_from_the_outcome_or_from_the_store(
    ledger: JobLedger, writer: LedgerWriter, jobs: Jobs, tmp_path: Path
) -> None:
    text = "# Large\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    results = LocalObjectStore(tmp_path / "results")
    key = f"reports/b/{digest}"
    results.put_if_absent(key, text.encode())
    stored = ArtifactReport(media_type="text/markdown", filename="report.md", uri=key, sha256=digest)
    away = stored.model_copy(update={"uri": "s3://bucket/report.md"})
    writer.append([jobs.accept(job_id, store=results.uri) for job_id in "abcd"], dict.fromkeys("abcd", b""))
    writer.append([jobs.complete("a", InlineTextReport(content="# Small")), jobs.complete("b", stored)], {})
    writer.append([jobs.complete("c"), jobs.complete("d", away)], {})
    assert [ledger.report(job_id) for job_id in "abc"] == ["# Small", text, None]
    with pytest.raises(StoreError, match="outside the store"):
        ledger.report("d")
    (tmp_path / "results" / key).write_text("# Other\n")
    with pytest.raises(CorruptObjectError, match=digest):
        ledger.report("b")


def test_everyone_who_wrote_it_is_known(ledger: JobLedger, writer: LedgerWriter, objects: LocalObjectStore) -> None:
    LedgerWriter.claim(objects, "here", {"host": "two"}, after=1)
    assert [epoch.who for epoch in ledger.epochs()] == [{"host": "one"}, {"host": "two"}]

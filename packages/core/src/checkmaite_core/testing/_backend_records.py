"""Standard tests of a backend: what lands in the store, reports, and the list of jobs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from checkmaite_core.api import get_job, list_jobs, submit_capability
from checkmaite_core.backend import JobBackend
from checkmaite_core.errors import ConfigurationError, JobNotFoundError
from checkmaite_core.failure import FailureKind
from checkmaite_core.input_identity import covering_uid
from checkmaite_core.job import Job, JobPage, JobStatus
from checkmaite_core.provenance import configure_provenance
from checkmaite_core.report import ArtifactReport, InlineTextReport
from checkmaite_core.store import AnalyticsStoreConfig, open_result_store
from checkmaite_core.testing._backend_base import BackendTests, Parked
from checkmaite_core.testing._foreign import FOREIGN_TABLE, ForeignCapability, ForeignConfig
from checkmaite_core.testing._reading import rows_of
from checkmaite_core.testing._waiting import DEADLINE
from checkmaite_core.testing._workloads import LARGE_REPORT, ROWS, Data, Raise, RaiseConfig, Write

__all__ = ["RecordTests"]


_NO_TEXTS: tuple[Any, ...] = ([], {}, 7)
_NO_TIMES: tuple[Any, ...] = ("x", [], float("nan"))


class RecordTests(BackendTests, standard=True):
    """Results, provenance, reports and listings."""

    def test_provenance_is_taken_at_submission_and_lands_in_runs(
        self, backend: JobBackend, parked: list[Parked], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CHECKMAITE_PROVENANCE_WORKSPACE_ID", "from-the-environment")
        before = datetime.now(UTC)
        configure_provenance(user_id="ada", environment="test")
        try:
            work = self.park(backend, parked, tmp_path)
        finally:
            configure_provenance()
        monkeypatch.delenv("CHECKMAITE_PROVENANCE_WORKSPACE_ID")
        work.wait_until_started()
        work.release()
        work.job.result(DEADLINE)
        (row,) = self.events(backend, work.job)
        expected = {
            "user_id": "ada",
            "workspace_id": "from-the-environment",
            "environment": "test",
            "executor": None,
            "cluster_id": None,
            "request_id": None,
            "job_id": work.job.job_id,
            "backend": self.kind,
            "capability_id": "checkmaite_core.testing._workloads.Park",
        }
        assert {name: row[name] for name in expected} == expected
        submitted, completed = row["submitted_at"], row["completed_at"]
        assert isinstance(submitted, datetime)
        assert isinstance(completed, datetime)
        assert submitted.utcoffset() == completed.utcoffset() == timedelta(0)
        assert before <= submitted <= completed <= datetime.now(UTC)

    @pytest.mark.parametrize(
        ("kind", "filename"), [("none", None), ("text", "report.md"), ("inline", "own.md"), ("large", "report.md")]
    )
    def test_a_report_is_kept_whatever_its_size(
        self, backend: JobBackend, label: str, kind: str, filename: str | None
    ) -> None:
        reference = self.write(backend, label, report=kind).result(DEADLINE)
        text = backend.store.read_report(reference)
        if filename is None:
            assert reference.report is None
            assert text is None
            return
        assert reference.report is not None
        assert (reference.report.media_type, reference.report.filename) == ("text/markdown", filename)
        if kind == "large":
            assert isinstance(reference.report, ArtifactReport)
            assert text == LARGE_REPORT
            assert reference.report.size == len(LARGE_REPORT.encode())
        else:
            assert isinstance(reference.report, InlineTextReport)
            assert reference.report.content == text == "# Report\nthreshold 0.5"

    def test_the_threshold_reaches_the_report(self, backend: JobBackend, label: str) -> None:
        job = submit_capability(ForeignCapability(), datasets=[Data(label)], report_threshold=0.75, backend=backend)
        assert backend.store.read_report(job.result(DEADLINE)) == "# Foreign\n0.75"

    def test_a_report_that_cannot_be_made_fails_the_job_and_stores_nothing(
        self, backend: JobBackend, label: str
    ) -> None:
        job = self.write(backend, label, report="raises")
        assert job.wait(DEADLINE) is JobStatus.FAILED
        assert job.failure is not None
        assert (job.failure.kind, job.failure.message) == (FailureKind.USER_CODE, "the report cannot be drawn")
        assert self.rows(backend, label) == []
        assert self.events(backend, job) == []

    @pytest.mark.parametrize("config", [None, ForeignConfig(level=3)])
    def test_a_capability_without_our_base_class_runs_unmodified(
        self, backend: JobBackend, label: str, config: ForeignConfig | None
    ) -> None:
        job = backend.submit(ForeignCapability(), datasets=[Data(label)], config=config)
        reference = job.result(DEADLINE)
        (identity,) = reference.inputs
        assert (identity.kind, identity.id) == ("dataset", label)
        assert reference.run_uid == covering_uid(f"foreign-{label}", reference.inputs) != f"foreign-{label}"
        assert reference.capability_id == "foreign.capability"
        (row,) = [row for row in rows_of(backend.store, FOREIGN_TABLE) if row["dataset_id"] == label]
        assert (row["run_uid"], row["score"]) == (reference.run_uid, 0.5)
        report = reference.report
        assert isinstance(report, InlineTextReport)
        assert report.filename == "foreign.md"

    def test_results_are_readable_while_the_store_is_put_in_order_and_after_the_backend_has_done_so(
        self, options: Mapping[str, Any], store_config: AnalyticsStoreConfig, label: str
    ) -> None:
        other = open_result_store(store_config)
        with self.open(options, store_config) as opened:
            jobs = {number: self.write(opened, f"{label}-{number}", value=number) for number in range(5)}
            for number, job in jobs.items():
                while not job.status.is_terminal:
                    other.maintain()
                job.result(DEADLINE)
                assert [row["value"] for row in self.rows(opened, f"{label}-{number}")] == [number]
            last = self.write(opened, f"{label}-last", value=5, report="large")
        # Shutting down put the store in order once more, where the backend does that; nothing has moved for readers.
        for store in (other, open_result_store(store_config)):
            rows = [row for row in rows_of(store, ROWS) if str(row["label"]).startswith(label)]
            assert {row["value"] for row in rows} == set(range(6))
            assert len(rows) == 6
            assert store.read_report(last.result(DEADLINE)) == LARGE_REPORT
            store.close()

    def test_a_job_is_found_by_its_id(self, backend: JobBackend, label: str) -> None:
        job = self.write(backend, label, name=label)
        found = get_job(job.job_id, backend=backend)
        assert (found.job_id, found.name, found.created_at) == (job.job_id, label, job.created_at)
        assert found.result(DEADLINE) == job.result(DEADLINE)
        for unknown in ("job-0", "", "../x"):
            with pytest.raises(JobNotFoundError) as caught:
                backend.job(unknown)
            assert caught.value.job_id == unknown
        for wrong in _NO_TEXTS:
            with pytest.raises(ConfigurationError, match="job_id"):
                backend.job(wrong)

    def test_jobs_are_listed_newest_first_and_filtered(
        self, backend: JobBackend, label: str, parked: list[Parked], tmp_path: Path
    ) -> None:
        done = self.write(backend, f"{label}-done", name=label)
        done.wait(DEADLINE)
        failing = RaiseConfig(what="value")
        failed = backend.submit(Raise(), datasets=[Data(f"{label}-bad")], config=failing, name=label)
        failed.wait(DEADLINE)
        waiting = self.park(backend, parked, tmp_path, name=label)
        waiting.wait_until_started()
        other = self.write(backend, f"{label}-other", name=f"{label}-other")
        assert _ids(backend.jobs(name=label)) == [waiting.job.job_id, failed.job_id, done.job_id]
        assert _ids(backend.jobs(name=label, status="COMPLETED")) == [done.job_id]
        assert _ids(backend.jobs(name=label, status=JobStatus.FAILED)) == [failed.job_id]
        assert _ids(backend.jobs(name=label, since=failed.created_at)) == [waiting.job.job_id, failed.job_id]
        assert _ids(backend.jobs(name=f"{label}-other")) == [other.job_id]
        assert other.job_id in _ids(list_jobs(backend=backend, limit=1000))
        with pytest.raises(ConfigurationError, match="limit"):
            backend.jobs(limit=0)
        with pytest.raises(ConfigurationError, match="time zone"):
            backend.jobs(since=datetime(2026, 1, 1))  # noqa: DTZ001 - that is what is refused
        with pytest.raises(ConfigurationError, match="BROKEN"):
            backend.jobs(status="BROKEN")
        for wrong in _NO_TEXTS:
            with pytest.raises(ConfigurationError, match="no job status"):
                backend.jobs(status=wrong)
            with pytest.raises(ConfigurationError, match="name="):
                backend.jobs(name=wrong)
            with pytest.raises(ConfigurationError, match="cursor"):
                backend.jobs(cursor=wrong)
        with pytest.raises(ConfigurationError, match="cursor"):
            backend.jobs(cursor="no cursor")
        other.wait(DEADLINE)

    def test_pages_neither_repeat_nor_skip_jobs_while_others_arrive(self, backend: JobBackend, label: str) -> None:
        before = [self.write(backend, f"{label}-{number}", name=label) for number in range(5)]
        page = backend.jobs(name=label, limit=2)
        seen = _ids(page)
        arrived: list[Job] = []
        while page.next_cursor is not None:
            arrived.append(self.write(backend, f"{label}-new-{len(arrived)}", name=label))
            page = backend.jobs(name=label, limit=2, cursor=page.next_cursor)
            assert len(page) <= 2
            seen += _ids(page)
        assert seen == [job.job_id for job in reversed(before)]
        assert _ids(backend.jobs(name=label)) == [job.job_id for job in reversed([*before, *arrived])]
        for job in (*before, *arrived):
            job.wait(DEADLINE)

    def test_a_timeout_that_is_none_is_refused_by_name(self, backend: JobBackend, label: str) -> None:
        job = self.write(backend, label)
        for wrong in _NO_TIMES:
            with pytest.raises(ConfigurationError, match="timeout"):
                job.wait(wrong)
            with pytest.raises(ConfigurationError, match="timeout"):
                job.result(wrong)
        assert job.wait(DEADLINE) is JobStatus.COMPLETED

    def test_a_name_is_made_where_none_is_given(self, backend: JobBackend, label: str) -> None:
        job = backend.submit(Write(), datasets=[Data(label)])
        assert job.name == f"Write({label})"
        job.wait(DEADLINE)


def _ids(page: JobPage) -> list[str]:
    return [job.job_id for job in page]

"""A small life of jobs, as changes to write down; what a registry would hand to its ledger."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from checkmaite_core.failure import FailureKind, FailureRecord
from checkmaite_core.job import JobStatus
from checkmaite_core.outcome import Outcome
from checkmaite_core.reference import CapabilityRunRef
from checkmaite_core.report import ArtifactReport, InlineTextReport
from checkmaite_ledger import JobRecord, Policy
from checkmaite_ledger.directory import Change
from checkmaite_ledger.events import Accepted, Adopted, Began, CancelRequested, Ended, Event, Started
from checkmaite_ledger.records import accept, evolve

NOW = 1_790_000_000.0
"""POSIX seconds, in 2026."""
STORE = "file:///results"


@dataclass
class Jobs:
    """All jobs of one scope as a registry knows them, with the steps of their lives."""

    records: dict[str, JobRecord] = field(default_factory=dict)

    @property
    def listed(self) -> list[JobRecord]:
        return list(self.records.values())

    def take(self, event: Event) -> Change:
        if isinstance(event, Accepted):
            record = accept(event, len(self.records))
        else:
            record = evolve(self.records[event.job_id], event)
        self.records[event.job_id] = record
        return Change(event, record)

    def accept(self, job_id: str, *, name: str = "job", stored: bool = True, store: str = STORE) -> Change:
        return self.take(
            Accepted(
                job_id=job_id,
                at=NOW + len(self.records),
                name=name,
                capability_id="demo.Brightness",
                run_key=f"key-of-{job_id}",
                client="user@host",
                submitted_at=NOW + len(self.records),
                shape="cpu=1",
                demand={"CPU": 1.0},
                store_uri=store,
                policy=Policy(retry_exceptions=("ConnectionError",)),
                stored=stored,
            )
        )

    def start(self, job_id: str, *, cause: str = "") -> Change:
        attempt = self.records[job_id].attempt + 1
        return self.take(Started(job_id, NOW, attempt, "c0", "incarnation-of-c0", cause))

    def begin(self, job_id: str) -> Change:
        return self.take(Began(job_id, NOW + 1, self.records[job_id].attempt, "pid 7 on node"))

    def adopt(self, job_id: str) -> Change:
        return self.take(Adopted(job_id, NOW, "other@host", "request"))

    def cancel(self, job_id: str) -> Change:
        return self.take(CancelRequested(job_id, NOW, "user@host"))

    def complete(self, job_id: str, report: InlineTextReport | ArtifactReport | None = None) -> Change:
        when = datetime.fromtimestamp(NOW, UTC)
        reference = CapabilityRunRef(
            event_id=job_id,
            run_uid=f"run-of-{job_id}",
            capability_id="demo.Brightness",
            store_uri=STORE,
            tables={"brightness": 3},
            report=report,
            created_at=when,
        )
        return self._end(job_id, Outcome(status=JobStatus.COMPLETED, reference=reference, finished_at=when))

    def fail(self, job_id: str) -> Change:
        failure = FailureRecord(kind=FailureKind.USER_CODE, error_type="builtins.ValueError", message="no")
        when = datetime.fromtimestamp(NOW, UTC)
        return self._end(job_id, Outcome(status=JobStatus.FAILED, failure=failure, finished_at=when))

    def _end(self, job_id: str, outcome: Outcome) -> Change:
        return self.take(Ended(job_id, NOW + 2, outcome.status, outcome.model_dump_json()))

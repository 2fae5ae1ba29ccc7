"""Short ways to say what a test of the job directory does."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from checkmaite_core.failure import FailureKind, FailureRecord
from checkmaite_core.job import JobStatus
from checkmaite_core.outcome import Outcome
from checkmaite_core.reference import CapabilityRunRef
from checkmaite_ledger.directory import AttemptEnd, Cause, Decision, Directory, Launch, Request
from checkmaite_ledger.events import Event, decode, encode
from checkmaite_ledger.records import JobRecord

__all__ = ["CANCELLED", "COMPLETED", "FAILED", "FAILURE", "crash", "events_of", "outcome", "replayed", "request", "run"]

_IDS = itertools.count()
_THEN = datetime(2026, 1, 1, tzinfo=UTC)
FAILURE = FailureRecord(kind=FailureKind.LOST, error_type="tests.Lost", message="its worker was lost")


def request(job_id: str = "", run_key: str | None = None, **more: Any) -> Request:
    """One submission; what is not given is of no interest."""
    fields: dict[str, Any] = {
        "job_id": job_id or f"j{next(_IDS)}",
        "name": "a name",
        "capability_id": "demo",
        "run_key": run_key,
        "client": "ada@host",
        "submitted_at": 1.0,
        "shape": "1 CPU",
        "demand": {"CPU": 1.0},
        "store_uri": "file:///store",
    }
    return Request(**{**fields, **more})


def outcome(status: JobStatus, job_id: str = "any") -> str:
    """An outcome as JSON text."""
    if status is JobStatus.COMPLETED:
        reference = CapabilityRunRef(
            event_id=job_id, run_uid="r", capability_id="demo", store_uri="file:///store", created_at=_THEN
        )
        return Outcome(status=status, reference=reference, finished_at=_THEN).model_dump_json()
    kind = FailureKind.CANCELLED if status is JobStatus.CANCELLED else FailureKind.USER_CODE
    failure = FailureRecord(kind=kind, error_type="builtins.ValueError", message="no")
    return Outcome(status=status, failure=failure, finished_at=_THEN).model_dump_json()


COMPLETED = outcome(JobStatus.COMPLETED)
FAILED = outcome(JobStatus.FAILED)
CANCELLED = outcome(JobStatus.CANCELLED)


def crash(cause: Cause | None = Cause.LOST, *, begun: bool = True) -> AttemptEnd:
    """A start that ended without an outcome."""
    return AttemptEnd(failure=FAILURE, cause=cause, begun=begun)


def run(directory: Directory, *jobs: Request, now: float = 2.0) -> list[Launch]:
    """Submit jobs and have them handed out; returns all that is handed out then."""
    directory.submit(jobs, now=now)
    return [action for action in directory.dispatch(now=now).actions if isinstance(action, Launch)]


def events_of(*decisions: Decision) -> list[Event]:
    """The events of some decisions, in order."""
    return [change.event for decision in decisions for change in decision.changes]


def replayed(events: Iterable[Event]) -> dict[str, JobRecord]:
    """What a directory holds that has read these events from a ledger."""
    directory = Directory()
    for event in events:
        directory.apply(decode(encode(event)))
    return dict(directory.jobs)

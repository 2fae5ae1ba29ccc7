"""What is known of one job: a value that its events fold into."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, assert_never

from pydantic import ValidationError

from checkmaite_core.errors import StoreFormatError
from checkmaite_core.job import JobStatus, JobView
from checkmaite_core.outcome import Outcome
from checkmaite_ledger.events import (
    Accepted,
    Adopted,
    AttemptFailed,
    Began,
    CancelRequested,
    Ended,
    Event,
    Policy,
    Started,
    Waiting,
)

__all__ = ["JobRecord", "evolve"]


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One job's history, folded.

    Attributes:
        job_id: The job.
        position: Its place in the order of acceptance, from 0.
        name: A name for people.
        capability_id: What it runs.
        run_key: Equal for equal work; None if it cannot be shared.
        client: Who submitted it.
        submitted_at: When (POSIX seconds, the client's clock).
        accepted_at: When (POSIX seconds, the registry's clock).
        shape: Equal for jobs that are interchangeable to a scheduler.
        demand: What it asks for, by Ray's names of resources.
        store_uri: Where its results go.
        policy: How it is to be treated.
        stored: Whether its payload is in the ledger.
        attempt: How many times it has been started.
        slot: The controller that it was last given to; empty before.
        incarnation: That controller's process.
        causes: Why it was started again, one entry for each further start.
        started_at: When the latest start was decided (POSIX seconds, the registry's clock).
        began_at: When a worker began the latest start (POSIX seconds, the worker's clock), if it has said so.
        place: Where that was.
        retry: Why it waits to be started again (see :class:`checkmaite_ledger.directory.Cause`); empty if it does not.
        failure: What it is to be settled with, as JSON text, while it waits for that; empty if it does not.
        cancel_requested_at: When somebody asked for it to be stopped.
        adopted: How many other submissions were given this job.
        status: As far as the events tell: RUNNING once a worker has said that it began, also while it waits for another
            start. It only moves forward.
        ended_at: When it ended (POSIX seconds, the registry's clock).
        outcome: How it ended: a :class:`checkmaite_core.outcome.Outcome` as JSON text; empty before.
        recovers: The job whose staged outputs it commits, instead of running anything; empty for all others.
        waiting_for: What keeps it from going on since it has begun; empty if nothing does.
        reason: Why a job of its own was started, for people; empty if there was no equal one, None if not recorded.
        waiting_since: Since when (POSIX seconds, the registry's clock); None if nothing does.
        more: What newer versions have written of it that this one does not know: by the kind of event, and by
            ``record`` what stood in a snapshot. None for nothing.
    """

    job_id: str
    position: int
    name: str
    capability_id: str
    run_key: str | None
    client: str
    submitted_at: float
    accepted_at: float
    shape: str
    demand: dict[str, float]
    store_uri: str
    policy: Policy
    stored: bool
    attempt: int = 0
    slot: str = ""
    incarnation: str = ""
    causes: tuple[str, ...] = ()
    started_at: float | None = None
    began_at: float | None = None
    place: str = ""
    retry: str = ""
    failure: str = ""
    cancel_requested_at: float | None = None
    adopted: int = 0
    status: JobStatus = JobStatus.PENDING
    ended_at: float | None = None
    outcome: str = ""
    recovers: str = ""
    waiting_for: str = ""
    reason: str | None = None
    waiting_since: float | None = None
    more: dict[str, Any] | None = None

    @property
    def ended(self) -> bool:
        """Whether it has ended, for good."""
        return self.outcome != ""

    @property
    def may_have_run(self) -> bool:
        """Whether a worker may have begun it."""
        return self.attempt > 0

    def parsed_outcome(self) -> Outcome | None:
        """How it ended; None before.

        Raises:
            StoreFormatError: A newer version wrote it.
        """
        try:
            return Outcome.model_validate_json(self.outcome) if self.outcome else None
        except ValidationError as error:
            raise StoreFormatError(
                f"the outcome of job {self.job_id} holds something that this version does not know: "
                f"{error.errors()[0]['msg']}.",
                hint="Update checkmaite-core and the packages beside it to the version that wrote the ledger.",
            ) from error

    def view(self) -> JobView:
        """What a handle shows of it, as far as the events tell."""
        outcome = self.parsed_outcome()
        began = None if self.began_at is None else datetime.fromtimestamp(self.began_at, UTC)
        if outcome is None:
            return JobView(status=self.status, started_at=began, waiting_for=self.waiting_for or None)
        return JobView(
            status=self.status,
            started_at=outcome.started_at or began,
            finished_at=outcome.finished_at,
            failure=outcome.failure,
            reference=outcome.reference,
        )


def accept(event: Accepted, position: int) -> JobRecord:
    """The record of a job that has just been accepted."""
    return JobRecord(
        job_id=event.job_id,
        position=position,
        name=event.name,
        capability_id=event.capability_id,
        run_key=event.run_key,
        client=event.client,
        submitted_at=event.submitted_at,
        accepted_at=event.at,
        shape=event.shape,
        demand=event.demand,
        store_uri=event.store_uri,
        policy=event.policy,
        stored=event.stored,
        reason=event.reason,
        recovers=event.recovers,
        more={event.kind: event.more} if event.more else None,
    )


def evolve(record: JobRecord, event: Event) -> JobRecord:
    """The record after one more event of its job."""
    evolved = _evolved(record, event)
    return replace(evolved, more={**(evolved.more or {}), event.kind: event.more}) if event.more else evolved


def _evolved(record: JobRecord, event: Event) -> JobRecord:
    match event:
        case Accepted():
            raise ValueError(f"job {record.job_id} was accepted twice")
        case Adopted():
            return replace(record, adopted=record.adopted + 1)
        case Started():
            causes = (*record.causes, event.cause) if event.cause else record.causes
            return replace(
                record,
                attempt=event.attempt,
                slot=event.slot,
                incarnation=event.incarnation,
                causes=causes,
                started_at=event.at,
                began_at=None,
                place="",
                retry="",
                failure="",
                waiting_for="",
                waiting_since=None,
            )
        case Waiting():
            since = record.waiting_since or event.at if event.reason else None
            return replace(record, waiting_for=event.reason, waiting_since=since)
        case Began():
            return replace(record, began_at=event.at, place=event.place, status=JobStatus.RUNNING)
        case AttemptFailed():
            return replace(record, retry=event.cause, failure=event.failure)
        case CancelRequested():
            return replace(record, cancel_requested_at=event.at)
        case Ended():
            return replace(
                record,
                status=JobStatus(event.status),
                ended_at=event.at,
                outcome=event.outcome,
                retry="",
                failure="",
                waiting_for="",
                waiting_since=None,
            )
        case _:
            assert_never(event)

"""What stands in the records of jobs that the directory itself ends."""

from __future__ import annotations

import functools
from datetime import UTC, datetime

from checkmaite_core.errors import JobLostError
from checkmaite_core.execution import cancelled_error
from checkmaite_core.failure import FailureKind, FailureRecord
from checkmaite_core.job import JobStatus
from checkmaite_core.outcome import Outcome
from checkmaite_ledger.records import JobRecord

__all__ = [
    "cancelled",
    "cluster_lost",
    "controller_lost",
    "failure_text",
    "not_stored",
    "outcome_text",
    "submission_lost",
    "why_not_given",
]

_RESUBMIT = 'Submit it again; configure on_cluster_loss="resubmit" to have that done for you.'
_NOT_STORED = "Submit it again; with store_submissions=True it would have been started again by itself."


@functools.lru_cache(maxsize=64)
def cancelled(attempts: int) -> FailureRecord:
    """It was stopped because somebody asked for it."""
    return FailureRecord.from_exception(cancelled_error(""), FailureKind.CANCELLED, attempts=attempts)


@functools.lru_cache(maxsize=64)
def cluster_lost(attempts: int, *, resubmit: bool) -> FailureRecord:
    """Its cluster went away; ``resubmit``: and it would have been started again if it could have been."""
    if resubmit:
        return submission_lost(attempts, "its cluster went away before it had ended")
    what = "before it had ended" if attempts else "before it was started"
    return _lost(f"its cluster went away {what}, and its policy is not to start it again.", _RESUBMIT, attempts)


@functools.lru_cache(maxsize=64)
def controller_lost(attempts: int) -> FailureRecord:
    """Its controller went away, and it cannot be started again."""
    return submission_lost(attempts, "its controller went away, and its worker with it")


@functools.lru_cache(maxsize=64)
def submission_lost(attempts: int, what: str = "the registry that had accepted it went away") -> FailureRecord:
    """What was submitted is nowhere any more, so it cannot be started again."""
    why = "it cannot be started again, because what was submitted had not been stored in the ledger"
    return _lost(f"{what}; {why} (store_submissions=False).", _NOT_STORED, attempts)


def not_stored(failure: FailureRecord) -> FailureRecord:
    """A failure after which it would have been started again, had what was submitted been stored."""
    if "store_submissions=False" in failure.message:
        return failure
    message, _, _ = failure.message.partition("\n  -> ")
    note = "It was not started again, because what was submitted is not in the ledger (store_submissions=False)."
    return failure.model_copy(update={"message": f"{message}\n{note}\n  -> {_NOT_STORED}"})


@functools.lru_cache(maxsize=64)
def outcome_text(failure: FailureRecord, now: float) -> str:
    """The outcome of a job that ends with a failure, as JSON; ends of one moment share their text."""
    status = JobStatus.CANCELLED if failure.kind is FailureKind.CANCELLED else JobStatus.FAILED
    return Outcome(status=status, failure=failure, finished_at=datetime.fromtimestamp(now, UTC)).model_dump_json()


@functools.lru_cache(maxsize=64)
def failure_text(failure: FailureRecord) -> str:
    """A failure as JSON."""
    return failure.model_dump_json()


def why_not_given(record: JobRecord) -> str:
    """Why a job is not given to those who submit equal work, for people."""
    outcome = record.parsed_outcome()
    if outcome is not None and outcome.key_uncertain:
        what = outcome.key_uncertain.removeprefix("it ")
    elif record.status is JobStatus.CANCELLED:
        what = "was cancelled"
    elif outcome is None and record.cancel_requested_at is not None:
        what = "is being cancelled"
    else:
        what = "failed"
    return f"the equal job {record.job_id} {what}"


def _lost(message: str, hint: str, attempts: int) -> FailureRecord:
    # Nothing was raised, so there is no traceback to show.
    kind = f"{JobLostError.__module__}.{JobLostError.__qualname__}"
    text = f"{message}\n  -> {hint}"
    return FailureRecord(kind=FailureKind.LOST, error_type=kind, message=text, retryable=True, attempts=attempts)

"""Settling: how a job that may have started, and did not end well, is told from one that has stored its results.

Only the store can tell. While it cannot be asked the job has not ended: what settling answers then is
:class:`~checkmaite_core.outcome.Unsettled`, and whoever asked asks again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from checkmaite_core.committing import forget_store, kept_store
from checkmaite_core.errors import PluginError, StorageUnreachableError, UnauthenticatedError
from checkmaite_core.failure import FailureKind, FailureRecord
from checkmaite_core.job import JobStatus
from checkmaite_core.keeping import note_staged
from checkmaite_core.outcome import Outcome, Unsettled
from checkmaite_core.provenance import utc_now
from checkmaite_core.submission import WorkOrder
from checkmaite_core.uses import RECORD_LOST

__all__ = ["ended_with", "pause_s", "settle", "settle_all", "settle_patiently", "waits_for"]

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 15.0
_LONGEST_REASON = 300
_NO_ANSWER_TO_ANYONE = (StorageUnreachableError, UnauthenticatedError, PluginError)
"""What a store raises that will not answer about another job either."""


def settle(
    order: WorkOrder, failure: FailureRecord, *, started_at: datetime | None = None, since: datetime | None = None
) -> Outcome | Unsettled:
    """End a job that may have started: COMPLETED if its results are in the store, else as ``failure`` says.

    After an outcome, a straggler of the job can no longer commit. Whatever the store raises is no answer, also that
    what lies at the job's key is damaged: results may be there, or come to be there.

    Args:
        order: The job's.
        failure: How it ends if nothing is stored.
        started_at: When the worker began.
        since: When the store was first asked in vain.
    """
    return _settle(order, failure, started_at, since)[0]


def settle_all(jobs: Sequence[tuple[WorkOrder, Unsettled]]) -> list[Outcome | Unsettled]:
    """Settle jobs one after the other. A store that does not answer is not asked about the next one as well."""
    answers: list[Outcome | Unsettled] = []
    silent: dict[str, Exception] = {}
    for order, job in jobs:
        store = order.store.model_dump_json()
        if store in silent:
            answers.append(_unsettled(order, job.failure, job.started_at, job.since, silent[store]))
            continue
        answer, error = _settle(order, job.failure, job.started_at, job.since)
        answers.append(answer)
        if isinstance(error, _NO_ANSWER_TO_ANYONE):
            silent[store] = error
    return answers


def settle_patiently(
    order: WorkOrder, job: Unsettled, *, waiting: Callable[[str], None], pause: Callable[[float], bool]
) -> Outcome | Unsettled:
    """Settle a job in this process, and ask again until the store answers.

    Args:
        order: The job's.
        job: What is known of it.
        waiting: Is told what the job waits for.
        pause: Waits so many seconds; False ends it all.

    Returns:
        The outcome; or what was to be settled, if ``pause`` has ended it.
    """
    tries = 0
    while True:
        [answer] = settle_all([(order, job)])
        if isinstance(answer, Outcome):
            return answer
        job = answer
        waiting(job.waits_for or "")
        tries += 1
        if not pause(pause_s(tries)):
            return job


def pause_s(tries: int) -> float:
    """Seconds between the try of this number and the next."""
    pause: float = min(_FIRST_PAUSE_S * 2.0 ** min(tries - 1, 16), _LONGEST_PAUSE_S)
    return pause


def waits_for(place: str, since: datetime, why: BaseException | str) -> str:
    """What a job waits for that cannot be settled, for people.

    Args:
        place: What must answer, such as ``the analytics store at s3://bucket/results``.
        since: When it was first asked in vain.
        why: What it said.
    """
    text = " ".join(str(why).strip().partition("\n")[0].split())[:_LONGEST_REASON]
    if isinstance(why, BaseException):
        text = text or type(why).__name__
    return f"{place}, to say whether its results are stored, since {since:%H:%M:%S} UTC: {text}"


def ended_with(failure: FailureRecord, *, started_at: datetime | None = None) -> Outcome:
    """The outcome of a job of which it is known that nothing is stored, and nothing can come to be."""
    status = JobStatus.CANCELLED if failure.kind is FailureKind.CANCELLED else JobStatus.FAILED
    return Outcome(status=status, failure=failure, started_at=started_at, finished_at=utc_now())


def _settle(
    order: WorkOrder, failure: FailureRecord, started_at: datetime | None, since: datetime | None
) -> tuple[Outcome | Unsettled, Exception | None]:
    try:
        store = kept_store(order.store)
        reference = store.settle(order.job_id)
        if reference is None:
            failure = note_staged(failure, order, store)
    except Exception as error:  # a store is a plugin: whatever it raises is no answer, and is said to who waits
        forget_store(order.store)  # the next try looks up credentials anew
        return _unsettled(order, failure, started_at, since, error), error
    if reference is None:
        return ended_with(failure, started_at=started_at), None
    outcome = Outcome(status=JobStatus.COMPLETED, reference=reference, started_at=started_at, finished_at=utc_now())
    return outcome.model_copy(update={"key_uncertain": RECORD_LOST}), None


def _unsettled(
    order: WorkOrder, failure: FailureRecord, started_at: datetime | None, since: datetime | None, error: Exception
) -> Unsettled:
    since = since or utc_now()
    text = waits_for(f"the analytics store at {order.store.uri}", since, error)
    return Unsettled(failure=failure, waits_for=text, since=since, started_at=started_at)

"""What Ray raises instead of a job's outcome, and what it means for the job."""

from __future__ import annotations

from ray import exceptions as raised

from checkmaite_core.errors import CheckmaiteError
from checkmaite_core.failure import FailureKind, FailureRecord

__all__ = ["TaskLostError", "describe", "first_line"]

_DEPLOYMENT = (raised.RuntimeEnvSetupError, raised.RayTaskError)
"""The overlay could not be set up; or our own task function raised, which it does only if it cannot be imported."""


class TaskLostError(CheckmaiteError):
    """The worker, its node or the cluster went away under a job. Found in failure records; never raised."""


def first_line(error: BaseException) -> str:
    """What Ray raised, without the pages that may follow."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def describe(error: BaseException, attempts: int, place: str) -> FailureRecord:
    """Turn what Ray raised for a job into a failure.

    Args:
        error: What Ray raised.
        attempts: How many times the job has been started.
        place: Where it ran last, for the message; empty if it is not known.

    Returns:
        The record; ``retryable`` says whether starting the job again can help.
    """
    if isinstance(error, raised.OutOfMemoryError):
        record = FailureRecord.from_exception(error, FailureKind.OUT_OF_MEMORY, retryable=True, attempts=attempts)
        return record.model_copy(update={"message": first_line(error)})  # a page of figures; the traceback keeps it
    if isinstance(error, _DEPLOYMENT):
        return FailureRecord.from_exception(error, FailureKind.DEPLOYMENT, attempts=attempts)
    if isinstance(error, raised.WorkerCrashedError):
        what = "its worker process ended: it was killed, crashed, or called os._exit()"
    elif isinstance(error, raised.NodeDiedError):
        what = "its node went away"
    else:
        what = "Ray lost it"
    lost = TaskLostError(
        f"{what}{place} (start {attempts}). Ray says: {first_line(error)}",
        hint="Submit it again; if it happens again, look at the node's Ray logs, and at what native code it runs.",
    )
    lost.__cause__ = error
    return FailureRecord.from_exception(lost, FailureKind.LOST, retryable=True, attempts=attempts)

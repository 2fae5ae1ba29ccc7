"""What Ray raises instead of a job's outcome, and what it means for the job."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from ray import exceptions as raised

from checkmaite_core.errors import CheckmaiteError, DeploymentError
from checkmaite_core.failure import FailureKind, FailureRecord
from checkmaite_core.outcome import Unsettled
from checkmaite_ray_simple.overlay.masking import masked_text
from checkmaite_ray_simple.overlay.setup_failures import explain_setup

__all__ = ["Loss", "TaskLostError", "classify", "describe", "first_line", "read_answer"]

_NODE = (raised.NodeDiedError, raised.LocalRayletDiedError)


class TaskLostError(CheckmaiteError):
    """The worker, its node or the cluster went away under a job. Found in failure records; never raised."""


def first_line(error: BaseException) -> str:
    """What Ray raised, without the pages that may follow."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


class Loss(StrEnum):
    """What Ray took from under a job: what decides whether, and how often, it is started again."""

    LOST = "lost"
    """Its worker process ended, or Ray lost it otherwise."""
    OUT_OF_MEMORY = "out_of_memory"
    """Its worker was killed for memory."""
    NODE = "node"
    """Its node went away or was preempted."""


def describe(error: BaseException, attempts: int, place: str, secrets: Collection[str] = ()) -> FailureRecord:
    """Turn what Ray raised for a job into a failure (see :func:`classify`)."""
    return classify(error, attempts, place, secrets)[0]


def classify(
    error: BaseException, attempts: int, place: str, secrets: Collection[str] = ()
) -> tuple[FailureRecord, Loss | None]:
    """Turn what Ray raised for a job into a failure.

    Args:
        error: What Ray raised.
        attempts: How many times the job has been started.
        place: Where it ran last, for the message; empty if it is not known.
        secrets: Values of its overlay that must not be shown: Ray repeats the command that it could not run.

    Returns:
        The record, and what was lost; None if starting the job again cannot help. Then it has never begun.
    """
    if isinstance(error, raised.OutOfMemoryError):
        record = FailureRecord.from_exception(error, FailureKind.OUT_OF_MEMORY, retryable=True, attempts=attempts)
        # A page of figures; the traceback keeps it.
        return record.model_copy(update={"message": first_line(error)}), Loss.OUT_OF_MEMORY
    if isinstance(error, raised.RuntimeEnvSetupError):
        record = FailureRecord.from_exception(error, FailureKind.DEPLOYMENT, attempts=attempts)
        failure = explain_setup(record.message, secrets)
        where = f" on node {failure.node}" if failure.node else ""
        message = f"the runtime_env could not be set up{where}: {failure.reason}\n  -> {failure.remedy}"
        traceback = masked_text(record.traceback, secrets)
        return record.model_copy(update={"message": message, "traceback": traceback}), None
    if isinstance(error, raised.RayTaskError):
        return FailureRecord.from_exception(_not_begun(error, place), FailureKind.DEPLOYMENT, attempts=attempts), None
    loss = Loss.LOST
    if isinstance(error, raised.WorkerCrashedError):
        what = "its worker process ended: it was killed, crashed, or called os._exit()"
    elif isinstance(error, _NODE):
        loss, what = Loss.NODE, "its node went away"
    else:
        what = "Ray lost it"
    lost = TaskLostError(
        f"{what}{place} (start {attempts}). Ray says: {first_line(error)}",
        hint="Submit it again; if it happens again, look at the node's Ray logs, and at what native code it runs.",
    )
    lost.__cause__ = error
    return FailureRecord.from_exception(lost, FailureKind.LOST, retryable=True, attempts=attempts), loss


def _not_begun(error: raised.RayTaskError, place: str) -> CheckmaiteError:
    """What our own function raises: that the order cannot be read there, or Ray for it that it cannot be imported."""
    if isinstance(error.cause, CheckmaiteError):
        return error.cause
    lines = [line.strip() for line in str(error).splitlines() if "Error: " in line]
    found = DeploymentError(
        f"the code that runs jobs, checkmaite_ray_simple, cannot be imported on the worker{place}: "
        f"{lines[-1] if lines else first_line(error)}",
        hint="Install checkmaite-ray-simple (or checkmaite-ray) in the worker's image, from the client's lock; "
        "`checkmaite preflight` says which nodes lack it.",
    )
    found.__cause__ = error
    return found


def read_answer(answer: str) -> tuple[str | None, FailureRecord | None]:
    """What a job's task answered: its outcome (JSON), or what its code raised if it is to be started again."""
    unsettled = Unsettled.read(answer)
    return (answer, None) if unsettled is None else (None, unsettled.failure)

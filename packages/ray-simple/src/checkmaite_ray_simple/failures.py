"""What Ray raises instead of a job's outcome, and what it means for the job."""

from __future__ import annotations

import asyncio
import concurrent.futures
import re
from collections.abc import Collection
from enum import StrEnum

import grpc
from ray import exceptions as raised

from checkmaite_core.defects import defect_of, explained
from checkmaite_core.errors import CheckmaiteError, DeploymentError
from checkmaite_core.failure import FailureKind, FailureRecord
from checkmaite_core.outcome import Unsettled
from checkmaite_ray_simple.overlay.masking import masked_text
from checkmaite_ray_simple.overlay.setup_failures import explain_setup

__all__ = [
    "Loss",
    "TaskLostError",
    "as_defect",
    "classify",
    "describe",
    "first_line",
    "last_line",
    "read_answer",
    "reason",
    "was_not_imported",
    "why_raised",
]

_NODE = (raised.NodeDiedError, raised.LocalRayletDiedError)
_RAYS = (
    raised.RayError,
    ConnectionError,
    grpc.RpcError,
    asyncio.CancelledError,
    concurrent.futures.CancelledError,
)
"""What Ray raises for a task: over ``ray://`` also what its connection does."""
_NOT_IMPORTED = "failed to import on the worker"
"""Ray's words, of a function and of an actor's class; the traceback of the import follows."""
_MISSING = re.compile(r"^(?:ModuleNotFoundError|ImportError|AttributeError|OSError|SyntaxError): .*", re.MULTILINE)
"""How an import ends where an installation is incomplete, or of another version or platform."""
_LAST = re.compile(r"\w[\w.]*(?:Error|Exception|Exit|Interrupt)(?:: .*)?\Z")


class TaskLostError(CheckmaiteError):
    """The worker, its node or the cluster went away under a job. Found in failure records; never raised."""


def first_line(error: BaseException) -> str:
    """What Ray raised, without the pages that may follow; of a task that raised, what that was."""
    if isinstance(error, raised.RayTaskError):
        return last_line(str(error))
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
        found = why_raised(error, f"running jobs{place}")
        kind = FailureKind.DEPLOYMENT if isinstance(found, DeploymentError) else FailureKind.DEFECT
        return FailureRecord.from_exception(found, kind, attempts=attempts), None
    if not isinstance(error, _RAYS):
        found = explained(error, "looking after the job")
        return FailureRecord.from_exception(found, FailureKind.DEFECT, attempts=attempts), None
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


def why_raised(error: raised.RayTaskError, doing: str) -> CheckmaiteError:
    """What it means that a function or an actor of our own raised: it cannot be imported there, or it has a defect.

    Args:
        error: What Ray raised.
        doing: What it was called for, as the end of a sentence.
    """
    text, cause = str(error), error.cause
    if isinstance(cause, CheckmaiteError):
        return cause
    if _NOT_IMPORTED in text:
        text = text[text.index(_NOT_IMPORTED) :]
        missing = _MISSING.findall("\n".join(line.strip() for line in text.splitlines()))
        if missing:
            found: CheckmaiteError = DeploymentError(
                f"the code of checkmaite cannot be imported on the worker, for {doing}: {missing[-1]}",
                hint="Install checkmaite-ray-simple (or checkmaite-ray) in the worker's image, from the client's lock; "
                "`checkmaite preflight` says which nodes lack it.",
            )
            found.__cause__ = error
            return found
    return defect_of(last_line(text), doing, where="a worker", trace=text, cause=error)


def was_not_imported(text: str) -> bool:
    """Whether Ray says in this text that it could not import what it was to run."""
    return _NOT_IMPORTED in text


def last_line(text: str) -> str:
    """The exception that a traceback in Ray's text ends with; the text's last line if there is none."""
    lines = [line.strip() for line in text.strip().splitlines()] or [""]
    return next((line for line in reversed(lines) if _LAST.match(line)), lines[-1])


def reason(error: BaseException, doing: str, else_: str) -> str:
    """Why a task of our own did not do what it was started for: in full if that is a defect, or an installation's.

    Args:
        error: What Ray raised.
        doing: What it was started for, as the end of a sentence.
        else_: What it comes to where Ray has lost the task.
    """
    if isinstance(error, raised.RayTaskError):
        return str(why_raised(error, doing))
    return f"{else_} ({first_line(error)})"


def as_defect(error: Exception, doing: str) -> Exception:
    """What a thread of ours ends with: what Ray raises as it is, all else as the defect that it shows."""
    return error if isinstance(error, _RAYS) else explained(error, doing)


def read_answer(answer: str) -> tuple[str | None, Unsettled | None]:
    """What a job's task answered: its outcome (JSON), or what stands in place of one while it has not ended."""
    unsettled = Unsettled.read(answer)
    return (answer, None) if unsettled is None else (None, unsettled)

"""How a job failed, as a value that any process can read."""

from __future__ import annotations

import re
import traceback
from enum import StrEnum

from checkmaite_core.evolving import Evolving

__all__ = ["FailureKind", "FailureRecord", "StagedOutputs"]

_TERMINAL_CODES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and newline
_MAX_TEXT = 64 * 1024


class FailureKind(StrEnum):
    """Whose failure it was."""

    USER_CODE = "user_code"
    """The capability raised, or returned something that is not a run."""
    OUT_OF_MEMORY = "out_of_memory"
    """The worker was killed by the memory monitor, or Python ran out of memory."""
    LOST = "lost"
    """The worker, its node or the cluster went away."""
    STORE = "store"
    """The results could not be written."""
    DEPLOYMENT = "deployment"
    """The worker's environment does not fit the client's, so nothing was run."""
    CANCELLED = "cancelled"
    """Somebody cancelled it."""
    DEFECT = "defect"
    """Checkmaite itself raised an unexpected exception."""


class StagedOutputs(Evolving):
    """What a run had computed and could not commit, and where it is kept.

    Attributes:
        event_id: The job that computed it.
        capability_id: What was run.
        store_uri: The analytics store that keeps it, or is to.
        module: The module of the capability.
        run_class: The class of the run, as ``module:Name``; None if only its presence is known.
        classes: Classes of it that cannot be imported, as those of a notebook: they travel along.
        size: Bytes.
        node: The node where ``path`` is, by the resource that its cluster has for it, where one is known.
        path: The file on that node's disk that holds it, while the store does not.
    """

    event_id: str
    capability_id: str
    store_uri: str
    module: str | None = None
    run_class: str | None = None
    classes: tuple[str, ...] = ()
    size: int | None = None
    node: str | None = None
    path: str | None = None


class FailureRecord(Evolving):
    """How a job failed.

    Attributes:
        kind: Whose failure it was.
        error_type: Qualified name of the exception class, such as ``builtins.ValueError``.
        message: The exception's own text and notes, without terminal codes.
        traceback: The worker's traceback, without terminal codes; empty where there is none.
        retryable: Whether the same work can succeed when it is tried again unchanged.
        attempts: How many times the work was started.
        recoverable: Whether what was computed is kept, so that ``job.recommit()`` can store it without running
            anything again.
        staged: Where it is kept.
    """

    kind: FailureKind
    error_type: str
    message: str
    traceback: str = ""
    retryable: bool = False
    attempts: int = 1
    recoverable: bool = False
    staged: StagedOutputs | None = None

    def with_staged(self, staged: StagedOutputs) -> FailureRecord:
        """The same, and what was computed is kept."""
        return self.model_copy(update={"recoverable": True, "staged": staged})

    def with_note(self, note: str) -> FailureRecord:
        """The same, with one more line in the message."""
        return self.model_copy(update={"message": f"{self.message}\n({_clean(note)})"})

    @classmethod
    def from_exception(
        cls, error: BaseException, kind: FailureKind, *, retryable: bool = False, attempts: int = 1
    ) -> FailureRecord:
        """Describe ``error`` without keeping the object.

        A ``str()`` that itself fails is replaced by a text that says so: describing a failure must not fail.
        """
        try:
            # Notes are how code further out says where it was: part of what happened.
            message = "\n".join([str(error), *getattr(error, "__notes__", ())])
        except BaseException as broken:  # a user's __str__ is user code: its failure is reported in the text
            message = f"<the exception's own text could not be made: {type(broken).__name__}>"
        try:
            text = "".join(traceback.format_exception(error))
        except BaseException as broken:  # as above, for exceptions chained to this one
            text = f"<the traceback could not be made: {type(broken).__name__}>"
        return cls(
            kind=kind,
            error_type=f"{type(error).__module__}.{type(error).__qualname__}",
            message=_clean(message),
            traceback=_clean(text),
            retryable=retryable,
            attempts=attempts,
        )


def _clean(text: str) -> str:
    """Remove terminal codes, other control characters, and the middle of a text too long to keep."""
    text = _CONTROL_CHARACTERS.sub("", _TERMINAL_CODES.sub("", text))
    # Lone surrogates cannot be encoded as UTF-8, and a failure record must always be storable.
    text = text.encode("utf-8", "replace").decode("utf-8")
    if len(text) > _MAX_TEXT:
        half = _MAX_TEXT // 2
        text = f"{text[:half]}\n[... {len(text) - _MAX_TEXT} characters left out ...]\n{text[-half:]}"
    return text

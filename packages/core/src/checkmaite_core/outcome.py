"""How a job ended, as a value that travels as JSON."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from checkmaite_core.evolving import Evolving
from checkmaite_core.failure import FailureRecord
from checkmaite_core.job import JobStatus
from checkmaite_core.provenance import UtcTime
from checkmaite_core.reference import CapabilityRunRef

__all__ = ["Outcome", "Unsettled"]


class Outcome(Evolving):
    """How a job ended.

    Attributes:
        status: A terminal status.
        reference: The committed results; exactly when COMPLETED.
        failure: What went wrong; exactly when FAILED or CANCELLED.
        started_at: When the worker began (its clock, UTC), if one did.
        finished_at: When the end was known (UTC).
        key_uncertain: Why equal work must not be given this job's results, in plain words, such as "it read
            data/labels.json, which its run key does not cover"; None if it may.
        imported: First-party modules that it used, by name; the first of them where there are many.
        read: Data files beside first-party code that it read, likewise.
    """

    status: JobStatus
    reference: CapabilityRunRef | None = None
    failure: FailureRecord | None = None
    started_at: UtcTime | None = None
    finished_at: UtcTime
    key_uncertain: str | None = None
    imported: tuple[str, ...] = ()
    read: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        completed = self.status is JobStatus.COMPLETED
        if not self.status.is_terminal or completed != (self.reference is not None) or completed != (not self.failure):
            raise ValueError("an outcome is COMPLETED with a reference, or FAILED or CANCELLED with a failure")
        return self


class Unsettled(Evolving):
    """What stands in place of an outcome while nobody can tell how the job has ended.

    Its place in the store is still open. Either the job is to be started again, and whoever does not do so has to
    settle it with ``failure``; or the store could not be asked, and has to be asked again until it answers.

    Attributes:
        failure: How the job ends, should none of its results be stored.
        waits_for: What must answer before the job has ended, since when, and what it said, for people; None if the
            job is to be started again.
        since: When that was first asked in vain.
        started_at: When the worker began (its clock, UTC), if one did.
    """

    unsettled: Literal[True] = True
    failure: FailureRecord
    waits_for: str | None = None
    since: UtcTime | None = None
    started_at: UtcTime | None = None

    @classmethod
    def read(cls, answer: str) -> Self | None:
        """Read what an execution answered, as JSON; None if it is an :class:`Outcome`, which is not looked into."""
        return cls.model_validate_json(answer) if answer.startswith(_TAG) else None


_TAG = '{"unsettled":'

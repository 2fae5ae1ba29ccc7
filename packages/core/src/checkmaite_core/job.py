"""Jobs: the handle of submitted work."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, overload

from checkmaite_core.errors import (
    ConfigurationError,
    JobCancelledError,
    JobError,
    JobFailedError,
    JobLostError,
    JobTimeoutError,
)
from checkmaite_core.failure import FailureKind, FailureRecord

if TYPE_CHECKING:
    from checkmaite_core.reference import CapabilityRunRef

__all__ = ["Job", "JobOrigin", "JobPage", "JobStatus", "JobView", "Progress"]


class JobStatus(StrEnum):
    """Where a job is. It only ever moves forward, and a terminal status never changes."""

    PENDING = "PENDING"
    """Accepted; no worker has begun."""
    RUNNING = "RUNNING"
    """A worker has begun."""
    COMPLETED = "COMPLETED"
    """Its results are in the store."""
    FAILED = "FAILED"
    """It ended without results; ``job.failure`` says why."""
    CANCELLED = "CANCELLED"
    """It was cancelled and left no results."""

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended."""
        return self in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)


class JobOrigin(StrEnum):
    """How a submission came by its job."""

    STARTED = "started"
    """It started one of its own."""
    ADOPTED = "adopted"
    """Equal work was waiting or running, and is shared."""
    REUSED = "reused"
    """Equal work had completed; its results are given again."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running job is.

    Attributes:
        done: Items finished.
        total: Items in all, where known.
        description: What is being done.
    """

    done: int
    total: int | None = None
    description: str = ""

    @property
    def fraction(self) -> float | None:
        """Between 0 and 1, or None where the total is not known."""
        if self.total is None:
            return None
        return min(1.0, self.done / self.total) if self.total else 1.0


@dataclass(frozen=True, slots=True)
class JobView:
    """What is known of a job at one moment.

    Attributes:
        status: Where it is.
        started_at: When a worker began (the worker's clock, UTC).
        finished_at: When it ended (UTC).
        progress: How far it is, if the code says so.
        pending_reason: What it waits for, while it is PENDING.
        waiting_for: What keeps it from going on since it has begun, such as a store that does not answer.
        failure: How it failed or was cancelled.
        reference: Its results, once COMPLETED.
    """

    status: JobStatus = JobStatus.PENDING
    started_at: datetime | None = None
    finished_at: datetime | None = None
    progress: Progress | None = None
    pending_reason: str | None = None
    waiting_for: str | None = None
    failure: FailureRecord | None = None
    reference: CapabilityRunRef | None = None


class Job(ABC):
    """One piece of submitted work.

    Attributes:
        job_id: Its id; also the key under which its results are committed.
        name: A name for people.
        created_at: When it was submitted (UTC).
        origin: How the submission that returned this handle came by the job.
        origin_reason: Why so, for people, such as ``started: force=True`` or ``reused: same code (sha 1a2b3c4d), ...``.
        recovers: The job whose staged outputs it commits, instead of running anything; None for all others.
    """

    origin: JobOrigin = JobOrigin.STARTED
    origin_reason: str = ""
    recovers: str | None = None
    _recommitter: Callable[..., Job] | None = None

    def __init__(self, job_id: str, name: str, created_at: datetime) -> None:
        self.job_id = job_id
        self.name = name
        self.created_at = created_at

    @abstractmethod
    def view(self) -> JobView:
        """Everything that is known of it now, from one moment."""

    @abstractmethod
    def wait(self, timeout: float | None = None) -> JobStatus:
        """Wait for the end, at most ``timeout`` seconds, and return the latest status. Never raises for the job.

        Raises:
            ConfigurationError: The timeout is not a number.
        """

    @abstractmethod
    def cancel(self) -> bool:
        """Ask for the job to be stopped.

        Running code sees :func:`checkmaite_core.cancelled` turn True, and is stopped by force after the
        backend's grace period.

        Returns:
            True: the request is recorded; the job may still end COMPLETED if its results were committed first.
            False: the job had already ended.
        """

    @abstractmethod
    def add_done_callback(self, callback: Callable[[Job], None]) -> None:
        """Call ``callback(job)`` once it has ended; at once if it has.

        It runs in a thread of the backend's, or in this one if the job has ended. What it raises is logged (logger
        ``checkmaite_core``) and hurts neither the job nor other callbacks.
        """

    @property
    def status(self) -> JobStatus:
        """Where the job is."""
        return self.view().status

    @property
    def progress(self) -> Progress | None:
        """How far the running code says it is."""
        return self.view().progress

    @property
    def failure(self) -> FailureRecord | None:
        """How the job failed or was cancelled; None before that, and for completed jobs."""
        return self.view().failure

    @property
    def pending_reason(self) -> str | None:
        """What the job waits for, while it is PENDING; None where nothing is known to hold it up."""
        return self.view().pending_reason

    @property
    def waiting_for(self) -> str | None:
        """What keeps the job from going on since it has begun, and since when; None where nothing does.

        Such as ``the analytics store at s3://bucket/results, since 12:03:11 UTC: connection refused``.
        """
        return self.view().waiting_for

    def recommit(
        self,
        *,
        capability: Any = None,
        run_class: type | None = None,
        report_threshold: float | None = None,
        resources: Any = None,
        queue_timeout: float | None = 0.0,
    ) -> Job:
        """Store what this job had computed, in a new job that runs ``extract()``, report and commit alone.

        For a job that has ended without results and whose ``failure.recoverable`` is true. Nothing of the user's work
        is run again; the code is that of today, so mend it first: importable code where the workers have it, a
        notebook's class by running its cell again. This job stays as it is; the new one names it (``recovers``).

        Args:
            capability: The capability as it is now: its ``run_class`` takes the place of the run's own class.
            run_class: The class that takes the place of the run's own, if it is not found under its old name.
            report_threshold: As of :func:`checkmaite_core.submit_capability`; what this job had if left out.
            resources: What the new job asks for; 1 CPU if left out.
            queue_timeout: As of :func:`checkmaite_core.submit_capability`.

        Raises:
            JobError: Nothing of this job is kept, or it cannot be told here.
            SubmissionError: The new job was not accepted.
        """
        if self._recommitter is None:
            raise JobError(
                f"job {self.job_id} ({self.name}) cannot be recovered by this handle.",
                hint="Get its handle from a backend: backend.job(job_id).recommit().",
                job_id=self.job_id,
            )
        return self._recommitter(
            self,
            capability=capability,
            run_class=run_class,
            report_threshold=report_threshold,
            resources=resources,
            queue_timeout=queue_timeout,
        )

    def result(self, timeout: float | None = None) -> CapabilityRunRef:
        """Wait for the end and return the reference to the results.

        Args:
            timeout: Seconds to wait at most; None waits as long as it takes.

        Raises:
            JobFailedError: It failed (JobLostError where the infrastructure under it went away).
            JobCancelledError: It was cancelled.
            JobTimeoutError: It had not ended in time; it goes on.
        """
        error = self.exception(timeout)
        if error is not None:
            raise error
        reference = self.view().reference
        assert reference is not None, "a COMPLETED job has a reference"
        return reference

    def exception(self, timeout: float | None = None) -> JobError | None:
        """Wait for the end and return the error that :meth:`result` would raise; None if it completed.

        Args:
            timeout: Seconds to wait at most; None waits as long as it takes.

        Raises:
            JobTimeoutError: It had not ended in time; it goes on.
        """
        status = self.wait(timeout)
        if not status.is_terminal:
            raise JobTimeoutError(
                f"job {self.job_id} ({self.name}) is still {status} after {timeout} s.",
                hint="Wait longer, look at job.progress and job.pending_reason, or call job.cancel().",
                job_id=self.job_id,
            )
        if status is JobStatus.CANCELLED:
            return JobCancelledError(
                f"job {self.job_id} ({self.name}) was cancelled.",
                hint="Submit it again if its results are wanted.",
                job_id=self.job_id,
            )
        failure = self.view().failure
        return None if failure is None else _failed(self, failure)

    def __await__(self) -> Generator[object, None, CapabilityRunRef]:
        """Wait without blocking the event loop; like :meth:`result`. Cancelling the wait leaves the job alone."""
        return self._ended().__await__()

    async def _ended(self) -> CapabilityRunRef:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def tell(_: Job) -> None:
            # The loop may have gone before the job ended; then nobody waits any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(ended.set)

        self.add_done_callback(tell)
        await ended.wait()
        return self.result(timeout=0)

    def __repr__(self) -> str:
        return self._line(self.origin_reason)

    def _line(self, why: str) -> str:
        """What is shown of it, with or without why it was started or shared."""
        try:
            view = self.view()
        except ConfigurationError:  # in a fork, where only this can still be said of it
            return f"<Job {self.job_id} {self.name!r} of another process>"
        fraction = view.progress.fraction if view.progress and view.status is JobStatus.RUNNING else None
        extra = f" {fraction:.0%}" if fraction is not None else ""
        if view.pending_reason:
            extra += f" ({view.pending_reason})"
        if view.waiting_for:
            extra += f" (waits for {view.waiting_for})"
        if self.origin is not JobOrigin.STARTED:
            what = why.removeprefix(f"{self.origin}: ")
            submitted = f"{self.origin}, submitted {self.created_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
            extra += f" ({submitted}: {what})" if what else f" ({submitted})"
        elif why:
            extra += f" ({why})"
        return f"<Job {self.job_id} {self.name!r} {view.status}{extra}>"


def _failed(job: Job, failure: FailureRecord) -> JobFailedError:
    lost = failure.kind is FailureKind.LOST
    reason = {
        FailureKind.USER_CODE: "its code raised",
        FailureKind.OUT_OF_MEMORY: "it ran out of memory:",
        FailureKind.LOST: "its worker was lost:",
        FailureKind.STORE: "its results could not be stored:",
        FailureKind.DEPLOYMENT: "the worker's environment does not fit:",
        FailureKind.CANCELLED: "it was cancelled:",
        FailureKind.DEFECT: "checkmaite has a defect:",
    }[failure.kind]
    hint = {
        FailureKind.USER_CODE: "Read job.failure.traceback; the line that raised is at its end.",
        FailureKind.OUT_OF_MEMORY: "Ask for more with resources={'memory': BYTES}, or run fewer jobs at a time.",
        FailureKind.LOST: "Submit it again; if it happens again, look at the node's Ray logs.",
        FailureKind.STORE: "Mend what the store's error names, then submit it again; nothing of it was stored.",
        FailureKind.DEPLOYMENT: "Make client and workers one deployment: install from the same lock, or send the "
        "code with runtime_env.",
        FailureKind.CANCELLED: "Submit it again if its results are wanted.",
        FailureKind.DEFECT: "Report it, with job.failure.traceback.",
    }[failure.kind]
    short = failure.error_type.removeprefix("builtins.")
    # An error of ours has brought its own remedy, which is nearer to the cause than one for its kind.
    message, _, remedy = failure.message.partition("\n  -> ")
    if failure.recoverable:
        hint = f"Mend it, then store what was computed: job.recommit(), or checkmaite jobs recommit {job.job_id} ..."
    return (JobLostError if lost else JobFailedError)(
        f"job {job.job_id} ({job.name}) failed: {reason} {short}: {message}",
        hint=remedy or hint,
        job_id=job.job_id,
        failure=failure,
    )


class JobPage(Sequence[Job]):
    """Some jobs of a listing, newest first.

    Attributes:
        next_cursor: Pass it on as ``cursor`` to get the next page; None on the last one.
    """

    def __init__(self, jobs: Sequence[Job], next_cursor: str | None = None) -> None:
        self._jobs = tuple(jobs)
        self.next_cursor = next_cursor

    @overload
    def __getitem__(self, index: int) -> Job: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Job]: ...
    def __getitem__(self, index: int | slice) -> Job | Sequence[Job]:
        return self._jobs[index]

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs)

    def __repr__(self) -> str:
        lines = "".join(f"\n  {job._line('')}" for job in self._jobs)
        more = f"\n  ... more with cursor={self.next_cursor!r}" if self.next_cursor else ""
        return f"<JobPage of {len(self._jobs)}{lines}{more}>"

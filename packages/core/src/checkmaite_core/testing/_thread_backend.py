"""A job backend of threads: for unit tests, and the smallest complete example of a backend."""

from __future__ import annotations

import contextlib
import pickle
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from pydantic import ConfigDict, Field

from checkmaite_core.backend import JobBackend
from checkmaite_core.committing import CommitPolicy
from checkmaite_core.errors import ConfigurationError, JobNotFoundError
from checkmaite_core.execution import cancelled_error, execute, maintain
from checkmaite_core.failure import FailureKind, FailureRecord
from checkmaite_core.job import Job, JobPage, JobStatus, Progress
from checkmaite_core.notices import warn
from checkmaite_core.outcome import Outcome, Unsettled
from checkmaite_core.provenance import utc_now
from checkmaite_core.queueing import Room
from checkmaite_core.retrying import ExceptionName
from checkmaite_core.settling import ended_with, settle, settle_patiently
from checkmaite_core.store import AnalyticsStoreConfig, maintenance_warning
from checkmaite_core.submission import Submission, WorkOrder
from checkmaite_core.testing._thread_site import ThreadSite
from checkmaite_core.tracking import TrackedJob, check_job_id, page_of

__all__ = ["THREAD_BACKEND", "ThreadBackend", "ThreadBackendPlugin", "ThreadOptions"]


class ThreadOptions(CommitPolicy):
    """Options of the backend.

    Attributes:
        slots: How many jobs run at the same time.
        max_unfinished: How many jobs may wait and run; further ones are refused with ``BackpressureError``.
        retry_exceptions: Names of exceptions after which a job's code is run again.
        exception_retries: How many times that is done.
        commit_timeout_s: See :class:`checkmaite_core.committing.CommitPolicy`, as for the next two.
        stage_after_s: As said.
        stage_max_bytes: As said.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    slots: int = Field(default=4, ge=1)
    max_unfinished: int = Field(default=100_000, ge=1)
    retry_exceptions: tuple[ExceptionName, ...] = ()
    exception_retries: int = Field(default=2, ge=0)


class _Monitor:
    """Sees to it that running code and its handle know of each other."""

    def __init__(self, job: TrackedJob) -> None:
        self._job = job

    def report_progress(self, done: int, total: int | None, description: str) -> None:
        self._job.set_progress(Progress(done, total, description))

    def cancel_requested(self) -> bool:
        return self._job.cancel_requested

    def report_waiting(self, reason: str | None) -> None:
        self._job.mark_waiting(reason)


class ThreadBackend(JobBackend):
    """Runs jobs in threads of this process, through everything that a real worker does.

    It looks at no resource demand, and code that never asks whether to stop is not stopped: threads cannot be.

    Args:
        store: Where results go.
        options: How jobs are treated.
    """

    def __init__(self, store: AnalyticsStoreConfig, options: ThreadOptions | None = None) -> None:
        super().__init__("threads", store)
        self._options = options = options or ThreadOptions()
        self.commit_policy = options.commit_policy
        self._lock = threading.Lock()
        self._jobs: dict[str, tuple[TrackedJob, WorkOrder]] = {}
        self._closed = False
        self._stopping = threading.Event()
        self._room = Room(options.max_unfinished)
        self._threads = ThreadPoolExecutor(options.slots, thread_name_prefix="checkmaite-job")

    def _submit_all(self, submissions: Sequence[Submission], *, queue_timeout: float | None) -> list[Job]:
        payloads = [submission.pickle(pickle.dumps) for submission in submissions]
        self._room.take(len(submissions), queue_timeout)
        with self._lock:
            self._refuse_if_closed()  # it may have been shut down since submit() looked
            return [self._start(*pair) for pair in zip(submissions, payloads, strict=True)]

    def _start(self, submission: Submission, payload: bytes) -> Job:
        order = submission.order
        job = TrackedJob(order.job_id, submission.name, submission.submitted_at, self._cancel)
        job.origin_reason = "started: " + ("force=True" if submission.force else "this backend shares no jobs")
        job.recovers, job._recommitter = order.recovers, self.recommit
        job.add_done_callback(lambda _: self._room.give())
        self._jobs[job.job_id] = (job, order)
        self._threads.submit(self._run, job, order, payload)
        return job

    def _run(self, job: TrackedJob, order: WorkOrder, payload: bytes) -> None:
        if job.status.is_terminal:  # cancelled while it was queued
            return
        job.mark_running(utc_now())
        retries = self._options.exception_retries
        for attempt in range(1, retries + 2):
            outcome = execute(
                order,
                payload,
                loads=pickle.loads,  # the bytes are our own: they were pickled in this process
                monitor=_Monitor(job),
                pickler=pickle.Pickler,
                attempt=attempt,
                retry_exceptions=self._options.retry_exceptions if attempt <= retries else (),
            )
            if isinstance(outcome, Unsettled) and outcome.waits_for is not None:
                job.mark_waiting(outcome.waits_for)
                outcome = settle_patiently(order, outcome, waiting=job.mark_waiting, pause=self._pause)
            if isinstance(outcome, Outcome):
                job.finish(outcome)
                return
            if outcome.waits_for is not None:
                self._leave(job, outcome)
                return

    def _pause(self, seconds: float) -> bool:
        return not self._stopping.wait(seconds)

    def _cancel(self, job: TrackedJob) -> None:
        if job.status is JobStatus.PENDING:  # it never began, so there is nothing to ask the store
            job.finish(ended_with(FailureRecord.from_exception(cancelled_error(job.job_id), FailureKind.CANCELLED)))

    def _end(self, job: TrackedJob, failure: FailureRecord) -> None:
        _, order = self._jobs[job.job_id]
        answer = settle(order, failure)
        if isinstance(answer, Outcome):
            job.finish(answer)
        else:
            self._leave(job, answer)

    @staticmethod
    def _leave(job: TrackedJob, unsettled: Unsettled) -> None:
        error = ConfigurationError(
            f"the backend of job {job.job_id} was shut down while it waited for {unsettled.waits_for}",
            hint=f"Look for job_id {job.job_id} in the store's runs.",
        )
        job.leave(error, "nothing any more: its backend was shut down before the store could be asked")

    def _site(self) -> ThreadSite:
        return ThreadSite(self._options.slots)

    def job(self, job_id: str) -> Job:
        """The job of this id."""
        check_job_id(job_id)
        with self._lock:
            if job_id in self._jobs:
                return self._jobs[job_id][0]
        raise JobNotFoundError(
            f"this backend has no job {job_id!r}.",
            hint="Jobs in threads are known only to the object that they were submitted to; see list_jobs().",
            job_id=job_id,
        )

    def jobs(
        self,
        *,
        status: JobStatus | str | None = None,
        name: str | None = None,
        since: datetime | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> JobPage:
        """Jobs that were submitted to this object, newest first."""
        with self._lock:
            known = [job for job, _ in self._jobs.values()]
        return page_of(known, status=status, name=name, since=since, limit=limit, cursor=cursor)

    def shutdown(self, wait: bool = True) -> None:
        """Stop; without ``wait``, jobs that have not ended are settled as lost."""
        with self._lock:
            again, self._closed = self._closed, True
            known = list(self._jobs.values())
        if not wait:
            self._stopping.set()
            for job, _ in known:
                if not job.status.is_terminal:
                    self._end(job, _left_behind())
        self._threads.shutdown(wait=wait, cancel_futures=not wait)
        committed = [order for job, order in known if job.status is JobStatus.COMPLETED]
        failure = maintain(committed[-1], at_least=1) if committed and not again else None
        if failure is not None:
            warn(maintenance_warning(self.store_config.uri, failure.message), stacklevel=2)

    @property
    def closed(self) -> bool:
        """Whether it has been shut down."""
        return self._closed


def _left_behind() -> FailureRecord:
    return FailureRecord(
        kind=FailureKind.LOST,
        error_type="checkmaite_core.errors.JobLostError",
        message="the backend was shut down before the job had ended.",
        retryable=True,
    )


class ThreadBackendPlugin:
    """Opens backends of threads."""

    options = ThreadOptions

    def open(self, options: ThreadOptions, store: AnalyticsStoreConfig) -> ThreadBackend:
        """A new one each time."""
        return ThreadBackend(store, options)

    @contextlib.contextmanager
    def site(self, options: ThreadOptions, store: AnalyticsStoreConfig) -> Iterator[ThreadSite]:
        """This process, as a preflight sees it."""
        yield ThreadSite(options.slots)


THREAD_BACKEND = ThreadBackendPlugin()
"""What an entry point of the group ``checkmaite.job_backends`` can name."""

"""Handles of jobs that live in the cluster, not in this process."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from checkmaite_core.job import Job, JobOrigin, JobStatus, Progress
from checkmaite_core.outcome import Outcome
from checkmaite_core.tracking import LONGEST_BLOCK, TrackedJob, check_timeout
from checkmaite_ray.attention import Attention

if TYPE_CHECKING:
    from checkmaite_core.errors import CheckmaiteError

__all__ = ["Handles", "SharedJob"]


class SharedJob(TrackedJob):
    """One client's handle of a job. What it shows is what the registry has said; waiting asks nobody.

    Args:
        job_id: Its id.
        name: A name for people.
        created_at: When it was submitted (UTC).
        origin: How the submission that returned it came by the job.
        origin_reason: Why so.
        cancel: Asks the registry to stop it, and returns what that says.
        broken: Why nothing will be heard of it any more; None while that is not so.
        attention: Is told who waits for it.
    """

    def __init__(
        self,
        job_id: str,
        name: str,
        created_at: datetime,
        origin: JobOrigin,
        origin_reason: str,
        cancel: Callable[[str], bool],
        broken: Callable[[], CheckmaiteError | None],
        attention: Attention,
    ) -> None:
        super().__init__(job_id, name, created_at, lambda _: None)
        self.origin = origin
        self.origin_reason = origin_reason
        self._ask = cancel
        self._broken = broken
        self._attention = attention

    def cancel(self) -> bool:
        if self.view().status.is_terminal:
            return False
        return self._ask(self.job_id)

    def wait(self, timeout: float | None = None) -> JobStatus:
        """Wait for the end (see :meth:`checkmaite_core.Job.wait`).

        Raises:
            ConfigurationError: The timeout is not a number, or the backend has been shut down here.
            ClusterError: The connection to the cluster has gone; the job may go on.
        """
        check_timeout(timeout)
        if self.view().status.is_terminal:
            return self.view().status
        end = None if timeout is None else time.monotonic() + timeout
        with self._attention.paid():
            while True:
                left = LONGEST_BLOCK if end is None else min(LONGEST_BLOCK, end - time.monotonic())
                status = super().wait(left if timeout is None or left > 0 else 0)
                if status.is_terminal or (end is not None and time.monotonic() >= end):
                    return status
                error = self._broken()
                if error is not None:
                    raise error

    def add_done_callback(self, callback: Callable[[Job], None]) -> None:
        if not self.view().status.is_terminal:
            self._attention.begin()
            super().add_done_callback(self._attention.end)
        super().add_done_callback(callback)

    def hear(self, view: tuple[Any, ...]) -> None:
        """What the registry says of it: status, began, ended (POSIX seconds), outcome (JSON)."""
        status, began, _, outcome, *_ = view  # a newer registry may tell more
        if outcome:
            self.finish(Outcome.model_validate_json(outcome))
        elif status == JobStatus.RUNNING and began is not None:
            self.mark_running(datetime.fromtimestamp(began, UTC))

    def hear_progress(self, progress: tuple[int, int | None, str]) -> None:
        """How far its code is."""
        if self.view().status is JobStatus.RUNNING:
            self.set_progress(Progress(*progress))


class Handles:
    """A client's handles of jobs that have not ended, and the news that came before them. Safe from any thread.

    News and the answer that a handle is made from travel apart, so news can come first: while a call is under way,
    news of jobs without a handle is kept for it. And a registry may die once it has answered: if its successor is told
    which jobs there are handles of before the handle of that answer is made, it has to be told again.

    Args:
        cancel: As for :class:`SharedJob`.
        broken: As for :class:`SharedJob`.
        attention: As for :class:`SharedJob`.
        missed: Called when handles were made that the last :meth:`followed` may have missed.
        scope: Whose jobs they are.
        recommit: Has what a job has computed stored (see :meth:`checkmaite_core.JobBackend.recommit`).
    """

    def __init__(
        self,
        cancel: Callable[[str], bool],
        broken: Callable[[], CheckmaiteError | None],
        attention: Attention,
        missed: Callable[[], None],
        scope: str,
        recommit: Callable[..., Job] | None = None,
    ) -> None:
        self._scope = scope
        self._cancel = cancel
        self._broken = broken
        self._attention = attention
        self._missed = missed
        self._recommit = recommit
        self._followed = 0
        self._lock = threading.RLock()
        self._jobs: dict[str, list[SharedJob]] = {}
        self._calls = 0
        self._early: dict[str, tuple[Any, ...]] = {}

    @contextlib.contextmanager
    def asked(self, call: Callable[[], dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """A call under way, whose answer handles are made from inside the block."""
        with self._lock:
            self._calls += 1
            followed = self._followed
        try:
            yield call()
        finally:
            with self._lock:
                self._calls -= 1
                if not self._calls:
                    self._early.clear()
                missed = self._followed != followed
            if missed:
                self._missed()

    def get(self, job_id: str) -> SharedJob | None:
        """A handle of this job that there is already."""
        with self._lock:
            return self._jobs.get(job_id, [None])[0]

    def found(self, job_id: str, what: dict[str, Any]) -> SharedJob:
        """A handle of a job that was looked up."""
        with self._lock:
            known = self.get(job_id)
            if known is None:
                return self.made(job_id, what, JobOrigin.STARTED)
        known.hear(tuple(what["view"][1:]))
        known.mark_waiting(what.get("waiting_for"))
        return known

    def made(self, job_id: str, what: dict[str, Any], origin: JobOrigin, shared: str = "") -> SharedJob:
        """A new handle, of what the registry has answered; ``shared``: what is the same, if it is another's job."""
        why = shared if origin is not JobOrigin.STARTED else what.get("reason")  # a registry of before tells none
        if why == "" and origin is JobOrigin.STARTED:
            why = f"no equal job in scope {self._scope}"
        reason = f"{origin}: {why}" if why else str(origin)
        created = datetime.fromtimestamp(what["submitted_at"], UTC)
        job = SharedJob(job_id, what["name"], created, origin, reason, self._cancel, self._broken, self._attention)
        job.recovers, job._recommitter = what.get("recovers"), self._recommit
        if what["waits"]:
            job.mark_pending(what["waits"])
        job.hear(tuple(what["view"][1:]))
        job.mark_waiting(what.get("waiting_for"))
        with self._lock:
            early = self._early.get(job_id)
            if early is not None:
                job.hear(early)
            if not job.view().status.is_terminal:
                self._jobs.setdefault(job_id, []).append(job)
        return job

    def unfinished(self) -> list[SharedJob]:
        """One handle of each job that has not ended."""
        with self._lock:
            return [jobs[0] for jobs in self._jobs.values()]

    def followed(self) -> list[str]:
        """Ids of the jobs that have not ended, for a new process of the registry."""
        with self._lock:
            self._followed += 1
            return list(self._jobs)

    def hear(self, job_id: str, view: tuple[Any, ...]) -> None:
        """News of a job."""
        with self._lock:
            if self._calls and job_id not in self._jobs:
                self._early[job_id] = view
            ended = bool(view[3])
            jobs = self._jobs.pop(job_id, []) if ended else list(self._jobs.get(job_id, ()))
            if ended and self._calls:
                self._early[job_id] = view
        for job in jobs:
            job.hear(view)

    def hear_progress(self, job_id: str, progress: tuple[int, int | None, str]) -> None:
        """How far a job is."""
        with self._lock:
            jobs = list(self._jobs.get(job_id, ()))
        for job in jobs:
            job.hear_progress(progress)

    def hear_waiting(self, job_id: str, reason: str | None) -> None:
        """What keeps a job that has begun from going on; None once nothing does."""
        with self._lock:
            jobs = list(self._jobs.get(job_id, ()))
        for job in jobs:
            job.mark_waiting(reason)

    def hear_why(self, job_id: str, reason: str) -> None:
        """What a job waits for."""
        with self._lock:
            jobs = list(self._jobs.get(job_id, ()))
        for job in jobs:
            job.mark_pending(reason)

"""Jobs of a backend that is told of every change in this process."""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from checkmaite_core.errors import CheckmaiteError, ConfigurationError
from checkmaite_core.forks import HomeProcess
from checkmaite_core.job import Job, JobPage, JobStatus, JobView, Progress
from checkmaite_core.outcome import Outcome

__all__ = ["LONGEST_BLOCK", "TrackedJob", "check_filters", "check_job_id", "check_timeout", "page_of"]

LONGEST_BLOCK = 0.5
"""Seconds that a wait blocks in one go: Ctrl-C just before a thread blocks is seen only when it wakes."""
_log = logging.getLogger(__name__)


class TrackedJob(Job):
    """A job whose state lives in this process. Safe to use from any thread.

    The status only moves forward, and the first end wins: whatever comes later changes nothing.

    Args:
        job_id: Its id.
        name: A name for people.
        created_at: When it was submitted (UTC).
        canceller: Called once, when cancellation is first asked for while the job has not ended.
    """

    def __init__(self, job_id: str, name: str, created_at: datetime, canceller: Callable[[TrackedJob], None]) -> None:
        super().__init__(job_id, name, created_at)
        self._canceller = canceller
        self._changed = threading.Condition()
        self._view = JobView()
        self._callbacks: list[Callable[[Job], None]] = []
        self._cancel_requested = False
        self._left: CheckmaiteError | None = None
        self._home = HomeProcess()

    def view(self) -> JobView:
        view = self._view
        if not view.status.is_terminal:
            self._home.require(f"job {self.job_id} ({self.name}) cannot be followed")
        return view

    @property
    def cancel_requested(self) -> bool:
        """Whether somebody has asked for it to be cancelled."""
        return self._cancel_requested

    def wait(self, timeout: float | None = None) -> JobStatus:
        """Wait for the end (see :meth:`checkmaite_core.Job.wait`).

        Raises:
            CheckmaiteError: Its end will never be known here (see :meth:`leave`).
        """
        check_timeout(timeout)
        if self.view().status.is_terminal:
            return self._view.status
        end = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not self._view.status.is_terminal:
                if self._left is not None:
                    raise self._left
                left = LONGEST_BLOCK if end is None else min(LONGEST_BLOCK, end - time.monotonic())
                if left <= 0:
                    break
                self._changed.wait(left)
            return self._view.status

    def cancel(self) -> bool:
        if self.view().status.is_terminal:
            return False
        with self._changed:
            if self._view.status.is_terminal:
                return False
            first = not self._cancel_requested
            self._cancel_requested = True
        if first:
            self._canceller(self)
        return True

    def add_done_callback(self, callback: Callable[[Job], None]) -> None:
        if not self.view().status.is_terminal:
            with self._changed:
                if not self._view.status.is_terminal and self._left is None:
                    self._callbacks.append(callback)
                    return
        self._call(callback)

    def mark_running(self, started_at: datetime) -> None:
        """A worker has begun (again, if it is a retry)."""
        self._update(status=JobStatus.RUNNING, started_at=started_at, pending_reason=None)

    def mark_waiting(self, reason: str | None) -> None:
        """Say what keeps the job from going on; None once nothing does."""
        self._update(waiting_for=reason)

    def mark_pending(self, reason: str | None) -> None:
        """Say why the job waits; it stays PENDING. Without effect once it runs."""
        with self._changed:
            if self._view.status is JobStatus.PENDING:
                self._view = replace(self._view, pending_reason=reason)

    def set_progress(self, progress: Progress) -> None:
        """The running code has said how far it is."""
        self._update(progress=progress)

    def finish(self, outcome: Outcome) -> bool:
        """End the job.

        Returns:
            False if it had ended before; then nothing changes.
        """
        with self._changed:
            ended = self._update(
                status=outcome.status,
                started_at=outcome.started_at or self._view.started_at,
                finished_at=outcome.finished_at,
                pending_reason=None,
                waiting_for=None,
                failure=outcome.failure,
                reference=outcome.reference,
            )
            if not ended:
                return False
            callbacks, self._callbacks = self._callbacks, []
            self._changed.notify_all()
        for callback in callbacks:
            self._call(callback)
        return True

    def leave(self, error: CheckmaiteError, reason: str) -> bool:
        """Nobody will find out any more how the job ends: its status stays, and waiting for it raises ``error``.

        Its callbacks are called, for nothing else will come.

        Args:
            error: What waiting raises.
            reason: What ``job.waiting_for`` says from now on.

        Returns:
            False if it has ended, or was left before; then nothing changes.
        """
        with self._changed:
            if self._left is not None or not self._update(waiting_for=reason):
                return False
            self._left = error
            callbacks, self._callbacks = self._callbacks, []
            self._changed.notify_all()
        for callback in callbacks:
            self._call(callback)
        return True

    def _call(self, callback: Callable[[Job], None]) -> None:
        try:
            callback(self)
        except Exception:  # the caller's code, in a thread of ours: as the standard library's futures do
            _log.exception("a done callback of job %s (%s) raised", self.job_id, self.name)

    def _update(self, **changes: object) -> bool:
        with self._changed:
            if self._view.status.is_terminal:
                return False
            self._view = replace(self._view, **changes)  # type: ignore[arg-type]
            return True


def check_timeout(timeout: object, name: str = "timeout") -> None:
    """Refuse what is not a number of seconds.

    Raises:
        ConfigurationError: It is neither a number nor None.
    """
    if timeout is not None and (not isinstance(timeout, int | float) or math.isnan(timeout)):
        raise ConfigurationError(
            f"{name}={timeout!r:.200} is not a number of seconds.", hint="Pass a number, or None to wait to the end."
        )


def check_job_id(job_id: object) -> None:
    """Refuse what cannot be a job's id, before it is looked up.

    Raises:
        ConfigurationError: It is no text.
    """
    if not isinstance(job_id, str):
        raise ConfigurationError(
            f"job_id={job_id!r:.200} is not text.", hint="Pass a job's job_id, such as those of list_jobs()."
        )


def check_filters(
    *, status: object = None, name: object = None, since: object = None, limit: object = 100, cursor: object = None
) -> None:
    """Refuse what cannot be a filter of a listing (see :func:`checkmaite_core.list_jobs`).

    Raises:
        ConfigurationError: One cannot be understood.
    """
    if not isinstance(limit, int):
        raise ConfigurationError(f"limit={limit!r} is not a whole number.", hint="Pass a limit of 1 or more.")
    if limit < 1:
        raise ConfigurationError(f"limit={limit} asks for no jobs.", hint="Pass a limit of 1 or more.")
    if since is not None and not isinstance(since, datetime):
        raise ConfigurationError(
            f"since={since!r} is not a datetime.", hint="Use datetime.now(timezone.utc) and arithmetic on it."
        )
    if since is not None and since.tzinfo is None:
        raise ConfigurationError(
            f"since={since.isoformat()} has no time zone.", hint="Use datetime.now(timezone.utc) and arithmetic on it."
        )
    if name is not None and not isinstance(name, str):
        raise ConfigurationError(f"name={name!r:.200} is not text.", hint="Pass the name that the job was given.")
    if status is not None and status not in list(JobStatus):  # a list, as what is passed may have no hash
        raise ConfigurationError(f"{status!r:.200} is no job status.", hint=f"Use one of {', '.join(JobStatus)}.")
    if cursor is not None and (type(cursor) is not str or not re.fullmatch(r"[0-9]{1,18}", cursor)):
        raise ConfigurationError(f"cursor {cursor!r} is not one of ours.", hint="Pass a JobPage's next_cursor.")


def page_of(
    jobs: Iterable[Job],
    *,
    status: JobStatus | str | None,
    name: str | None,
    since: datetime | None,
    limit: int,
    cursor: str | None,
) -> JobPage:
    """Filter and page jobs given in the order of their submission; newest first.

    Args:
        jobs: All jobs, oldest first.
        status: Only those that are so now.
        name: Only those with exactly this name.
        since: Only those submitted at or after this time (aware).
        limit: Most jobs on the page.
        cursor: ``next_cursor`` of the page before. It names a position in the order of submission, so pages
            neither repeat nor skip a job while others arrive.

    Raises:
        ConfigurationError: A filter cannot be understood.
    """
    check_filters(status=status, name=name, since=since, limit=limit, cursor=cursor)
    numbered = list(enumerate(jobs))
    page: list[Job] = []
    for position, job in reversed(numbered):
        if cursor is not None and position >= int(cursor):
            continue
        if len(page) == limit:
            return JobPage(page, next_cursor=str(position + 1))
        wanted = (status is None or job.status == status) and (name is None or job.name == name)
        if wanted and (since is None or job.created_at >= since):
            page.append(job)
    return JobPage(page)

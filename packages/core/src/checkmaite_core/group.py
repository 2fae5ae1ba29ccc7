"""Jobs that were submitted together, and waiting for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Literal, overload

from checkmaite_core.errors import JobError, JobTimeoutError
from checkmaite_core.forks import HomeProcess
from checkmaite_core.job import Job, JobStatus
from checkmaite_core.reference import CapabilityRunRef
from checkmaite_core.tracking import LONGEST_BLOCK, check_timeout

__all__ = ["JobGroup"]


class JobGroup(Sequence[Job]):
    """Jobs in the order of their works; equal works may share one job.

    It costs one callback per job and no thread, however many wait. Safe to use from any thread.

    Args:
        jobs: The jobs.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = tuple(jobs)
        self._ends = _Ends(self._jobs)
        self._home = HomeProcess()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all have ended, at most ``timeout`` seconds, and return whether they have. Never raises for jobs.

        Raises:
            ConfigurationError: The timeout is not a number.
        """
        return self._wait(len(self._jobs), timeout)

    def _wait(self, number: int, timeout: float | None, *, or_bad: bool = False) -> bool:
        if self._home.is_elsewhere:
            self.counts()  # raises for one that has not ended, of which nothing will be heard here
        return self._ends.wait(number, timeout, or_bad=or_bad)

    @overload
    def results(
        self, timeout: float | None = None, *, return_exceptions: Literal[False] = False
    ) -> list[CapabilityRunRef]: ...
    @overload
    def results(
        self, timeout: float | None = None, *, return_exceptions: bool
    ) -> list[CapabilityRunRef | JobError]: ...
    def results(
        self, timeout: float | None = None, *, return_exceptions: bool = False
    ) -> list[CapabilityRunRef] | list[CapabilityRunRef | JobError]:
        """Wait for the references to all results, in the order of the works.

        Args:
            timeout: Seconds to wait at most; None waits as long as it takes.
            return_exceptions: Wait for all, and put the error of a job that ended badly in its place.

        Raises:
            JobFailedError: One failed; raised as soon as that is known. The others go on.
            JobCancelledError: One was cancelled.
            JobTimeoutError: Some had not ended in time; they go on.
        """
        if not self._wait(len(self._jobs), timeout, or_bad=not return_exceptions):
            raise self._late(timeout)
        if return_exceptions:
            return [job.exception(0) or job.result(0) for job in self._jobs]
        return self._all_results()

    def as_completed(self, timeout: float | None = None) -> Iterator[Job]:
        """The jobs in the order in which they end, each as soon as it has.

        Args:
            timeout: Seconds from now for all of them; None waits as long as it takes.

        Raises:
            JobTimeoutError: Some had not ended in time; they go on.
        """
        check_timeout(timeout)
        return self._in_order(timeout, None if timeout is None else time.monotonic() + timeout)

    def _in_order(self, timeout: float | None, end: float | None) -> Iterator[Job]:
        for number in range(len(self._jobs)):
            left = None if end is None else max(0.0, end - time.monotonic())
            if not self._wait(number + 1, left):
                raise self._late(timeout)
            yield self._ends.ended[number]

    def cancel(self) -> int:
        """Ask for all that have not ended to be stopped; returns how many that were (see :meth:`Job.cancel`)."""
        return sum([job.cancel() for job in self._jobs])

    def counts(self) -> Mapping[JobStatus, int]:
        """How many jobs are in each status now; a status that none has is left out."""
        found = Counter(job.status for job in self._jobs)
        return {status: found[status] for status in JobStatus if found[status]}

    def __await__(self) -> Generator[object, None, list[CapabilityRunRef]]:
        """Wait without blocking the event loop; like :meth:`results`. Cancelling the wait leaves the jobs alone."""
        return self._settled().__await__()

    async def _settled(self) -> list[CapabilityRunRef]:
        if self._home.is_elsewhere:
            self.counts()  # as in _wait()
        loop = asyncio.get_running_loop()
        settled = asyncio.Event()

        def tell() -> None:
            # The loop may have gone before the jobs ended; then nobody waits any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settled.set)

        self._ends.call_when_settled(tell)
        await settled.wait()
        return self._all_results()

    def _all_results(self) -> list[CapabilityRunRef]:
        if self._ends.bad is not None:
            self._ends.bad.result(0)
        return [job.result(0) for job in self._jobs]

    def _late(self, timeout: float | None) -> JobTimeoutError:
        unfinished = [job for job in self._jobs if not job.status.is_terminal]
        first = (unfinished or self._jobs)[0]
        return JobTimeoutError(
            f"{len(unfinished)} of {len(self._jobs)} jobs have not ended after {timeout} s; the first of them is "
            f"{first.job_id} ({first.name}), which is {first.status}.",
            hint="Wait longer, look at group.counts() and at pending_reason of the jobs, or call group.cancel().",
            job_id=first.job_id,
        )

    @overload
    def __getitem__(self, index: int) -> Job: ...
    @overload
    def __getitem__(self, index: slice) -> JobGroup: ...
    def __getitem__(self, index: int | slice) -> Job | JobGroup:
        return JobGroup(self._jobs[index]) if isinstance(index, slice) else self._jobs[index]

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs)

    def __repr__(self) -> str:
        if self._home.is_elsewhere:
            return f"<JobGroup of {len(self._jobs)} of another process>"
        counts = ", ".join(f"{count} {status}" for status, count in self.counts().items())
        return f"<JobGroup of {len(self._jobs)}{f': {counts}' if counts else ''}>"


class _Ends:
    """The ends of some jobs, in their order. Asks for them when somebody first waits."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.ended: list[Job] = []
        self.bad: Job | None = None
        self._jobs = jobs
        self._asked = False
        self._changed = threading.Condition()
        self._callbacks: list[Callable[[], None]] = []

    def wait(self, count: int, timeout: float | None, *, or_bad: bool = False) -> bool:
        """Wait until ``count`` have ended (or one has, badly), at most ``timeout`` seconds; returns whether so."""
        check_timeout(timeout)
        end = None if timeout is None else time.monotonic() + timeout
        self._ask()
        with self._changed:
            while len(self.ended) < count and not (or_bad and self.bad):
                left = LONGEST_BLOCK if end is None else min(LONGEST_BLOCK, end - time.monotonic())
                if left <= 0:
                    if sum(job.status.is_terminal for job in self._jobs) < count:
                        return False
                    left = LONGEST_BLOCK  # their callbacks are on the way
                self._changed.wait(left)
            return True

    def call_when_settled(self, callback: Callable[[], None]) -> None:
        """Call it once one has ended badly, or all have ended; at once if that is so."""
        self._ask()
        with self._changed:
            if not self._is_settled():
                self._callbacks.append(callback)
                return
        callback()

    def _is_settled(self) -> bool:
        return self.bad is not None or len(self.ended) == len(self._jobs)

    def _ask(self) -> None:
        with self._changed:
            asked, self._asked = self._asked, True
        if not asked:
            for job in self._jobs:
                job.add_done_callback(self._on_end)

    def _on_end(self, job: Job) -> None:
        badly = job.status is not JobStatus.COMPLETED
        with self._changed:
            self.ended.append(job)
            if badly and self.bad is None:
                self.bad = job
            callbacks: list[Callable[[], None]] = []
            if self._is_settled():
                callbacks, self._callbacks = self._callbacks, []
            self._changed.notify_all()
        for callback in callbacks:
            callback()

"""Settling jobs that ended badly: on workers with the jobs' overlay, a few tasks at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import ray

from checkmaite_core.failure import FailureKind, FailureRecord
from checkmaite_core.job import JobStatus
from checkmaite_core.outcome import Outcome
from checkmaite_core.provenance import utc_now
from checkmaite_ray.background import Background
from checkmaite_ray.launching import task_of
from checkmaite_ray_simple import failures
from checkmaite_ray_simple.worker import settle_jobs

__all__ = ["Settlements", "unsettled"]

_TASKS = 2
_BATCH = 100
"""How many settling tasks run at a time, and how many jobs one of them settles at most."""
_TRIES = 3
"""How often settling is begun before it is given up."""

_Job = tuple[str, str, str, str]


class Settlements:
    """Lets workers find out which jobs committed before they ended, and close the places of the others.

    Settling needs no CPU, so Ray would start a process for every task of a burst: here few tasks run, of what came
    together while they did.

    Args:
        done: Called with each job's id and its outcome (JSON).
        work: What it runs in.
    """

    def __init__(self, done: Callable[[str, str], None], work: Background) -> None:
        self._done = done
        self._work = work
        self._waiting: dict[str, deque[_Job]] = {}
        self._known: set[str] = set()
        self._running = 0

    def add(self, jobs: list[_Job]) -> None:
        """Settle jobs: each as id, order (JSON), overlay (JSON) and failure (JSON). Ones in hand are left alone."""
        for job in jobs:
            if job[0] not in self._known:
                self._known.add(job[0])
                self._waiting.setdefault(job[2], deque()).append(job)
        self._start()

    def _start(self) -> None:
        while self._waiting and self._running < _TASKS:
            overlay, queue = next(iter(self._waiting.items()))
            batch = [queue.popleft() for _ in range(min(_BATCH, len(queue)))]
            if not queue:
                del self._waiting[overlay]
            self._running += 1
            self._work.spawn(self._settle(overlay, batch))

    async def _settle(self, overlay: str, batch: list[_Job]) -> None:
        wanted = [(order, failure) for _, order, _, failure in batch]
        last: BaseException | None = None
        for _ in range(_TRIES):
            try:
                outcomes: list[str] = await settle_jobs.options(**task_of({}, overlay)).remote(wanted)
            except ray.exceptions.RayError as error:
                last = error
                continue
            break
        else:
            outcomes = [unsettled(job[0], FailureRecord.model_validate_json(job[3]), last) for job in batch]
        for (job_id, *_), outcome in zip(batch, outcomes, strict=True):
            self._known.discard(job_id)
            self._done(job_id, outcome)
        self._running -= 1
        self._start()


def unsettled(job_id: str, failure: FailureRecord, error: BaseException | None) -> str:
    """The outcome (JSON) of a job whose place in the store could not be looked at."""
    note = (
        f"{failure.message}\nNo worker could be asked whether its results had been stored before that"
        f"{f' ({failures.first_line(error)})' if error else ''}; look in the analytics store's runs table for "
        f"job_id {job_id}."
    )
    status = JobStatus.CANCELLED if failure.kind is FailureKind.CANCELLED else JobStatus.FAILED
    failure = failure.model_copy(update={"message": note})
    return Outcome(status=status, failure=failure, finished_at=utc_now()).model_dump_json()

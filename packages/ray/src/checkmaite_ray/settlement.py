"""Settling jobs that ended badly: on workers with the jobs' overlay, a few tasks at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import ray

from checkmaite_core.outcome import Unsettled
from checkmaite_ray.background import Background
from checkmaite_ray.launching import task_of
from checkmaite_ray_simple.settling import no_worker, variables_alone
from checkmaite_ray_simple.worker import settle_jobs

__all__ = ["Settlements"]

_TASKS = 2
_BATCH = 100
"""How many settling tasks run at a time, and how many jobs one of them settles at most."""

_Job = tuple[str, str, str, str]


class Settlements:
    """Lets workers find out which jobs committed before they ended, and close the places of the others.

    Settling needs no CPU, so Ray would start a process for every task of a burst: here few tasks run, of what came
    together while they did. Each job is asked about once: where that gives no answer the registry asks again, with
    the storage options that it has by then.

    Args:
        done: Called with each job's id and its outcome (JSON).
        waiting: Called with the id of a job that could not be settled, and what it waits for.
        work: What it runs in.
    """

    def __init__(self, done: Callable[[str, str], None], waiting: Callable[[str, str], None], work: Background) -> None:
        self._done = done
        self._tell_waiting = waiting
        self._work = work
        self._waiting: dict[str, deque[_Job]] = {}
        self._known: set[str] = set()
        self._running = 0
        self._bare: set[str] = set()

    def add(self, jobs: list[_Job]) -> None:
        """Settle jobs: each as id, order, overlay and what is known of it (an ``Unsettled``), the last three as JSON.

        Ones in hand are left alone.
        """
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
        wanted = [(order, known) for _, order, _, known in batch]
        used = variables_alone(overlay) if overlay in self._bare else overlay
        self._bare.discard(overlay)
        try:
            answers: list[str] = await settle_jobs.options(**task_of({}, used)).remote(wanted)
        except Exception as error:  # whatever Ray raises for a task: reported as what the jobs wait for
            if isinstance(error, ray.exceptions.RuntimeEnvSetupError):
                self._bare.add(overlay)
            answers = [no_worker(Unsettled.model_validate_json(job[3]), error).model_dump_json() for job in batch]
        for (job_id, *_), answer in zip(batch, answers, strict=True):
            self._known.discard(job_id)
            left = Unsettled.read(answer)
            if left is None:
                self._done(job_id, answer)
            else:
                self._tell_waiting(job_id, left.waits_for or "")
        self._running -= 1
        self._start()

"""Settling jobs that ended badly: on workers, a few tasks at a time, again and again until the store has answered."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from ray import exceptions as raised

from checkmaite_core.failure import FailureRecord
from checkmaite_core.outcome import Unsettled
from checkmaite_core.provenance import utc_now
from checkmaite_core.settling import pause_s, settle_all, waits_for
from checkmaite_core.submission import WorkOrder
from checkmaite_ray_simple import failures
from checkmaite_ray_simple.overlay.uploading import in_overlay
from checkmaite_ray_simple.worker import settle_jobs

__all__ = ["LocalSettler", "Settler", "no_worker", "variables_alone"]

_TASKS = 2
_BATCH = 100
"""How many settling tasks run at a time, and how many jobs one of them settles at most."""

T = TypeVar("T")
_Job = tuple[T, str, Unsettled, int]
"""What a job was added under, its order (JSON), what is known of it, and how often it has been asked about."""


class Settler(Generic[T]):
    """Lets workers find out which jobs committed before they ended, and close the places of the others.

    Settling needs no CPU, so Ray would start a process for every task of a burst: here few tasks run, of what came
    together while they did. Used by the dispatcher's thread alone.

    Args:
        then: ``then(reference, handle, *arguments)`` has ``handle(value, error, *arguments)`` called once the Ray
            reference is there.
        later: ``later(seconds, function, *arguments)`` has the function called then.
        overlay: What the jobs' workers run with (JSON): they may have the store's credentials from there.
        done: Called for each job with what it was added under and its outcome (JSON).
        waiting: Called for each that could not be settled yet, with what it waits for.
    """

    def __init__(
        self,
        then: Callable[..., None],
        later: Callable[..., None],
        overlay: str,
        done: Callable[[T, str], None],
        waiting: Callable[[T, str], None],
    ) -> None:
        self._then = then
        self._later = later
        self._overlay = overlay
        self._done = done
        self._tell_waiting = waiting
        self._waiting: list[_Job[T]] = []
        self._running = 0
        self._bare = False
        self._round = 0

    def add(self, jobs: Iterable[tuple[T, str, FailureRecord | Unsettled]]) -> None:
        """Settle jobs: each with what to call it, its work order (JSON), and how it ended if nothing is stored."""
        for job, order, known in jobs:
            unsettled = known if isinstance(known, Unsettled) else Unsettled(failure=known)
            self._waiting.append((job, order, unsettled, 0))
        self._start()

    def clear(self) -> None:
        """Forget all of them."""
        self._waiting.clear()
        self._round += 1

    def _start(self) -> None:
        while self._waiting and self._running < _TASKS:
            batch = self._waiting[:_BATCH]
            jobs = [(order, unsettled.model_dump_json()) for _, order, unsettled, _ in batch]
            overlay = variables_alone(self._overlay) if self._bare else self._overlay
            self._bare = False
            reference: Any = in_overlay(settle_jobs, overlay).remote(jobs)
            del self._waiting[:_BATCH]
            self._running += 1
            self._then(reference, self._on_answer, batch, self._round)

    def _on_answer(
        self, answers: list[str] | None, error: BaseException | None, batch: list[_Job[T]], begun: int
    ) -> None:
        self._running -= 1
        self._bare = isinstance(error, raised.RuntimeEnvSetupError)
        again: dict[int, list[_Job[T]]] = {}
        for position, (job, order, known, tries) in enumerate(batch):
            if answers is None:
                assert error is not None, "a task without answers has raised"
                left: Unsettled | None = no_worker(known, error)
            else:
                left = Unsettled.read(answers[position])
                if left is None:
                    self._done(job, answers[position])
            if left is not None and begun == self._round:
                self._tell_waiting(job, left.waits_for or "")
                again.setdefault(tries + 1, []).append((job, order, left, tries + 1))
        for tries, jobs in again.items():
            self._later(pause_s(tries), self._ask_again, jobs, begun)
        self._start()

    def _ask_again(self, jobs: list[_Job[T]], begun: int) -> None:
        if begun == self._round:
            self._waiting += jobs
            self._start()


class LocalSettler(Generic[T]):
    """Settles jobs in this process, in a thread of its own: there are no workers any more.

    Args:
        done: As for :class:`Settler`; called in the thread.
        waiting: As for :class:`Settler`; called in the thread.
    """

    def __init__(self, done: Callable[[T, str], None], waiting: Callable[[T, str], None]) -> None:
        self._done = done
        self._tell_waiting = waiting
        self._lock = threading.Lock()
        self._jobs: dict[T, tuple[str, Unsettled]] = {}
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def add(self, jobs: Iterable[tuple[T, str, FailureRecord]]) -> None:
        """As :meth:`Settler.add`; those that are in hand are left alone."""
        with self._lock:
            for job, order, failure in jobs:
                self._jobs.setdefault(job, (order, Unsettled(failure=failure)))
            if self._jobs and self._thread is None and not self._stopped.is_set():
                self._thread = threading.Thread(target=self._run, name="checkmaite-settling", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stopped.set()

    def _run(self) -> None:
        tries = 0
        while True:
            with self._lock:
                jobs = dict(self._jobs)
                if not jobs:
                    self._thread = None
                    return
            orders = [(WorkOrder.model_validate_json(order), known) for order, known in jobs.values()]
            for job, answer in zip(jobs, settle_all(orders), strict=True):
                with self._lock:
                    if isinstance(answer, Unsettled):
                        self._jobs[job] = (jobs[job][0], answer)
                    else:
                        del self._jobs[job]
                if isinstance(answer, Unsettled):
                    self._tell_waiting(job, answer.waits_for or "")
                else:
                    self._done(job, answer.model_dump_json())
            tries += 1
            if self._stopped.wait(pause_s(tries)):
                return


def no_worker(known: Unsettled, error: BaseException) -> Unsettled:
    """What is known of a job when the task that was to settle it has failed."""
    since = known.since or utc_now()
    reason = waits_for("a worker that can ask the analytics store", since, failures.first_line(error))
    return known.model_copy(update={"waits_for": reason, "since": since})


def variables_alone(overlay: str) -> str:
    """An overlay without what takes setting up: its variables, which may be the store's credentials."""
    variables = json.loads(overlay).get("env_vars")
    return json.dumps({"env_vars": variables} if variables else {})

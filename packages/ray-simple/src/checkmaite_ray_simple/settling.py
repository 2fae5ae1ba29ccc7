"""Settling jobs that ended badly: on workers, a few tasks at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from checkmaite_core.failure import FailureRecord
from checkmaite_ray_simple import failures
from checkmaite_ray_simple.overlay.uploading import in_overlay
from checkmaite_ray_simple.worker import settle_jobs

__all__ = ["Settler"]

_TASKS = 2
_BATCH = 100
"""How many settling tasks run at a time, and how many jobs one of them settles at most."""
_TRIES = 3
"""How often settling is begun before it is given up; by us, because Ray does not count out-of-memory kills."""

T = TypeVar("T")


class Settler(Generic[T]):
    """Lets workers find out which jobs committed before they ended, and close the places of the others.

    Settling needs no CPU, so Ray would start a process for every task of a burst: here few tasks run, of what came
    together while they did. Used by the dispatcher's thread alone.

    Args:
        then: ``then(reference, handle, *arguments)`` has ``handle(value, error, *arguments)`` called once the Ray
            reference is there.
        overlay: What the jobs' workers run with (JSON): they may have the store's credentials from there.
        done: Called for each job with what it was added under, its failure, and either its outcome (JSON) or the
            error because of which nothing could be found out.
    """

    def __init__(
        self,
        then: Callable[..., None],
        overlay: str,
        done: Callable[[T, FailureRecord, str | None, BaseException | None], None],
    ) -> None:
        self._then = then
        self._overlay = overlay
        self._done = done
        self._waiting: list[tuple[T, str, FailureRecord, int]] = []
        self._running = 0

    def add(self, jobs: Iterable[tuple[T, str, FailureRecord]]) -> None:
        """Settle jobs: each with what to call it, its work order (JSON), and how it ended."""
        self._waiting += [(job, order, failure, _TRIES) for job, order, failure in jobs]
        self._start()

    def clear(self) -> None:
        """Forget what has not been started."""
        self._waiting.clear()

    def _start(self) -> None:
        while self._waiting and self._running < _TASKS:
            batch = self._waiting[:_BATCH]
            jobs = [(order, failure.model_dump_json()) for _, order, failure, _ in batch]
            reference: Any = in_overlay(settle_jobs, self._overlay).remote(jobs)
            del self._waiting[:_BATCH]
            self._running += 1
            self._then(reference, self._on_answer, batch)

    def _on_answer(
        self,
        outcomes: list[str] | None,
        error: BaseException | None,
        batch: list[tuple[T, str, FailureRecord, int]],
    ) -> None:
        self._running -= 1
        again = error is not None and failures.describe(error, 0, "").retryable
        for position, (job, order, failure, tries) in enumerate(batch):
            if outcomes is None and again and tries > 1:
                self._waiting.append((job, order, failure, tries - 1))
            else:
                self._done(job, failure, outcomes[position] if outcomes is not None else None, error)
        self._start()

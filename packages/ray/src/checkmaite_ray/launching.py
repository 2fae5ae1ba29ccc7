"""One start of a job, as the registry hands it to a controller, and the Ray task that it becomes."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field
from typing import Any

import ray

from checkmaite_ray_simple.resources import options_of
from checkmaite_ray_simple.worker import job_task

__all__ = ["Item", "task_of"]

_LARGE = 64 * 1024
"""Payloads of this size (bytes) and more go into Ray's object store once, and not into the task itself."""


@dataclass(slots=True)
class Item:
    """What a controller needs to start a job.

    Attributes:
        job_id: The job.
        attempt: Which start of it.
        order: The work order (JSON), complete.
        overlay: The runtime_env (canonical JSON).
        demand: What it asks for, by Ray's names of resources.
        cancel_grace_seconds: How long it may take to stop by itself.
        retry_exceptions: Exceptions after which it is not to be settled.
        payload: The pickled work.
    """

    job_id: str
    attempt: int
    order: str
    overlay: str = field(repr=False)
    demand: dict[str, float]
    cancel_grace_seconds: float
    retry_exceptions: tuple[str, ...]
    payload: bytes

    def start(self, board: tuple[str, str]) -> Any:
        """Hand it to Ray; returns the reference to what the worker will answer.

        Args:
            board: Namespace and name of the actor that the worker is to tell of its progress.

        Raises:
            ValueError: Ray does not take the demand or the overlay.
        """
        function = _prepared(tuple(self.demand.items()), self.overlay)
        payload: Any = ray.put(self.payload) if len(self.payload) >= _LARGE else self.payload
        return function.remote(self.order, payload, self.attempt, board, self.retry_exceptions)


@functools.lru_cache(maxsize=256)
def _prepared(demand: tuple[tuple[str, float], ...], overlay: str) -> Any:
    """The task's function with its options, which Ray takes a while to check; most jobs have those of the last."""
    return job_task(overlay).options(**task_of(dict(demand), overlay))


def task_of(demand: dict[str, float], overlay: str) -> dict[str, Any]:
    """A demand and an overlay as options of a Ray task."""
    # The overlay is given explicitly, even if empty: a task would otherwise inherit what its owner has.
    return {**options_of(demand), "max_retries": 0, "runtime_env": json.loads(overlay)}

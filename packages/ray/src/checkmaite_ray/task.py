"""The Ray task of a job: that of ray-simple, in a process that dies at once when Ray tells it to end."""

from __future__ import annotations

import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import ray

from checkmaite_ray_simple import worker

__all__ = ["run_job"]


@ray.remote(max_retries=0)
def run_job(order: str, payload: bytes, attempt: int, board: Any, retry_exceptions: Collection[str] = ()) -> str:
    """Run one job (see :func:`checkmaite_ray_simple.worker.run_job`)."""
    run: Any = worker.run_job._function
    with _ending_at_once():
        answer: str = run(order, payload, attempt, board, retry_exceptions)
    return answer


@contextmanager
def _ending_at_once() -> Iterator[None]:
    """Within the block SIGTERM ends the process.

    Ray sends it to the workers of a controller that has died and of a node that is drained, and makes it a SystemExit.
    In the user's code that looks as if the code had ended by itself: the job would fail, its place in the store be
    closed, and the start that takes its place find it so.
    """
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

"""What runs on the cluster: the task of a job, and those that settle jobs and put the store in order."""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import ray
from ray import cloudpickle

from checkmaite_core.execution import execute, maintain
from checkmaite_core.outcome import Unsettled
from checkmaite_core.process_state import process_kept
from checkmaite_core.provenance import utc_now
from checkmaite_core.settling import settle_all, waits_for
from checkmaite_core.submission import WorkOrder
from checkmaite_ray_simple.alarm import Alarm
from checkmaite_ray_simple.channel import Event
from checkmaite_ray_simple.overlay.uploading import is_fresh

__all__ = ["job_task", "maintain_store", "run_job", "settle_jobs"]

_BEGAN_AFTER = 0.05
_PROGRESS_INTERVAL = 0.2
_CANCEL_INTERVAL = 0.2
_ANSWER_TIMEOUT = 2.0
"""Seconds: before the first message, between two reports, between two questions, and the longest wait for an answer."""

_alarm = Alarm()


class _Monitor:
    """A worker's end of a run: sends what happens to the board, asks it whether to stop. Never raises for Ray.

    The first message waits a little: a job that has ended by then needs none, and many are that short.

    Args:
        board: The actor, or the namespace and name of one, which is looked up when there is something to say.
        job_id: The job.
        attempt: Which start of it.
    """

    def __init__(self, board: Any, job_id: str, attempt: int) -> None:
        self._board = board
        self._last = Event(job_id, attempt, datetime.now(UTC), os.getpid(), ray.get_runtime_context().get_node_id())
        self._reported = self._asked = float("-inf")
        self._cancelled = False
        self._held_back = True
        _alarm.set(_BEGAN_AFTER, self._send)

    def close(self) -> None:
        """The job has ended; what is held back is not sent any more."""
        _alarm.clear()

    def report_progress(self, done: int, total: int | None, description: str) -> None:
        # Whole, with when and where it began: should the board have been restarted, this makes up for what it lost.
        self._last = self._last.with_progress(done, total, description)
        if self._held_back:
            return  # it will be sent, for that looks only after it has said that nothing is held back
        wait = self._reported + _PROGRESS_INTERVAL - time.monotonic()
        if wait <= 0:
            self._send()
        else:
            # The step after this one may take an hour.
            self._held_back = True
            _alarm.set(wait, self._send)

    def report_waiting(self, reason: str | None) -> None:
        self._last = self._last.waiting(reason)
        _alarm.clear()
        self._send()  # with whatever was held back: it has nothing better to do

    def _send(self) -> None:
        self._held_back = False
        self._reported = time.monotonic()
        board = self._actor()
        if board is not None:
            board.tell.remote(self._last)

    def cancel_requested(self) -> bool:
        now = time.monotonic()
        if not self._cancelled and now - self._asked >= _CANCEL_INTERVAL:
            self._asked = now
            board = self._actor()
            if board is None:
                return False
            try:
                question = board.is_cancelled.remote(self._last.job_id)
                self._cancelled = ray.get(question, timeout=_ANSWER_TIMEOUT)
            except ray.exceptions.RayError:
                # The board is being restarted. A missed answer costs the rest of the grace period at worst.
                return False
        return self._cancelled

    def _actor(self) -> Any:
        if isinstance(self._board, tuple):
            try:
                return _found(*self._board)
            except (ValueError, ray.exceptions.RayError):
                # It has died, and this process is about to; or the GCS does not answer at the moment.
                return None
        return self._board


@functools.lru_cache(maxsize=8)
def _found(namespace: str, name: str) -> Any:
    return ray.get_actor(name, namespace)


@contextmanager
def _ending_at_once() -> Iterator[None]:
    """Within the block SIGTERM ends the process.

    Ray sends it to the workers of an owner that has died and of a node that is drained, and makes it a SystemExit. In
    the user's code that looks as if the code had ended by itself: the job would fail, its place in the store be closed,
    and the start that takes its place find it so.
    """
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@ray.remote(max_retries=0)
def run_job(order: str, payload: bytes, attempt: int, board: Any, retry_exceptions: Collection[str] = ()) -> str:
    """Run one job and return, as JSON, its :class:`~checkmaite_core.outcome.Outcome`.

    If its code raised one of ``retry_exceptions``, or the store could not be asked how it has ended, that is an
    :class:`~checkmaite_core.outcome.Unsettled` instead.

    The payload is bytes to Ray: whatever is wrong with unpickling it is found, and explained, by ``execute``.
    """
    return _run(order, payload, attempt, board, retry_exceptions)


# Its process takes no other job: Ray ends it after one call.
@ray.remote(max_retries=0, max_calls=1)
def run_job_alone(order: str, payload: bytes, attempt: int, board: Any, retry_exceptions: Collection[str] = ()) -> str:
    """The same in a process of its own."""
    try:
        return _run(order, payload, attempt, board, retry_exceptions)
    finally:
        if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
            threading.Thread(target=_end_in_spite_of_threads, name="checkmaite-end", daemon=True).start()


def job_task(overlay: str) -> Any:
    """The task that runs a job in an overlay (JSON): one that ends its process with the job, if that is fresh."""
    return run_job_alone if is_fresh(overlay) else run_job


def _end_in_spite_of_threads() -> None:
    """Python would wait for them once Ray has done with the process, for ever if need be."""
    threading.main_thread().join()
    os._exit(0)


def _run(order: str, payload: bytes, attempt: int, board: Any, retry_exceptions: Collection[str]) -> str:
    work = WorkOrder.model_validate_json(order)
    monitor = _Monitor(board, work.job_id, attempt)
    try:
        with _ending_at_once(), process_kept() as state:
            answer = execute(
                work,
                payload,
                loads=state.saved_after(cloudpickle.loads),
                monitor=monitor,
                pickler=cloudpickle.Pickler,
                attempt=attempt,
                retry_exceptions=retry_exceptions,
                node=f"node:{ray.util.get_node_ip_address()}",  # type: ignore[no-untyped-call]
            )
    finally:
        monitor.close()
    return answer.model_dump_json()


@ray.remote(num_cpus=0, max_retries=0)
def settle_jobs(jobs: list[tuple[str, str]]) -> list[str]:
    """Settle jobs, given as order and :class:`~checkmaite_core.outcome.Unsettled`; all as JSON.

    On a worker, because the client needs neither the store's libraries nor write access to it.

    Returns:
        Of each its outcome, or what it still waits for.
    """
    orders: list[tuple[int, WorkOrder, Unsettled]] = []
    answers: dict[int, str] = {}
    for number, (text, job) in enumerate(jobs):
        unsettled = Unsettled.model_validate_json(job)
        try:
            orders.append((number, WorkOrder.model_validate_json(text), unsettled))
        except Exception as error:  # of another version, say: it is this job's matter, not the others'
            since = unsettled.since or utc_now()
            reason = waits_for("a worker that can read what it is about", since, error)
            answers[number] = unsettled.model_copy(update={"waits_for": reason, "since": since}).model_dump_json()
    found = settle_all([(order, unsettled) for _, order, unsettled in orders])
    for (number, *_), answer in zip(orders, found, strict=True):
        answers[number] = answer.model_dump_json()
    return [answers[number] for number in range(len(jobs))]


# Without a CPU: on a cluster of one, it must not wait for a long job, nor a job for it.
@ray.remote(num_cpus=0, max_retries=0)
def maintain_store(order: str, at_least: int) -> str | None:
    """Put the store of a job's order (JSON) in order, if ``at_least`` commits wait; returns what stood in the way."""
    failure = maintain(WorkOrder.model_validate_json(order), at_least=at_least)
    return None if failure is None else failure.message

"""Where jobs wait to be started: one queue for each shape, served in turn."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from checkmaite_ledger.records import JobRecord

__all__ = ["Queues"]


@dataclass(slots=True)
class _Queue:
    first: deque[str] = field(default_factory=deque)
    again: list[tuple[int, str]] = field(default_factory=list)  # a heap, by position
    waiting: int = 0
    out: int = 0
    in_turn: bool = False
    full: bool = False  # the window was reached, and has not been half emptied since


class Queues:
    """The queues of all shapes. First come, first served within a shape; the shapes take turns.

    A window that was filled is filled again when half of it is empty, so that under load jobs go out many at a time:
    handing over costs an entry in the ledger and a call to a controller, however many jobs go.

    A job that no longer waits leaves its entry behind, to be passed over when its turn comes: so every call takes
    constant time, or logarithmic for a job that is started again.

    Args:
        window: Jobs of one shape that may be out at a time.
        waits: Whether a job still waits.
    """

    def __init__(self, window: int, waits: Callable[[str], bool]) -> None:
        self._window = window
        self._waits = waits
        self._queues: dict[str, _Queue] = {}
        self._turns: deque[str] = deque()

    def widen(self, window: int) -> None:
        """Let more jobs of a shape be out at a time."""
        self._window = window
        for shape, queue in self._queues.items():
            queue.full = queue.out >= window
            self._offer(shape, queue)

    def enter(self, record: JobRecord) -> None:
        """A job waits; one that had been started before goes ahead of those that had not."""
        queue = self._of(record.shape)
        if record.attempt:
            heapq.heappush(queue.again, (record.position, record.job_id))
        else:
            queue.first.append(record.job_id)
        queue.waiting += 1
        self._offer(record.shape, queue)

    def leave(self, record: JobRecord) -> None:
        """A job waits no longer."""
        queue = self._of(record.shape)
        queue.waiting -= 1
        self._tidy(record.shape, queue)

    def went_out(self, record: JobRecord) -> None:
        """A job is with a controller."""
        queue = self._of(record.shape)
        queue.out += 1
        queue.full = queue.full or queue.out >= self._window

    def came_back(self, record: JobRecord) -> None:
        """A job is no longer with a controller."""
        queue = self._of(record.shape)
        queue.out -= 1
        queue.full = queue.full and queue.out > self._window // 2
        self._offer(record.shape, queue)
        self._tidy(record.shape, queue)

    def next(self) -> str | None:
        """The job whose turn it is; it must go out, or at least wait no longer, before the next call."""
        while self._turns:
            shape = self._turns.popleft()
            queue = self._queues[shape]
            queue.in_turn = False
            if queue.waiting and not queue.full:
                job_id = self._pop(queue)
                if queue.waiting > 1:
                    queue.in_turn = True
                    self._turns.append(shape)
                return job_id
            self._tidy(shape, queue)
        return None

    def waiting(self) -> dict[str, int]:
        """How many jobs wait, by shape; only shapes for which some do."""
        return {shape: queue.waiting for shape, queue in self._queues.items() if queue.waiting}

    def _of(self, shape: str) -> _Queue:
        queue = self._queues.get(shape)
        if queue is None:
            queue = self._queues[shape] = _Queue()
        return queue

    def _offer(self, shape: str, queue: _Queue) -> None:
        if not queue.in_turn and queue.waiting and not queue.full:
            queue.in_turn = True
            self._turns.append(shape)

    def _pop(self, queue: _Queue) -> str:
        while queue.again:
            job_id = heapq.heappop(queue.again)[1]
            if self._waits(job_id):
                return job_id
        while not self._waits(job_id := queue.first.popleft()):
            pass
        return job_id

    def _tidy(self, shape: str, queue: _Queue) -> None:
        # Shapes come and go with their clients' overlays: an empty queue must not stay for ever.
        if not queue.waiting and not queue.out and not queue.in_turn:
            del self._queues[shape]

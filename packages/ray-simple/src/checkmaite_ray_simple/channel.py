"""The status channel: how a driver learns what its workers do, and they that they are to stop.

A private actor without CPUs, owned by the driver and gone with it. Workers send to it and go on; the driver keeps
one call parked on it, which answers as soon as there is something to hear.

Measured on 2 cores, against bare no-op tasks in the same run (1,100-1,500/s, 2.0 ms from submission to result): with
this actor 590-640/s and 3.2 ms, with streaming generators instead 480-680/s and 2.6 ms. Ray refuses those over
``ray://``, and one mechanism for every kind of connection is worth half a millisecond per job. Nearly all of it is the
message itself; handing the actor's handle to each task costs 0.2 ms, less than looking it up by name.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime

import ray

__all__ = ["Board", "Event"]


@dataclass(frozen=True, slots=True)
class Event:
    """What a worker says of a job: that it has begun, and how far it is.

    Attributes:
        job_id: The job.
        attempt: Which start of it, from 1.
        started_at: When this attempt began (the worker's clock, UTC).
        pid: The worker's process.
        node_id: The worker's node.
        progress: Items done, items in all, and what is being done; None if the code has not said.
    """

    job_id: str
    attempt: int
    started_at: datetime
    pid: int
    node_id: str
    progress: tuple[int, int | None, str] | None = None

    def with_progress(self, done: int, total: int | None, description: str) -> Event:
        """The same, further on."""
        return replace(self, progress=(done, total, description))


# Calls in flight when its process dies are made again once it is back; the driver repeats the cancellations.
@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class Board:
    """Where workers leave their news for the driver, and find out whether their job has been cancelled."""

    def __init__(self) -> None:
        self._news: list[Event] = []
        self._arrived = asyncio.Event()
        self._cancelled: set[str] = set()

    async def tell(self, event: Event) -> None:
        """A worker's news."""
        self._news.append(event)
        self._arrived.set()

    async def hear(self) -> list[Event]:
        """Wait for news, and take all there is."""
        await self._arrived.wait()
        self._arrived.clear()
        news, self._news = self._news, []
        return news

    async def cancel(self, job_ids: list[str]) -> None:
        """Cancellation has been asked for."""
        self._cancelled.update(job_ids)

    async def is_cancelled(self, job_id: str) -> bool:
        """Whether cancellation of the job has been asked for."""
        return job_id in self._cancelled

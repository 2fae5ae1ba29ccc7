"""What jobs need to be started: in memory while there is room, else read back from the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

__all__ = ["Submissions"]

_IN_MEMORY = 64 * 2**20
"""Bytes of submissions that are kept in memory."""


class Submissions:
    """Submissions of jobs that have not ended. Used on one event loop.

    Args:
        read: Reads one back; blocking, called in ``executor``.
        executor: Runs the reads.
    """

    def __init__(self, read: Callable[[str], bytes], executor: Executor) -> None:
        self._read = read
        self._executor = executor
        self._kept: dict[str, bytes] = {}
        self._size = 0

    def keep(self, job_id: str, data: bytes, *, pinned: bool) -> None:
        """Keep one if there is room; ``pinned``: it is nowhere else.

        Jobs start in the order in which they came, so it is the later ones that are read back.
        """
        if pinned or self._size + len(data) <= _IN_MEMORY:
            self._kept[job_id] = data
            self._size += len(data)

    def drop(self, job_id: str) -> None:
        """The job has ended."""
        self._size -= len(self._kept.pop(job_id, b""))

    def at_hand(self, job_id: str) -> bytes | None:
        """One that is in memory."""
        return self._kept.get(job_id)

    async def get(self, job_id: str) -> bytes:
        """One, from wherever it is.

        Raises:
            StorageError: It cannot be read.
        """
        data = self._kept.get(job_id)
        if data is None:
            data = await asyncio.get_running_loop().run_in_executor(self._executor, self._read, job_id)
        return data

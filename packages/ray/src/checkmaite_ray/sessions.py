"""Clients that wait: each has one call parked here, which is answered when one of its jobs changes. No Ray."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Sessions"]

_PARKED = 300.0
"""Seconds after which a parked call is answered with nothing, so that one whose client has gone does not stay."""


@dataclass(eq=False)
class _Session:
    number: int = 0
    told: list[tuple[int, Any]] = field(default_factory=list)
    follows: set[str] = field(default_factory=set)
    introduced: bool = False
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    parked: int = 0
    seen: float = field(default_factory=time.monotonic)


class Sessions:
    """Who follows which jobs, and what they have not heard yet. Used on one event loop.

    What is told is kept until the client says that it has heard it: an answer can be lost with its connection.
    """

    def __init__(self) -> None:
        self._sessions: dict[str, _Session] = {}
        self._followers: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def follow(self, session_id: str, job_ids: Iterable[str], *, introduced: bool = False) -> None:
        """Tell a client of changes of these jobs from now on; the session is made if it is new.

        Args:
            session_id: The client.
            job_ids: The jobs.
            introduced: These, and those named before, are all that it waits for. Until it has said so it cannot wait
                here: after a restart its other calls may come before it knows that it has to name its jobs again.
        """
        session = self._sessions.setdefault(session_id, _Session())
        session.introduced = session.introduced or introduced
        for job_id in job_ids:
            session.follows.add(job_id)
            self._followers.setdefault(job_id, set()).add(session_id)

    def tell(self, job_id: str, message: Any, *, last: bool = False) -> None:
        """Tell whoever follows the job; ``last``: nothing more will come."""
        followers = self._followers.pop(job_id, set()) if last else self._followers.get(job_id, set())
        for session_id in followers:
            session = self._sessions[session_id]
            if last:
                session.follows.discard(job_id)
            session.number += 1
            session.told.append((session.number, message))
            session.arrived.set()

    def tell_all(self, message: Any) -> None:
        """Tell every client."""
        for session in self._sessions.values():
            session.number += 1
            session.told.append((session.number, message))
            session.arrived.set()

    def is_awaited(self, job_id: str) -> bool:
        """Whether a client waits here for news of this job."""
        return any(self._sessions[session_id].parked for session_id in self._followers.get(job_id, ()))

    def follows(self, session_id: str, job_ids: Iterable[str]) -> bool:
        """Whether a client is to be told of any of these jobs."""
        session = self._sessions.get(session_id)
        return session is not None and any(job_id in session.follows for job_id in job_ids)

    def forget(self, job_id: str) -> None:
        """There is no such job."""
        for session_id in self._followers.pop(job_id, ()):
            self._sessions[session_id].follows.discard(job_id)

    def followed_jobs(self) -> list[str]:
        """Jobs that somebody follows."""
        return list(self._followers)

    async def watch(self, session_id: str, heard: int) -> dict[str, Any]:
        """Wait for news; ``heard`` is the number of the last message that need not be told again."""
        session = self._sessions.get(session_id)
        if session is None or not session.introduced:
            return {"unknown": True}
        session.told = [one for one in session.told if one[0] > heard]
        if not session.told:
            session.arrived.clear()
            session.parked += 1
            try:
                async with asyncio.timeout(_PARKED):
                    await session.arrived.wait()
            except TimeoutError:
                pass  # nothing to tell: the client, if it is there, asks again
            finally:
                session.parked -= 1
                session.seen = time.monotonic()
        return {"number": session.number, "messages": [message for _, message in session.told]}

    def close(self, session_id: str) -> None:
        """Forget a client."""
        session = self._sessions.pop(session_id, None)
        if session is None:
            return
        for job_id in session.follows:
            followers = self._followers.get(job_id, set())
            followers.discard(session_id)
            if not followers:
                self._followers.pop(job_id, None)
        session.arrived.set()

    def prune(self) -> None:
        """Forget clients that have not asked for a while."""
        limit = time.monotonic() - _PARKED
        for session_id, session in list(self._sessions.items()):
            if not session.parked and session.seen < limit:
                self.close(session_id)

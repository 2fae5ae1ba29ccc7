"""Having workers put the store in order: after many jobs, and once more at the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import ray

from checkmaite_core.notices import warn
from checkmaite_core.store import maintenance_warning
from checkmaite_ray_simple import failures
from checkmaite_ray_simple.overlay.uploading import in_overlay
from checkmaite_ray_simple.worker import maintain_store

__all__ = ["Maintenance"]

_TRIES = 2
"""How often the last one is begun; its worker may be lost."""


class Maintenance:
    """Counts the jobs that committed, and has a worker put their store in order when it is time; one at a time.

    On a worker, because the client needs neither the store's libraries nor write access to it. Used by the dispatcher's
    thread alone, until that has ended; only :meth:`tell` may be called by others.

    Args:
        then: ``then(reference, handle)`` has ``handle(value, error)`` called once the Ray reference is there.
        overlay: What the jobs' workers run with (JSON): they may have the store's credentials from there.
        uri: The store's location, for messages.
        after: How many jobs are followed by a maintenance; 0 for never, not even at the end.
    """

    def __init__(self, then: Callable[..., None], overlay: str, uri: str, after: int) -> None:
        self._then = then
        self._overlay = overlay
        self._uri = uri
        self._after = after
        self._count = 0
        self._order = ""
        self._running: Any = None
        self._failure: str | None = None

    def committed(self, order: str) -> None:
        """One more job has; ``order`` is its work order (JSON)."""
        self._order = order
        self._count += 1
        if self._after and self._count >= self._after and self._running is None:
            self._count = 0
            self._running = in_overlay(maintain_store, self._overlay).remote(order, self._after)
            self._then(self._running, self._on_answer)

    @property
    def wanted(self) -> bool:
        """Whether there is something to do at the end."""
        return self._after > 0 and self._order != ""

    def finish(self, timeout: float) -> None:
        """Do it once more, for whatever waits, and wait for that and for the one that runs.

        Args:
            timeout: Seconds to wait for both; what has not ended by then is left, and told.
        """
        deadline = time.monotonic() + timeout
        try:
            if self._running is not None:
                ray.wait([self._running], timeout=timeout)
            for _ in range(_TRIES):
                self._running = in_overlay(maintain_store, self._overlay).remote(self._order, 1)
                try:
                    answer = ray.get(self._running, timeout=max(0.0, deadline - time.monotonic()))
                except ray.exceptions.GetTimeoutError:
                    self._failure = (
                        f"at the backend's shutdown it was not done within {timeout:g} seconds, the "
                        "maintain_timeout_seconds of ray-simple, and left alone; it may have hung, or not have begun."
                    )
                    return
                except ray.exceptions.RayError as error:
                    self._on_answer(None, error)
                else:
                    self._on_answer(answer, None)
                    return
        except ConnectionError as error:  # what a ray:// connection that has ended raises
            self._on_answer(None, error)

    def tell(self) -> None:
        """Warn once of what has failed."""
        failure, self._failure = self._failure, None
        if failure is not None:
            warn(maintenance_warning(self._uri, failure), stacklevel=4)

    def _on_answer(self, failure: str | None, error: BaseException | None) -> None:
        self._running = None
        self._failure = (
            failure if error is None else failures.reason(error, "putting the store in order", "no worker could do it")
        )

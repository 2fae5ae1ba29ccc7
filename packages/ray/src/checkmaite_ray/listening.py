"""What a client hears from its registry: one call is parked there, in a thread that it has for that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray

from checkmaite_core.errors import CheckmaiteError, DefectError
from checkmaite_ray.attention import Attention
from checkmaite_ray.protocol import raise_problem
from checkmaite_ray.shared_job import Handles
from checkmaite_ray_simple.dispatcher import Dispatcher
from checkmaite_ray_simple.failures import why_raised

__all__ = ["Line", "Listener"]

_LOOK = 1.0
"""Seconds between two looks at whether this process still has its Ray."""
_AGAIN = 0.5
"""Seconds after which a call to a registry that is being restarted is made again."""
_REST = 0.02
"""Seconds after news before the registry is asked for more, while nobody waits for any: they come together then."""


@dataclass(frozen=True)
class Line:
    """A client's connection to its registry.

    Attributes:
        registry: The registry, as it was joined last.
        join: Finds the registry, or starts it; raises what stands in the way.
        lost: Why this process can call nothing any more; None while it has its Ray.
        sealed: What it means that the registry was superseded.
        on_error: Called with a defect, and what was being done.
    """

    registry: Callable[[], Any]
    join: Callable[[], None]
    lost: Callable[[], CheckmaiteError | None]
    sealed: Callable[[], CheckmaiteError]
    on_error: Callable[[Exception, tuple[Any, ...]], None]


class Listener:
    """Has the handles told of what the registry says, and a new process of it which jobs there are handles of.

    Args:
        session: Who this client is to the registry.
        handles: Of its jobs.
        attention: Whether anybody waits for one of them.
        line: How to reach the registry.

    Attributes:
        broken: Why nothing can be heard; None while that is not so.
        warnings: What clients are to be told of stores that could not be put in order: store and reason.
    """

    def __init__(self, session: str, handles: Handles, attention: Attention, line: Line) -> None:
        self._session = session
        self._handles = handles
        self._attention = attention
        self._line = line
        self.broken: CheckmaiteError | None = None
        self.warnings: list[tuple[str, str]] = []
        self._heard = 0
        self._resting = False
        self._dispatcher = Dispatcher("checkmaite-ray", self._may_call, line.on_error)
        self._dispatcher.call(self._watch)
        self._dispatcher.call_later(_LOOK, self._look)

    def hurry(self) -> None:
        """Somebody waits from now on."""
        self._dispatcher.call(self._listen_again)

    def name_again(self) -> None:
        """Tell the registry which jobs there are handles of: it may have missed some."""
        self._dispatcher.call(self._follow_too)

    def stop(self) -> None:
        """Hear nothing more."""
        self._dispatcher.stop()

    # What follows is run by the dispatcher.

    def _watch(self) -> None:
        self._then(self._line.registry().watch.remote(self._session, self._heard), self._on_news)

    def _then(self, reference: Any, handle: Callable[..., None]) -> None:
        """Have ``handle(value, error)`` called by the dispatcher once ``reference`` is there."""

        def tell(future: Any) -> None:
            error = future.exception()
            self._dispatcher.call(handle, None if error else future.result(), error)

        reference.future().add_done_callback(tell)

    def _on_news(self, news: dict[str, Any] | None, error: BaseException | None) -> None:
        if news is None:
            self._on_silence(error, self._watch)
            return
        if "unknown" in news:
            self._follow()
            return
        if isinstance(self.broken, DefectError):
            self.broken = None
        self._heard = news["number"]
        for kind, *rest in news["messages"]:
            if kind == "view":
                self._handles.hear(rest[0], tuple(rest[1:]))
            elif kind == "progress":
                self._handles.hear_progress(*rest)
            elif kind == "waits":
                self._handles.hear_why(*rest)
            elif kind == "waiting":
                self._handles.hear_waiting(*rest)
            elif kind == "maintenance":
                self.warnings.append((rest[0], rest[1]))
            elif kind == "sealed":
                self.broken = self._line.sealed()
        if self._attention:
            self._watch()
        else:
            self._resting = True
            self._dispatcher.call_later(_REST, self._listen_again)

    def _listen_again(self) -> None:
        if self._resting:
            self._resting = False
            self._watch()

    def _on_silence(self, error: BaseException | None, again: Callable[[], None]) -> None:
        """The registry did not answer: it has gone for good, or the cluster is about to."""
        if isinstance(error, ray.exceptions.ActorDiedError):
            try:
                self._line.join()
            except CheckmaiteError as why:
                self.broken = why
            else:
                self._follow()
                return
        elif isinstance(error, ray.exceptions.RayTaskError):  # asked again, but whoever waits is told
            self.broken = why_raised(error, "waiting for news of jobs")
        self._dispatcher.call_later(_AGAIN, again)

    def _follow(self) -> None:
        """Tell a new process of the registry which jobs there are handles of, before anything is asked of it."""
        self._heard = 0
        followed = self._handles.followed()
        self._then(self._line.registry().follow.remote(self._session, followed, True), self._on_followed)

    def _on_followed(self, answer: dict[str, Any] | None, error: BaseException | None) -> None:
        if answer is None:
            self._on_silence(error, self._follow)  # of what has ended by then nothing else will tell
            return
        if "problem" in answer:
            try:
                raise_problem(answer)
            except CheckmaiteError as why:
                self.broken = why
            self._dispatcher.call_later(_AGAIN, self._watch)
            return
        self.broken = None
        self._hear_all(answer)
        self._watch()

    def _follow_too(self) -> None:
        jobs = [job.job_id for job in self._handles.unfinished()]
        self._then(self._line.registry().follow.remote(self._session, jobs, True), self._on_followed_too)

    def _on_followed_too(self, answer: dict[str, Any] | None, error: BaseException | None) -> None:
        if answer is not None and "problem" not in answer:
            self._hear_all(answer)
        elif not isinstance(error, ray.exceptions.ActorDiedError):  # else the next one is told of all of them
            self._dispatcher.call_later(_AGAIN, self._follow_too)

    def _hear_all(self, answer: dict[str, Any]) -> None:
        for job_id, what in answer["jobs"].items():
            self._handles.hear(job_id, tuple(what["view"][1:]))
            self._handles.hear_waiting(job_id, what.get("waiting_for"))

    def _may_call(self) -> bool:
        """Whether there is a Ray to call. Asked before every call: Ray would start a new one for a call without."""
        lost = self._line.lost()
        if lost is not None:
            self.broken = lost
        return lost is None

    def _look(self) -> None:
        self._dispatcher.call_later(_LOOK, self._look)

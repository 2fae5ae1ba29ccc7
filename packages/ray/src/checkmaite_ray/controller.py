"""A controller: owns the running Ray tasks of a share of the jobs, and tells the registry how they end.

It decides nothing. Every call names the epoch of the registry that makes it, and one of an earlier epoch is refused:
a registry that was taken for dead must not start anything any more. What it has to tell it keeps until the registry
has made it durable and says so, so a registry that dies in between is told again.
"""

from __future__ import annotations

import asyncio
import json
import os
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import ray

from checkmaite_core.defects import explained
from checkmaite_core.execution import cancelled_error
from checkmaite_core.failure import FailureKind, FailureRecord
from checkmaite_ray.background import Background
from checkmaite_ray.launching import Item, task_of
from checkmaite_ray.protocol import NAMESPACE
from checkmaite_ray.settlement import Settlements
from checkmaite_ray_simple import failures
from checkmaite_ray_simple.channel import Event
from checkmaite_ray_simple.overlay.masking import secrets_of
from checkmaite_ray_simple.worker import maintain_store

__all__ = ["Controller"]

_FORCE_AGAIN = 1.0
"""Seconds after which a forced cancel is repeated: Ray loses one that meets the task on its way to the worker."""
_CROWD = 8
"""Running tasks from which on jobs wait for each other anyway, and are told of together."""
_LINGER = 0.02
"""Seconds for which ends are gathered then. Each message costs a call and an append."""
_LAST_WORDS = 2.0
"""Seconds that a controller which is to stop gives Ray to end its tasks."""


@dataclass(eq=False)
class _Task:
    """One start of a job. ``end`` is what became of it; it is kept until the registry says that it may go."""

    item: Item
    reference: Any = None
    began: bool = False
    place: str = ""
    cancelling: bool = False
    waiting_for: str | None = None
    end: tuple[Any, ...] | None = None


@dataclass
class _Outbox:
    """What the registry has not been told, or has not said that it has heard."""

    number: int = 0
    told: list[tuple[int, Any]] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, message: Any) -> None:
        self.number += 1
        self.told.append((self.number, message))
        self.arrived.set()

    def heard(self, number: int) -> None:
        self.told = [one for one in self.told if one[0] > number]
        if not self.told:
            self.arrived.clear()


# No restart: its tasks end with it, and a new process must not be taken for it.
@ray.remote(num_cpus=0, max_restarts=0, max_task_retries=0, max_concurrency=100_000)  # type: ignore[call-overload]
class Controller:
    """Owns running tasks.

    Args:
        incarnation: Its name; a new one for each process.
    """

    def __init__(self, incarnation: str) -> None:
        self._incarnation = incarnation
        self._epoch = 0
        self._tasks: dict[str, _Task] = {}
        self._outbox = _Outbox()
        self._running = Background(_give_up)
        self._settlements = Settlements(self._on_settled, self._on_unsettled, self._running)
        self._name = (NAMESPACE, ray.get_runtime_context().get_actor_name() or "")

    # The registry's calls.

    async def attend(self, epoch: int) -> dict[str, Any]:
        """A registry begins: what this controller holds. Everything that is not acknowledged will be told again."""
        if self._fenced(epoch):
            return {"fenced": self._epoch}
        self._outbox.arrived.set()  # whoever listened before need not any more
        self._outbox = _Outbox()
        for task in self._tasks.values():
            if task.end is not None:
                self._outbox.add(task.end)
            elif task.began:
                self._outbox.add(("began", task.item.job_id, task.item.attempt, None, task.place))
                if task.waiting_for is not None:
                    self._outbox.add(("waiting", task.item.job_id, task.item.attempt, task.waiting_for))
        held = [(task.item.job_id, task.item.attempt) for task in self._tasks.values()]
        return {"incarnation": self._incarnation, "holding": held, "pid": os.getpid()}

    async def take(self, epoch: int, heard: int, forget: list[tuple[str, int]]) -> dict[str, Any]:
        """Wait for something to tell; ``heard`` is the number of the last message that need not be told again."""
        if self._fenced(epoch):
            return {"fenced": self._epoch}
        self._forget(forget)
        outbox = self._outbox
        outbox.heard(heard)
        await outbox.arrived.wait()
        if len(self._tasks) > _CROWD:
            await asyncio.sleep(_LINGER)
        return {"number": outbox.number, "messages": [message for _, message in outbox.told]}

    async def launch(self, epoch: int, items: list[Item]) -> None:
        """Start jobs. One that is here already, at this attempt or a later one, is left alone."""
        if self._fenced(epoch):
            return
        for item in items:
            known = self._tasks.get(item.job_id)
            if known is None or known.item.attempt < item.attempt:
                self._start(_Task(item))

    async def cancel(self, epoch: int, jobs: list[tuple[str, int]]) -> None:
        """Stop jobs: by asking, then by force."""
        if self._fenced(epoch):
            return
        for job_id, attempt in jobs:
            task = self._tasks.get(job_id)
            if task is not None and task.item.attempt == attempt and not task.cancelling and task.end is None:
                task.cancelling = True
                self._running.spawn(self._stop(task))

    async def settle(self, epoch: int, jobs: list[tuple[str, str, str, str]]) -> None:
        """Find out how jobs ended (see :meth:`Settlements.add`)."""
        if not self._fenced(epoch):
            self._settlements.add(jobs)

    async def maintain(self, epoch: int, order: str, overlay: str, at_least: int) -> str | None:
        """Have a worker put a store in order; returns what stood in the way."""
        if self._fenced(epoch):
            return None
        task = maintain_store.options(**task_of({}, overlay))
        try:
            failure: str | None = await task.remote(order, at_least)
        except ray.exceptions.RayError as error:
            return failures.reason(error, "putting the store in order", "no worker could do it")
        return failure

    async def forget(self, epoch: int, jobs: list[tuple[str, int]]) -> None:
        """What became of these starts is durable."""
        if not self._fenced(epoch):
            self._forget(jobs)

    async def stop(self, epoch: int) -> None:
        """End all tasks and this process: another registry decides from now on, or there is nothing to do."""
        if epoch < self._epoch:
            return
        for task in self._tasks.values():
            if task.reference is not None:
                ray.cancel(task.reference, force=True)
        if any(task.reference is not None for task in self._tasks.values()):
            await asyncio.sleep(_LAST_WORDS)
        self._outbox.arrived.set()  # Ray ends an actor only once its calls are answered
        ray.actor.exit_actor()  # type: ignore[no-untyped-call]

    async def about(self) -> dict[str, Any]:
        """What this process is and has, for operators and tests."""
        return {"pid": os.getpid(), "incarnation": self._incarnation, "tasks": len(self._tasks)}

    # The workers' calls: what checkmaite_ray_simple.channel.Board offers.

    async def tell(self, event: Event) -> None:
        """A worker's news."""
        task = self._tasks.get(event.job_id)
        if task is None or task.item.attempt != event.attempt or task.end is not None:
            return
        if not task.began:
            task.began = True
            task.place = f"process {event.pid} on node {event.node_id[:12]}"
            self._outbox.add(("began", event.job_id, event.attempt, event.started_at.timestamp(), task.place))
        if event.progress:
            self._outbox.add(("progress", event.job_id, event.attempt, event.progress))
        if event.waiting_for != task.waiting_for:
            task.waiting_for = event.waiting_for
            self._outbox.add(("waiting", event.job_id, event.attempt, event.waiting_for))

    async def is_cancelled(self, job_id: str) -> bool:
        """Whether the job is to stop."""
        task = self._tasks.get(job_id)
        return task is None or task.cancelling

    # Its own work.

    def _fenced(self, epoch: int) -> bool:
        if epoch < self._epoch:
            return True
        self._epoch = epoch
        return False

    def _forget(self, jobs: Iterable[tuple[str, int]]) -> None:
        for job_id, attempt in jobs:
            task = self._tasks.get(job_id)
            if task is not None and task.item.attempt <= attempt:
                del self._tasks[job_id]

    def _start(self, task: _Task) -> None:
        item = task.item
        self._tasks[item.job_id] = task
        try:
            task.reference = item.start(self._name)
        except Exception as error:  # the boundary of one job: the others go on
            # Ray does not take its demand or overlay with a ValueError or TypeError; all else nobody has foreseen.
            refused = isinstance(error, ValueError | TypeError | ray.exceptions.RayError)
            kind = FailureKind.DEPLOYMENT if refused else FailureKind.DEFECT
            told = error if refused else explained(error, f"starting job {item.job_id}")
            failure = FailureRecord.from_exception(told, kind, attempts=item.attempt)
            self._ended(task, failure=failure, begun=False)
            return
        self._running.spawn(self._attend_to(task))

    async def _attend_to(self, task: _Task) -> None:
        item = task.item
        try:
            answer: str = await task.reference
        except BaseException as error:  # whatever Ray raises for a task: all of it is reported, as the job's failure
            task.reference = None
            place = f", {task.place}" if task.place else ""
            record, loss = failures.classify(error, item.attempt, place, secrets_of(json.loads(item.overlay)))
            # A job that could not even be set up has never begun: there is nothing to settle, and no worker that could.
            begun = record.kind is not FailureKind.DEPLOYMENT
            if task.cancelling:
                text = cancelled_error(item.job_id)
                record = FailureRecord.from_exception(text, FailureKind.CANCELLED, attempts=item.attempt)
                loss = None
            self._ended(task, failure=record, cause=None if loss is None else str(loss), begun=begun)
        else:
            task.reference = None
            self._returned(task, answer)

    def _returned(self, task: _Task, answer: str) -> None:
        outcome, unsettled = failures.read_answer(answer)
        if unsettled is None:
            self._ended(task, outcome=outcome)
        elif unsettled.waits_for is None:
            self._ended(task, failure=unsettled.failure, cause="raised")
        else:
            self._ended(task, failure=unsettled.failure)
            self._on_unsettled(task.item.job_id, unsettled.waits_for)

    def _ended(
        self,
        task: _Task,
        *,
        outcome: str | None = None,
        failure: FailureRecord | None = None,
        cause: str | None = None,
        begun: bool = True,
    ) -> None:
        text = None if failure is None else failure.model_dump_json()
        task.end = ("ended", task.item.job_id, task.item.attempt, outcome, text, cause, begun)
        task.item.payload = b""
        self._outbox.add(task.end)

    async def _stop(self, task: _Task) -> None:
        if task.began:
            await asyncio.sleep(task.item.cancel_grace_seconds)
        # Never softly first: what ignores that, such as C code that holds the GIL, ignores force after it as well.
        while task.end is None and task.reference is not None:
            ray.cancel(task.reference, force=True)
            await asyncio.sleep(_FORCE_AGAIN)

    def _on_settled(self, job_id: str, outcome: str) -> None:
        self._outbox.add(("settled", job_id, outcome))

    def _on_unsettled(self, job_id: str, reason: str) -> None:
        self._outbox.add(("unsettled", job_id, reason))


def _give_up(error: Exception) -> None:
    """A defect: end the process, so that the registry notices, and has this controller's jobs started again."""
    traceback.print_exception(explained(error, "a controller looked after jobs"))
    os._exit(1)

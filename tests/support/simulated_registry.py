"""A simulated registry: the real job directory, over the simulated log, with simulated controllers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from simulated_parts import Controller, Log, Process, Time

from checkmaite_ledger.directory import (
    Action,
    Answer,
    AttemptEnd,
    Cancel,
    Change,
    Decision,
    Directory,
    Launch,
    Limits,
    Request,
)
from checkmaite_ledger.records import JobRecord

__all__ = ["Registry"]

_LIMITS = Limits(queued=4, window=2, retry_after=1.0)


class Registry(Process):
    """One process: claims an epoch, replays, reigns; ends for good when it finds that it was followed.

    Args:
        controllers: Those of its cluster that are there, made if need be.
        lost_by: Told of jobs that a change of cluster touches.
    """

    def __init__(
        self,
        time: Time,
        log: Log,
        cluster: str,
        controllers: Callable[[], list[Controller]],
        excuse: Callable[[str], None],
        faulty: Callable[[], bool],
    ) -> None:
        self.time, self.log, self.cluster, self.faulty = time, log, cluster, faulty
        self._controllers, self._excuse = controllers, excuse
        self.epoch = 0
        self.reigns = False
        self.published: dict[str, JobRecord] = {}
        self.directory = Directory(replace(_LIMITS, spread_after=time.chance.choice((1, 2))))
        self._next = 0
        self._batch: list[tuple[Decision, Callable[[], None] | None]] = []
        self._appending = False
        self._up: dict[str, Controller] = {}
        self._sent: dict[Controller, float] = {}
        time.soon(self._claim, len(log.epochs), of=self)

    # Taking over: an epoch, then its seal, then all that came before the seal.

    def _claim(self, latest: int) -> None:
        if not self.log.put_epoch(latest + 1, self.cluster):
            self.time.soon(self._claim, len(self.log.epochs), of=self)
            return
        self.epoch = latest + 1
        self.time.soon(self._seal, len(self.log.entries), of=self)

    def _seal(self, number: int) -> None:
        while number < len(self.log.entries):
            if self.log.entries[number].epoch > self.epoch:
                self._stop("a later epoch was there first")
                return
            number += 1
        if any(entry.epoch > self.epoch for entry in self.log.entries):
            self._stop("a later epoch was there first")
        elif self.log.put(number, self.epoch, seal=True):
            self._next = number + 1
            self.time.soon(self._reign, of=self)

    def _reign(self) -> None:
        for entry in self.log.entries[: self._next]:
            for event in entry.events:
                self.directory.apply(event)
        self.published = dict(self.directory.jobs)
        # An epoch that appended nothing did nothing: what a change of cluster asks for is then still to be done.
        wrote = [entry.epoch for entry in self.log.entries[: self._next] if entry.events]
        same_cluster = bool(wrote) and self.log.epochs[wrote[-1] - 1] == self.cluster
        self.reigns = True
        self.time.seen["same cluster" if same_cluster else "other cluster"] += 1
        self.time.tell(f"epoch {self.epoch} reigns on {self.cluster}, same cluster: {same_cluster}")
        if not same_cluster:
            for record in self.directory.jobs.values():
                if record.may_have_run and not record.ended:
                    self._excuse(record.job_id)
        self.commit(self.directory.reign(same_cluster=same_cluster, now=self.time.now))
        self._attend()
        self._look()
        there = {(one.slot, one.incarnation) for one in self._controllers()}
        for slot, incarnation in sorted(set(self.directory.awaited) - there):
            self.on_down(slot, incarnation)

    def _look(self) -> None:
        if not self._appending and self._next < len(self.log.entries):
            self._stop("it was idle, and is sealed")
        else:
            self.time.after(10.0, self._look, of=self)

    def _stop(self, why: str) -> None:
        self.time.tell(f"epoch {self.epoch} stops: {why}")
        self.alive = self.reigns = False

    # Deciding, and making it durable.

    def commit(self, decision: Decision, done: Callable[[], None] | None = None) -> None:
        self._batch.append((decision, done))
        self._append()

    def _append(self) -> None:
        if not self._appending and self._batch:
            self._appending = True
            self.time.soon(self._put, self._take(), of=self, mean=0.01)

    def _take(self) -> list[tuple[Decision, Callable[[], None] | None]]:
        batch, self._batch = self._batch, []
        return batch

    def _put(self, batch: list[tuple[Decision, Callable[[], None] | None]]) -> None:
        changes = [change for decision, _ in batch for change in decision.changes]
        if changes:
            if not self.log.put(self._next, self.epoch, [change.event for change in changes]):
                self.time.seen["sealed"] += 1
                self._stop("it is sealed")
                return
            if self.faulty() and self.time.happens(0.05):
                self.time.soon(self._put, batch, of=self)  # the answer was lost, so it tries again
                return
        self.time.soon(self._durable, batch, changes, of=self, mean=0.01)

    def _durable(self, batch: list[tuple[Decision, Callable[[], None] | None]], changes: list[Change]) -> None:
        self._next += bool(changes)
        for change in changes:
            self.published[change.record.job_id] = change.record
        for decision, done in batch:
            for action in decision.actions:
                self._act(action)
            if done is not None:
                done()
        self._appending = False
        self._append()

    def _act(self, action: Action) -> None:
        controller = self._up.get(action.slot)
        if controller is None or not self.directory.wants(action):
            return
        if isinstance(action, Launch):
            self._send(controller, controller.launch, action.job_id, action.attempt)
        elif isinstance(action, Cancel):
            self._send(controller, controller.cancel, action.job_id, action.attempt)
        else:
            self._send(controller, controller.settle, action.job_id, action.failure)

    def _send(self, controller: Controller, what: Callable[..., Any], *args: Any) -> None:
        # One caller's calls arrive in order; those under way arrive although their caller has died.
        arrives = max(self._sent.get(controller, 0.0), self.time.now + self.time.chance.expovariate(20.0))
        self._sent[controller] = arrives
        self.time.after(arrives - self.time.now, what, self.epoch, *args, of=controller)

    def _dispatch(self) -> None:
        decision = self.directory.dispatch(now=self.time.now)
        if decision != Decision():
            self.commit(decision)

    # Controllers.

    def _attend(self) -> None:
        for controller in self._controllers():
            if self._up.get(controller.slot) is not controller:
                self._send(controller, self._attended, controller)
        self.time.after(2.0, self._attend, of=self)

    def _attended(self, epoch: int, controller: Controller) -> None:
        holding = controller.attend(epoch, self)
        if holding is None:
            self.time.seen["fenced"] += 1
            self.time.soon(self._stop, "it is fenced", of=self)
        elif not (self.faulty() and self.time.happens(0.1)):
            self.time.soon(self.on_up, controller, holding, of=self)

    def on_up(self, controller: Controller, holding: list[tuple[str, int]]) -> None:
        if not controller.alive:
            return
        self._up[controller.slot] = controller
        self.commit(self.directory.controller_up(controller.slot, controller.incarnation, holding, now=self.time.now))
        self._dispatch()

    def on_down(self, slot: str, incarnation: str) -> None:
        if not self.reigns:
            return
        if slot in self._up and self._up[slot].incarnation == incarnation:
            del self._up[slot]
        self.commit(self.directory.controller_down(slot, incarnation, now=self.time.now))
        self._dispatch()

    def on_began(self, job_id: str, attempt: int) -> None:
        if self.reigns:
            self.commit(self.directory.began(job_id, attempt, at=self.time.now, place="here"))

    def on_ended(self, controller: Controller, job_id: str, attempt: int, end: AttemptEnd) -> None:
        if self.reigns:
            decision = self.directory.attempt_ended(job_id, attempt, end, now=self.time.now)
            self.commit(decision, lambda: self._send(controller, controller.forget, job_id, attempt))
            self._dispatch()

    def on_settled(self, controller: Controller, job_id: str, outcome: str) -> None:
        if self.reigns:
            decision = self.directory.settled(job_id, outcome, now=self.time.now)
            self.commit(decision, lambda: self._send(controller, controller.forget, job_id, None))
            self._dispatch()

    def on_unsettled(self, controller: Controller, job_id: str, reason: str) -> None:
        if self.reigns:
            self.commit(self.directory.unsettled(job_id, reason=reason, now=self.time.now))
            if self.directory.asked(job_id):
                self.time.after(min(0.5 * 2 ** self.directory.asked(job_id), 4.0), self._ask_again, job_id, of=self)

    def _ask_again(self, job_id: str) -> None:
        self.directory.ask_again([job_id])
        self._dispatch()

    # Clients. Every answer waits until all that was decided before it is durable.

    def on_submit(self, requests: list[Request], reply: Callable[[list[Answer]], None]) -> None:
        if self.reigns:
            decision, answers = self.directory.submit(requests, now=self.time.now)
            self.commit(decision, lambda: reply(answers))
            self._dispatch()

    def on_cancel(self, job_id: str, reply: Callable[[bool | None], None]) -> None:
        if self.reigns:
            decision, [answer] = self.directory.cancel([job_id], client="c", now=self.time.now)
            self.commit(decision, lambda: reply(answer))
            self._dispatch()

    def on_look(self, job_id: str, reply: Callable[[JobRecord | None], None]) -> None:
        if self.reigns:
            reply(self.published.get(job_id))

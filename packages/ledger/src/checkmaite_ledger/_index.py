"""The jobs of a directory, found by what they wait for. Follows the records, decides nothing."""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import replace
from enum import Enum

from checkmaite_ledger._queues import Queues
from checkmaite_ledger._run_keys import RunKeys
from checkmaite_ledger.events import Policy
from checkmaite_ledger.records import JobRecord

__all__ = ["Index", "Stage", "stage_of"]


class Stage(Enum):
    """What a job waits for; follows from its record alone."""

    QUEUED = "to be started, or started again"
    OUT = "a controller, which has it or is about to get it"
    SETTLING = "a settlement: no start of it is to be waited for, and the store says how it ended"
    ENDED = "nothing"


def stage_of(record: JobRecord) -> Stage:
    """What a job waits for."""
    if record.outcome:
        return Stage.ENDED
    if record.failure:
        return Stage.SETTLING
    if not record.attempt:
        return Stage.QUEUED
    if record.retry:
        # It may have run, so an asked-for end is for the store to tell.
        return Stage.QUEUED if record.cancel_requested_at is None else Stage.SETTLING
    return Stage.OUT


class Index:
    """All records, and for each stage the jobs that are in it.

    Args:
        window: Jobs of one shape that may be with controllers at a time.
    """

    def __init__(self, window: int) -> None:
        self.jobs: dict[str, JobRecord] = {}
        self.keys = RunKeys(self.jobs)
        self.queues = Queues(window, lambda job_id: stage_of(self.jobs[job_id]) is Stage.QUEUED)
        self.out: dict[str, set[str]] = {}
        """By slot."""
        self.settling: dict[str, None] = {}
        """Not handed out, in the order in which they came to it."""
        self.handed: dict[str, dict[str, None]] = {}
        """Settlements that are with a controller, by slot."""
        self.asked: dict[str, int] = {}
        """How often the store of a job that is being settled has been asked in vain."""
        self.unfinished = 0
        self._demands: dict[tuple[tuple[str, float], ...], dict[str, float]] = {}
        self._policies: dict[Policy, Policy] = {}

    def add(self, record: JobRecord) -> None:
        """Take a job in that is not known yet, in whatever stage it is."""
        self.jobs[record.job_id] = record
        self._enter(stage_of(record), record)
        self.unfinished += not record.outcome
        self.keys.update(record)

    def change(self, record: JobRecord) -> None:
        """Take a later record of a job that is known."""
        old = self.jobs[record.job_id]
        self.jobs[record.job_id] = record
        before, after = stage_of(old), stage_of(record)
        if before is not after:
            self._leave(before, old)
            self._enter(after, record)
            self.unfinished -= after is Stage.ENDED
        if after in (Stage.SETTLING, Stage.ENDED) or record.cancel_requested_at != old.cancel_requested_at:
            self.keys.update(record)

    def out_at(self, slot: str) -> Collection[JobRecord]:
        """The jobs that a slot was given, in the order of acceptance."""
        return sorted((self.jobs[job_id] for job_id in self.out.get(slot, ())), key=lambda record: record.position)

    def demand(self, demand: dict[str, float]) -> dict[str, float]:
        """An equal demand that all jobs share."""
        return self._demands.setdefault(tuple(demand.items()), demand)

    def policy(self, policy: Policy) -> Policy:
        """An equal policy that all jobs share."""
        return self._policies.setdefault(policy, policy)

    def shared(self, record: JobRecord) -> JobRecord:
        """An equal record; the texts and values that many jobs have in common are kept once."""
        return replace(
            record,
            capability_id=sys.intern(record.capability_id),
            client=sys.intern(record.client),
            shape=sys.intern(record.shape),
            store_uri=sys.intern(record.store_uri),
            slot=sys.intern(record.slot),
            incarnation=sys.intern(record.incarnation),
            demand=self.demand(record.demand),
            policy=self.policy(record.policy),
        )

    def _enter(self, stage: Stage, record: JobRecord) -> None:
        if stage is Stage.QUEUED:
            self.queues.enter(record)
        elif stage is Stage.OUT:
            self.queues.went_out(record)
            self.out.setdefault(record.slot, set()).add(record.job_id)
        elif stage is Stage.SETTLING:
            self.settling[record.job_id] = None

    def _leave(self, stage: Stage, record: JobRecord) -> None:
        if stage is Stage.QUEUED:
            self.queues.leave(record)
        elif stage is Stage.OUT:
            self.queues.came_back(record)
            self.out[record.slot].discard(record.job_id)
            if not self.out[record.slot]:
                del self.out[record.slot]
        elif stage is Stage.SETTLING:
            self.settling.pop(record.job_id, None)
            self.asked.pop(record.job_id, None)
            for handed in self.handed.values():
                handed.pop(record.job_id, None)

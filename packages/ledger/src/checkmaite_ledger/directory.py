"""The job directory: which jobs there are, and what is to be done next. Pure: commands in, events out.

It does no I/O, reads no clock and waits for nothing; times are passed in. The registry makes its events durable and
acts on what it asks for; a test drives it without a cluster.

What a job waits for follows from its record, so a directory that has replayed the ledger goes on where the one before
it stopped: also a start that failed is an event, with what is to follow.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

from checkmaite_core.failure import FailureKind, FailureRecord
from checkmaite_core.job import JobOrigin, JobStatus
from checkmaite_core.outcome import Outcome
from checkmaite_ledger import _endings as endings
from checkmaite_ledger._index import Index, Stage, stage_of
from checkmaite_ledger.decisions import (
    Action,
    Answer,
    AttemptEnd,
    Cancel,
    Cause,
    Change,
    Decision,
    Launch,
    Limits,
    Request,
    Settle,
)
from checkmaite_ledger.events import (
    Accepted,
    Adopted,
    AttemptFailed,
    Began,
    CancelRequested,
    Ended,
    Event,
    Started,
    Waiting,
)
from checkmaite_ledger.records import JobRecord, accept, evolve

__all__ = [
    "Action",
    "Answer",
    "AttemptEnd",
    "Cancel",
    "Cause",
    "Change",
    "Decision",
    "Directory",
    "Launch",
    "Limits",
    "Request",
    "Settle",
]

_REMEMBERED = 10_000
"""How many adoptions are remembered, so that a request for one that comes twice is answered the same."""


class Directory:
    """All jobs of one scope.

    Args:
        limits: How much it takes.
    """

    def __init__(self, limits: Limits = Limits()) -> None:  # noqa: B008 - frozen
        self._limits = limits
        self._index = Index(limits.window)
        self._view = MappingProxyType(self._index.jobs)
        self._adoptions: OrderedDict[str, tuple[str, JobOrigin]] = OrderedDict()
        self._up: dict[str, str] = {}
        self._in_memory: set[str] = set()

    @property
    def jobs(self) -> Mapping[str, JobRecord]:
        """Every job by its id, in the order of acceptance."""
        return self._view

    @property
    def unfinished(self) -> int:
        """How many jobs have not ended."""
        return self._index.unfinished

    def waiting(self) -> Mapping[str, int]:
        """How many jobs are queued, by shape; only shapes for which some are."""
        return self._index.queues.waiting()

    def widen(self, window: int) -> None:
        """Let more or fewer jobs of one shape be with controllers at a time than the limits say: nodes come and go."""
        self._index.queues.widen(window)

    # What had happened before.

    def restore(self, records: Iterable[JobRecord]) -> None:
        """Begin with records of a snapshot, in the order of their positions. Before any other call."""
        for record in records:
            self._index.add(self._index.shared(record))

    def apply(self, event: Event) -> JobRecord:
        """Replay one event; returns the record it led to.

        Raises:
            ValueError: It is about a job that was never accepted, or accepts one for the second time.
        """
        known = self.jobs.get(event.job_id)
        if isinstance(event, Accepted):
            if known is not None:
                raise ValueError(f"job {event.job_id} was accepted twice")
            record = self._index.shared(accept(event, len(self.jobs)))
            self._index.add(record)
            return record
        if known is None:
            raise ValueError(f"an event of the kind {event.kind!r} for job {event.job_id}, which was never accepted")
        if isinstance(event, Adopted):
            self._remember(event, known)
        elif isinstance(event, Ended):
            self._in_memory.discard(event.job_id)
        record = evolve(known, event)
        self._index.change(record)
        return record

    def reign(self, *, same_cluster: bool, now: float, in_memory: Collection[str] = ()) -> Decision:
        """Replay is done, this directory decides from now on.

        Args:
            same_cluster: Whether the last incarnation *that appended an event* served the cluster that this one
                serves; one that appended none has not done what its change of cluster asked for, and one that goes
                by it would take the jobs of the cluster before for its own. Then jobs that had been started may
                still run there, and wait for their controllers' answers
                (:meth:`controller_up`, :meth:`controller_down`). Otherwise every unfinished job is treated as its
                policy says: ``fail`` settles it as lost (at once if it was never started), ``resubmit`` queues it.
            now: POSIX seconds.
            in_memory: Jobs whose submissions this process has at hand although they are not in the ledger. Others
                that are not stored cannot be started any more: they are lost too.
        """
        self._in_memory = set(in_memory)
        changes: list[Change] = []
        for record in [record for record in self.jobs.values() if not record.ended]:
            stage = stage_of(record)
            if stage is Stage.OUT and not same_cluster:
                changes += self._out_is_lost(record, now)
            elif stage is Stage.QUEUED:
                changes += self._queued_is_lost(record, same_cluster, now)
        return Decision(tuple(changes))

    # What clients ask.

    def submit(self, requests: Sequence[Request], *, now: float) -> tuple[Decision, list[Answer]]:
        """Accept, adopt, reuse or refuse, one after the other. Idempotent by ``job_id``.

        A request that comes again is given the same job again, without an event.
        """
        changes: list[Change] = []
        answers = [self._submit(request, now, changes) for request in requests]
        return Decision(tuple(changes)), answers

    def cancel(self, job_ids: Sequence[str], *, client: str, now: float) -> tuple[Decision, list[bool | None]]:
        """Ask for jobs to be stopped. For each: True if recorded, False if it had ended, None if it is not known.

        A job that no worker can have begun ends CANCELLED at once; for others the controller is told.
        """
        changes: list[Change] = []
        actions: list[Action] = []
        answers: list[bool | None] = []
        for job_id in job_ids:
            record = self.jobs.get(job_id)
            if record is None or record.ended:
                answers.append(None if record is None else False)
                continue
            answers.append(True)
            if not record.may_have_run:
                changes.append(self._end(record, endings.cancelled(0), now))
                continue
            if record.cancel_requested_at is None:
                changes.append(self._change(CancelRequested(job_id, now, client)))
            actions += self._stop(self.jobs[job_id])
        return Decision(tuple(changes), tuple(actions)), answers

    # What is to be done.

    def dispatch(self, *, now: float) -> Decision:
        """Hand out what can be handed out now: starts within the windows, settlements, spread over the controllers.

        Each settlement is handed out once, again if the controller that has it goes down, and again if the store
        could not be asked, once :meth:`ask_again` says that it is time.
        """
        if not self._up:
            return Decision()
        actions: list[Action] = []
        waiting = list(self._index.settling)
        self._index.settling.clear()
        for job_id in waiting:
            record = self.jobs[job_id]
            slot = self._next_slot()
            self._index.handed.setdefault(slot, {})[job_id] = None
            failure = FailureRecord.model_validate_json(record.failure) if record.failure else None
            failure = failure or endings.cancelled(record.attempt)
            actions.append(Settle(job_id, slot, failure, record.waiting_since))
        changes: list[Change] = []
        while (queued := self._index.queues.next()) is not None:
            record, slot = self.jobs[queued], self._next_slot()
            started = Started(queued, now, record.attempt + 1, slot, self._up[slot], record.retry)
            changes.append(self._change(started))
            actions.append(Launch(queued, started.attempt, slot))
        return Decision(tuple(changes), tuple(actions))

    def wants(self, action: Action) -> bool:
        """Whether an action is still to be taken; to be asked right before it is, for that may be long after.

        A slot may have another process by then. A start that was meant for the one before must not be handed to it:
        that start is over, and the next one is on its way.
        """
        record = self.jobs[action.job_id]
        if isinstance(action, Settle):
            return stage_of(record) is Stage.SETTLING
        if isinstance(action, Cancel):
            return True
        out = stage_of(record) is Stage.OUT and record.attempt == action.attempt
        return out and self._up.get(action.slot) == record.incarnation and action.slot == record.slot

    # What became of starts.

    def began(self, job_id: str, attempt: int, *, at: float, place: str) -> Decision:
        """A worker has begun. Nothing if that start is not the latest, is over, or is known to have begun."""
        record = self.jobs.get(job_id)
        if record is None or stage_of(record) is not Stage.OUT or (record.attempt, record.began_at) != (attempt, None):
            return Decision()
        return Decision((self._change(Began(job_id, at, attempt, place)),))

    def waits(self, job_id: str, attempt: int, *, reason: str, now: float) -> Decision:
        """Something keeps the latest start of a job from going on, or its settling; empty: nothing does any more.

        Nothing if the job has ended, the start is not the latest, or that is known.
        """
        record = self.jobs.get(job_id)
        if record is None or record.ended or record.attempt != attempt or record.waiting_for == reason:
            return Decision()
        return Decision((self._change(Waiting(job_id, now, attempt, reason)),))

    def attempt_ended(self, job_id: str, attempt: int, end: AttemptEnd, *, now: float) -> Decision:
        """One start has ended: the job ends, is queued again, or is to be settled.

        Idempotent. Of a start that is not the latest only that it has committed counts: then the job is COMPLETED,
        and a later start of it is stopped.

        Raises:
            ValueError: The outcome is not an :class:`~checkmaite_core.outcome.Outcome`.
        """
        record = self.jobs.get(job_id)
        if record is None or record.ended:
            return Decision()
        if end.outcome is not None:
            status = Outcome.model_validate_json(end.outcome).status
            if record.attempt != attempt and status is not JobStatus.COMPLETED:
                return Decision()
            stop = self._stop(record) if record.attempt != attempt else []
            return Decision((self._change(Ended(job_id, now, status.value, end.outcome)),), tuple(stop))
        if record.attempt != attempt or stage_of(record) is not Stage.OUT:
            return Decision()
        return Decision((self._start_failed(record, end, now),))

    def settled(self, job_id: str, outcome: str, *, now: float) -> Decision:
        """A settlement has found out how the job ended (an Outcome as JSON text). Idempotent.

        Raises:
            ValueError: The outcome is not an :class:`~checkmaite_core.outcome.Outcome`.
        """
        record = self.jobs.get(job_id)
        if record is None or record.ended:
            return Decision()
        status = Outcome.model_validate_json(outcome).status
        return Decision((self._change(Ended(job_id, now, status.value, outcome)),), tuple(self._stop(record)))

    def unsettled(self, job_id: str, *, reason: str, now: float) -> Decision:
        """A settlement could not find out how the job ended: it has not ended, and waits until it is asked about again.

        Nothing if the job has ended, or is not being settled. One that comes late or twice does no harm: then the
        store is asked once more than needed.

        Args:
            job_id: The job.
            reason: What it waits for.
            now: POSIX seconds.
        """
        record = self.jobs.get(job_id)
        if record is None or stage_of(record) is not Stage.SETTLING:
            return Decision()
        self._index.settling.pop(job_id, None)
        for handed in self._index.handed.values():
            handed.pop(job_id, None)
        self._index.asked[job_id] = self._index.asked.get(job_id, 0) + 1
        return self.waits(job_id, record.attempt, reason=reason, now=now)

    def asked(self, job_id: str) -> int:
        """How often it has been asked in vain how the job ended, by this directory."""
        return self._index.asked.get(job_id, 0)

    def ask_again(self, job_ids: Iterable[str]) -> None:
        """It is time to hand out settlements again that could not find out how their jobs ended."""
        for job_id in job_ids:
            if job_id in self._index.asked and not any(job_id in handed for handed in self._index.handed.values()):
                self._index.settling[job_id] = None

    # Which controllers there are.

    @property
    def awaited(self) -> Collection[tuple[str, str]]:
        """Slots and incarnations of controllers that were given starts, and are not up."""
        given = ((slot, self.jobs[job_id].incarnation) for slot, jobs in self._index.out.items() for job_id in jobs)
        return {(slot, incarnation) for slot, incarnation in given if self._up.get(slot) != incarnation}

    def controller_up(
        self, slot: str, incarnation: str, holding: Collection[tuple[str, int]], *, now: float
    ) -> Decision:
        """A controller is there, and says which starts it has (running, or ended and not yet acknowledged).

        Jobs whose latest start was given to another incarnation of this slot are started again (cause CONTROLLER).
        Jobs given to this very incarnation that it does not have were never handed over: a Launch is asked for again,
        or, if they are being cancelled, a settlement. Cancellations that it may have missed are asked for again, and
        what it holds of jobs that have ended is stopped.
        """
        slot, incarnation = sys.intern(slot), sys.intern(incarnation)
        if self._up.get(slot) != incarnation:
            self._take_back_settlements(slot)
            self._up[slot] = incarnation
        held = set(holding)
        changes: list[Change] = []
        actions: list[Action] = []
        for record in self._index.out_at(slot):
            start = (record.job_id, record.attempt)
            if record.incarnation != incarnation:
                changes.append(self._controller_lost(record, now))
            elif start in held:
                if record.cancel_requested_at is not None:
                    actions.append(Cancel(*start, slot))
            elif record.cancel_requested_at is not None:
                changes.append(self._to_be_settled(record, endings.cancelled(record.attempt), now))
            elif not self._can_start(record):
                changes.append(self._to_be_settled(record, endings.submission_lost(record.attempt), now))
            else:
                actions.append(Launch(*start, slot))
        # Never what is held of an unfinished job: stopping it would close the job's place in the store.
        for job_id, attempt in sorted(held):
            if job_id in self.jobs and self.jobs[job_id].ended:
                actions.append(Cancel(job_id, attempt, slot))
        return Decision(tuple(changes), tuple(actions))

    def controller_down(self, slot: str, incarnation: str, *, now: float) -> Decision:
        """A controller's process has ended, and its tasks with it; its jobs are started again (cause CONTROLLER).

        Only what was given to that incarnation is touched, whether it was ever up in this reign or not.
        """
        if self._up.get(slot) == incarnation:
            del self._up[slot]
            self._take_back_settlements(slot)
        lost = [record for record in self._index.out_at(slot) if record.incarnation == incarnation]
        return Decision(tuple(self._controller_lost(record, now) for record in lost))

    def _submit(self, request: Request, now: float, changes: list[Change]) -> Answer:
        known = self.jobs.get(request.job_id)
        if known is not None:
            return Answer(known)
        if request.job_id in self._adoptions:
            job_id, origin = self._adoptions[request.job_id]
            return Answer(self.jobs[job_id], origin)
        holder = None if request.force else self._index.keys.holder(request.run_key)
        unwanted = holder is not None and holder.ended and not request.reuse
        if holder is not None and not unwanted:
            # An event, so that the answer rests on an append: by a registry that was not yet followed by another.
            change = self._change(Adopted(holder.job_id, now, request.client, request.job_id))
            changes.append(change)
            return Answer(change.record, self._adoptions[request.job_id][1])
        if self.unfinished >= self._limits.queued:
            return Answer(None, retry_after=self._limits.retry_after)
        event = Accepted(
            request.job_id,
            now,
            request.name,
            sys.intern(request.capability_id),
            request.run_key,
            sys.intern(request.client),
            request.submitted_at,
            sys.intern(request.shape),
            self._index.demand(request.demand),
            sys.intern(request.store_uri),
            self._index.policy(request.policy),
            request.stored,
            request.force,
            request.recovers,
            sys.intern("reuse=False" if unwanted else request.reason or self._why_none(request.run_key)),
        )
        if not request.stored:
            self._in_memory.add(request.job_id)
        record = accept(event, len(self.jobs))
        self._index.add(record)
        changes.append(Change(event, record))
        return Answer(record)

    def _why_none(self, run_key: str | None) -> str:
        """Why there is no job that equal work could be given; empty if there has never been one."""
        last = self._index.keys.passed_over(run_key)
        return "" if last is None else endings.why_not_given(last)

    def _change(self, event: Event) -> Change:
        return Change(event, self.apply(event))

    def _remember(self, event: Adopted, holder: JobRecord) -> None:
        self._adoptions[event.request_id] = (holder.job_id, JobOrigin.REUSED if holder.ended else JobOrigin.ADOPTED)
        if len(self._adoptions) > _REMEMBERED:
            self._adoptions.popitem(last=False)

    def _stop(self, record: JobRecord) -> list[Action]:
        out = stage_of(record) is Stage.OUT and self._up.get(record.slot) == record.incarnation
        return [Cancel(record.job_id, record.attempt, record.slot)] if out else []

    def _next_slot(self) -> str:
        out, handed, step = self._index.out, self._index.handed, self._limits.spread_after
        return min(self._up, key=lambda slot: ((len(out.get(slot, ())) + len(handed.get(slot, ()))) // step, slot))

    def _take_back_settlements(self, slot: str) -> None:
        self._index.settling.update(self._index.handed.pop(slot, {}))

    def _can_start(self, record: JobRecord) -> bool:
        return record.stored or record.job_id in self._in_memory

    # What follows a start that failed.

    def _start_failed(self, record: JobRecord, end: AttemptEnd, now: float) -> Change:
        failure = end.failure
        if failure is None:
            raise ValueError(f"job {record.job_id}: a start ended with neither an outcome nor a failure")
        cancelled = record.cancel_requested_at is not None
        if cancelled:
            failure = endings.cancelled(record.attempt)
        elif end.cause is not None and _has_budget(record, end.cause):
            if self._can_start(record):
                return self._change(AttemptFailed(record.job_id, now, record.attempt, cause=end.cause.value))
            failure = endings.not_stored(failure)
        if not end.begun and record.attempt == 1:
            return self._end(record, failure, now)
        return self._to_be_settled(record, failure, now)

    def _controller_lost(self, record: JobRecord, now: float) -> Change:
        end = AttemptEnd(failure=endings.controller_lost(record.attempt), cause=Cause.CONTROLLER)
        return self._start_failed(record, end, now)

    def _out_is_lost(self, record: JobRecord, now: float) -> list[Change]:
        if record.cancel_requested_at is not None:
            return [self._to_be_settled(record, endings.cancelled(record.attempt), now)]
        if self._outlives_cluster(record):
            return [self._change(AttemptFailed(record.job_id, now, record.attempt, cause=Cause.CLUSTER.value))]
        return [self._to_be_settled(record, _cluster_lost(record), now)]

    def _queued_is_lost(self, record: JobRecord, same_cluster: bool, now: float) -> list[Change]:
        if self._can_start(record) if same_cluster else self._outlives_cluster(record):
            return []
        failure = endings.submission_lost(record.attempt) if same_cluster else _cluster_lost(record)
        return [(self._to_be_settled if record.may_have_run else self._end)(record, failure, now)]

    def _outlives_cluster(self, record: JobRecord) -> bool:
        return record.policy.on_cluster_loss == "resubmit" and self._can_start(record)

    def _to_be_settled(self, record: JobRecord, failure: FailureRecord, now: float) -> Change:
        return self._change(AttemptFailed(record.job_id, now, record.attempt, failure=endings.failure_text(failure)))

    def _end(self, record: JobRecord, failure: FailureRecord, now: float) -> Change:
        status = JobStatus.CANCELLED if failure.kind is FailureKind.CANCELLED else JobStatus.FAILED
        return self._change(Ended(record.job_id, now, status.value, endings.outcome_text(failure, now)))


def _cluster_lost(record: JobRecord) -> FailureRecord:
    return endings.cluster_lost(record.attempt, resubmit=record.policy.on_cluster_loss == "resubmit")


def _has_budget(record: JobRecord, cause: Cause) -> bool:
    limits = {
        Cause.LOST: record.policy.max_retries,
        Cause.OUT_OF_MEMORY: record.policy.oom_retries,
        Cause.RAISED: record.policy.exception_retries,
    }
    return cause not in limits or record.causes.count(cause) < limits[cause]

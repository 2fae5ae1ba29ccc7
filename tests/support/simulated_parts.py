"""The parts of a simulated cluster: virtual time, a log, a store of results, workers and controllers.

Nothing here is real but the rules: who may write what where, who dies with whom, which messages get lost or come
twice. All chance is from one seeded generator, so a run can be repeated.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from directory_steps import CANCELLED, COMPLETED, FAILED, FAILURE

from checkmaite_core.failure import FailureKind, FailureRecord
from checkmaite_ledger.directory import AttemptEnd, Cause
from checkmaite_ledger.events import Event, Started

__all__ = ["Controller", "Entry", "Log", "Process", "Results", "Time"]


class Process:
    """Something that may die, or stand still for a while; what was to happen in it happens not, or later."""

    alive = True
    stalled_until = 0.0


class Time:
    """Virtual time: what is to happen, in order; and all chance."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.now = 0.0
        self.story: list[str] = []
        self.seen: Counter[str] = Counter()
        """What has happened, by kind: so that a test can tell that a kind of thing does happen."""
        self._agenda: list[tuple[float, int, Process | None, Callable[..., None], tuple[Any, ...]]] = []
        self._order = itertools.count()

    def after(self, delay: float, what: Callable[..., None], *args: Any, of: Process | None = None) -> None:
        heapq.heappush(self._agenda, (self.now + delay, next(self._order), of, what, args))

    def soon(self, what: Callable[..., None], *args: Any, of: Process | None = None, mean: float = 0.05) -> None:
        self.after(self.chance.expovariate(1 / mean), what, *args, of=of)

    def run(self, until: float) -> None:
        while self._agenda and self._agenda[0][0] <= until:
            self.now, order, of, what, args = heapq.heappop(self._agenda)
            if of is None or (of.alive and of.stalled_until <= self.now):
                what(*args)
            elif of.alive:
                heapq.heappush(self._agenda, (of.stalled_until, order, of, what, args))
        self.now = until

    def happens(self, probability: float) -> bool:
        return self.chance.random() < probability

    def tell(self, text: str) -> None:
        self.story.append(f"{self.now:8.3f}  {text}")


@dataclass
class Entry:
    """One object of the log: events, or the seal with which an epoch begins."""

    epoch: int
    at: float
    events: Sequence[Event] = ()
    seal: bool = False


class Log:
    """Numbered objects and numbered epochs; the first to take a number has it."""

    def __init__(self, time: Time) -> None:
        self._time = time
        self.entries: list[Entry] = []
        self.epochs: list[str] = []
        """The cluster of each epoch, from the first."""
        self.starts: set[tuple[str, int]] = set()
        """Jobs and attempts whose start is durable."""

    def put_epoch(self, number: int, cluster: str) -> bool:
        if number != len(self.epochs) + 1:
            return False
        self.epochs.append(cluster)
        return True

    def put(self, number: int, epoch: int, events: Sequence[Event] = (), *, seal: bool = False) -> bool:
        """Whether the number is this epoch's now; also if it was put there by an earlier try."""
        assert number <= len(self.entries), "a writer leaves no number out"
        if number < len(self.entries):
            return self.entries[number].epoch == epoch
        self.entries.append(Entry(epoch, self._time.now, events, seal))
        self.starts.update((event.job_id, event.attempt) for event in events if isinstance(event, Started))
        return True

    def events(self) -> list[Event]:
        return [event for entry in self.entries for event in entry.events]


class Results:
    """The store of results: a run or a marker at each job's key, whichever came first."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        self.abandoned: set[str] = set()

    def commit(self, job_id: str) -> bool:
        if job_id in self.abandoned:
            return False
        if job_id not in self.runs:
            self.runs[job_id] += 1
        return True

    def settle(self, job_id: str, failure: FailureRecord) -> str:
        if job_id in self.runs:
            return COMPLETED
        self.abandoned.add(job_id)
        return CANCELLED if failure.kind is FailureKind.CANCELLED else FAILED


@dataclass(eq=False)
class _Task(Process):
    job_id: str
    attempt: int
    end: AttemptEnd | None = None


@dataclass(eq=False)
class Controller(Process):
    """Owns tasks; takes orders from the registry of the highest epoch that it has heard of, and reports to it."""

    time: Time
    log: Log
    results: Results
    cluster: str
    slot: str
    incarnation: str
    executions: Counter[str]
    excuses: Counter[str]
    faulty: Callable[[], bool]
    epoch: int = 0
    report_to: Any = None
    tasks: dict[str, _Task] = field(default_factory=dict)
    settling: set[str] = field(default_factory=set)
    settled: dict[str, str] = field(default_factory=dict)

    def accepts(self, epoch: int) -> bool:
        if epoch < self.epoch:
            self.time.seen["order of an earlier epoch refused"] += 1
            return False
        self.epoch = epoch
        return True

    def attend(self, epoch: int, registry: Any) -> list[tuple[str, int]] | None:
        if not self.accepts(epoch):
            return None
        self.report_to = registry
        for task in self.tasks.values():
            self._report(task)
        for job_id in self.settled:
            self._report_settled(job_id)
        return [(task.job_id, task.attempt) for task in self.tasks.values()]

    def launch(self, epoch: int, job_id: str, attempt: int) -> None:
        if not self.accepts(epoch):
            return
        assert (job_id, attempt) in self.log.starts, f"{job_id} is launched, and its start is not durable"
        known = self.tasks.get(job_id)
        if known is None or known.attempt < attempt:
            task = self.tasks[job_id] = _Task(job_id, attempt)
            self.time.soon(self._begin, task, of=task)

    def cancel(self, epoch: int, job_id: str, attempt: int) -> None:
        task = self.tasks.get(job_id)
        if self.accepts(epoch) and task is not None and task.attempt == attempt and task.end is None and task.alive:
            self.time.soon(self._stopped, task, of=task)

    def settle(self, epoch: int, job_id: str, failure: FailureRecord) -> None:
        if self.accepts(epoch) and job_id not in self.settling:
            self.settling.add(job_id)
            self.time.soon(self._settled, job_id, failure, of=self)

    def forget(self, epoch: int, job_id: str, attempt: int | None) -> None:
        task = self.tasks.get(job_id)
        if not self.accepts(epoch):
            return
        if attempt is None:
            self.settled.pop(job_id, None)
            self.settling.discard(job_id)
        elif task is not None and task.attempt == attempt and task.end is not None:
            del self.tasks[job_id]

    def die(self) -> None:
        """Its tasks go with it, but for a few that go on where nobody sees them."""
        self.alive = False
        for task in self.tasks.values():
            self.excuses[task.job_id] += 1
            task.alive = self.time.happens(0.3)

    # What a worker does.

    def _begin(self, task: _Task) -> None:
        if task.attempt > 1 and task.job_id in self.results.runs:
            self._end(task, AttemptEnd(outcome=COMPLETED))
        elif self.faulty() and self.time.happens(0.05):
            self._end(task, AttemptEnd(failure=FAILURE, begun=False))
        else:
            self.executions[task.job_id] += 1
            self.time.tell(f"{task.job_id} begins, start {task.attempt}, at {self.slot}/{self.incarnation}")
            if self.report_to is not None:
                self.time.soon(self.report_to.on_began, task.job_id, task.attempt, of=self.report_to)
            self.time.soon(self._finish, task, of=task, mean=self.time.chance.choice((0.02, 0.5, 3.0)))

    def _finish(self, task: _Task) -> None:
        what = self.time.chance.random()
        if self.faulty() and what < 0.2:
            self.excuses[task.job_id] += 1
            causes = (Cause.LOST, Cause.OUT_OF_MEMORY, Cause.RAISED, Cause.NODE, None)
            self._end(task, AttemptEnd(failure=FAILURE, cause=self.time.chance.choice(causes)))
        elif what < 0.3:
            self._end(task, AttemptEnd(outcome=self.results.settle(task.job_id, FAILURE)))
        elif not self.results.commit(task.job_id):
            self.time.seen["straggler stopped"] += 1
            self._end(task, AttemptEnd(outcome=FAILED))
        elif self.faulty() and self.time.happens(0.1):
            self.excuses[task.job_id] += 1
            self._end(task, AttemptEnd(failure=FAILURE, cause=Cause.LOST))
        else:
            self._end(task, AttemptEnd(outcome=COMPLETED))

    def _stopped(self, task: _Task) -> None:
        if task.end is None:
            hard = self.time.happens(0.5)
            cancelled = FailureRecord(kind=FailureKind.CANCELLED, error_type="tests.Cancelled", message="stop")
            outcome = None if hard else self.results.settle(task.job_id, cancelled)
            self._end(task, AttemptEnd(outcome=outcome, failure=None if outcome else FAILURE))

    # What it reports.

    def _end(self, task: _Task, end: AttemptEnd) -> None:
        if task.end is not None:
            return
        task.end, task.alive = end, False
        self.time.tell(f"{task.job_id} start {task.attempt} ended: {end.cause or end.outcome or end.failure}"[:110])
        if self.alive:
            self._report(task)

    def _report(self, task: _Task) -> None:
        if task.end is not None and self.report_to is not None and self.tasks.get(task.job_id) is task:
            args = (self, task.job_id, task.attempt, task.end)
            for mean in self._ways():
                self.time.soon(self.report_to.on_ended, *args, of=self.report_to, mean=mean)
            self.time.after(2.0, self._report, task, of=self)  # until it is told to forget it

    def _settled(self, job_id: str, failure: FailureRecord) -> None:
        if self.faulty() and self.time.happens(0.5):
            # The store does not answer. What was said may get lost: then the next registry asks again.
            self.time.seen["not settled yet"] += 1
            self.settling.discard(job_id)
            if self.report_to is not None:
                args = (self, job_id, f"the store, since {self.time.now:.0f}")
                self.time.soon(self.report_to.on_unsettled, *args, of=self.report_to)
            return
        self.time.seen["settled"] += 1
        self.settled[job_id] = self.results.settle(job_id, failure)
        self.time.tell(f"{job_id} is settled by {self.slot}/{self.incarnation}: {self.settled[job_id][:22]}")
        self._report_settled(job_id)

    def _report_settled(self, job_id: str) -> None:
        if job_id in self.settled and self.report_to is not None:
            for mean in self._ways():
                args = (self, job_id, self.settled[job_id])
                self.time.soon(self.report_to.on_settled, *args, of=self.report_to, mean=mean)
            self.time.after(2.0, self._report_settled, job_id, of=self)

    def _ways(self) -> tuple[float, ...]:
        """How long a message takes on average; it may get lost, or come twice, much later."""
        if not self.faulty():
            return (0.05,)
        return self.time.chance.choice(((), (0.05,), (0.05,), (0.05,), (0.05, 1.0), (0.05, 0.2)))

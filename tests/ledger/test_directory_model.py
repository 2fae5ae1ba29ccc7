"""The job directory against a model that a reader can hold in the head: a list of jobs and loops over it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
from directory_steps import CANCELLED, COMPLETED, FAILED, crash, replayed, request
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from checkmaite_core.job import JobOrigin, JobStatus
from checkmaite_ledger.directory import AttemptEnd, Cancel, Cause, Decision, Directory, Launch, Limits, Settle
from checkmaite_ledger.events import Event, Policy

_WINDOW = 2
_QUEUED = 5
_OUTCOMES = {COMPLETED: JobStatus.COMPLETED, FAILED: JobStatus.FAILED, CANCELLED: JobStatus.CANCELLED}
_LIMITS = {Cause.LOST: 1, Cause.OUT_OF_MEMORY: 0, Cause.RAISED: 2}


@dataclass
class _Job:
    job_id: str
    key: str | None
    shape: str
    resubmit: bool
    state: str = "queued"  # then "out", "settling" and "ended"
    status: JobStatus | None = None
    attempt: int = 0
    at: tuple[str, str] = ("", "")
    handed: str = ""
    postponed: bool = False
    cancel: bool = False
    causes: tuple[Cause, ...] = ()
    retry: Cause = Cause.LOST

    def again(self, cause: Cause) -> None:
        left = cause not in _LIMITS or self.causes.count(cause) < _LIMITS[cause]
        self.state = "queued" if left and not self.cancel else "settling"
        self.retry = cause


def _some(*states: str) -> Callable[[Any], Any]:
    return precondition(lambda machine: any(job.state in states for job in machine.jobs))


class DirectoryMachine(RuleBasedStateMachine):
    """Commands in any order; the directory and the model must agree after each."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Directory(Limits(queued=_QUEUED, window=_WINDOW))
        self.jobs: list[_Job] = []
        self.given: dict[str, tuple[str, JobOrigin]] = {}
        self.up: dict[str, str] = {}
        self.events: list[Event] = []
        self.requests = 0
        self.processes = 0
        # Without a controller little can happen, so one is there from the beginning.
        self.up["c0"] = "p0"
        self.directory.controller_up("c0", "p0", [], now=1.0)

    def take(self, decision: Decision) -> Decision:
        self.events += [change.event for change in decision.changes]
        return decision

    def job(self, data: st.DataObject, *states: str) -> _Job:
        return data.draw(st.sampled_from([job for job in self.jobs if job.state in states]))

    @staticmethod
    def may_hold(job: _Job) -> bool:
        if job.state == "ended":
            return job.status is JobStatus.COMPLETED
        return job.state != "settling" and not job.cancel

    def holder(self, key: str | None) -> _Job | None:
        may = [job for job in self.jobs if job.key == key and self.may_hold(job)]
        return may[-1] if key and may else None

    @rule(
        key=st.sampled_from(["k", "k", "l", None]),
        shape=st.sampled_from("st"),
        force=st.booleans(),
        resubmit=st.booleans(),
    )
    def submit(self, key: str | None, shape: str, force: bool, resubmit: bool) -> None:
        self.requests += 1
        policy = Policy(
            max_retries=1, oom_retries=0, exception_retries=2, on_cluster_loss="resubmit" if resubmit else "fail"
        )
        one = request(f"r{self.requests}", key, shape=shape, force=force, policy=policy)
        holder = None if force else self.holder(key)
        decision, [answer] = self.directory.submit([one], now=1.0)
        self.take(decision)
        assert self.directory.submit([one], now=1.0) == (Decision(), [answer])
        if holder is not None:
            origin = JobOrigin.REUSED if holder.state == "ended" else JobOrigin.ADOPTED
            assert (answer.record is not None and answer.record.job_id, answer.origin) == (holder.job_id, origin)
            assert decision.changes
        elif sum(job.state != "ended" for job in self.jobs) >= _QUEUED:
            assert answer.record is None
            assert not decision.changes
        else:
            assert (answer.record is not None and answer.record.job_id, answer.origin) == (
                one.job_id,
                JobOrigin.STARTED,
            )
            self.jobs.append(_Job(one.job_id, key, shape, resubmit))

    @rule()
    def dispatch(self) -> None:
        decision = self.take(self.directory.dispatch(now=2.0))
        launches = [action for action in decision.actions if isinstance(action, Launch)]
        settles = [action for action in decision.actions if isinstance(action, Settle)]
        unhandled = [job for job in self.jobs if job.state == "settling" and not job.handed and not job.postponed]
        assert {one.job_id for one in settles} == {job.job_id for job in unhandled if self.up}
        for one in settles:
            self.by_id(one.job_id).handed = one.slot
        wanted = []
        for shape in "st" if self.up else "":
            room = _WINDOW - sum(job.state == "out" and job.shape == shape for job in self.jobs)
            queue = [job for job in self.jobs if job.state == "queued" and job.shape == shape]
            queue.sort(key=lambda job: not job.attempt)
            wanted += [job.job_id for job in queue[: max(room, 0)]]
        assert sorted(one.job_id for one in launches) == sorted(wanted)
        assert [one.job_id for one in launches if self.by_id(one.job_id).shape == "s"] == [
            job_id for job_id in wanted if self.by_id(job_id).shape == "s"
        ]
        for one in launches:
            job = self.by_id(one.job_id)
            if job.attempt:
                job.causes += (job.retry,)
            job.attempt += 1
            assert one.attempt == job.attempt
            job.state, job.at = "out", (one.slot, self.up[one.slot])

    @_some("out")
    @rule(data=st.data(), outcome=st.sampled_from(sorted(_OUTCOMES)))
    def returns(self, data: st.DataObject, outcome: str) -> None:
        job = self.job(data, "out")
        self.take(self.directory.attempt_ended(job.job_id, job.attempt, AttemptEnd(outcome=outcome), now=3.0))
        job.state, job.status = "ended", _OUTCOMES[outcome]

    @_some("out")
    @rule(data=st.data(), cause=st.sampled_from([None, *Cause]))
    def fails(self, data: st.DataObject, cause: Cause | None) -> None:
        job = self.job(data, "out")
        self.take(self.directory.attempt_ended(job.job_id, job.attempt, crash(cause), now=3.0))
        assert self.directory.attempt_ended(job.job_id, job.attempt, crash(cause), now=3.0) == Decision()
        if cause is None:
            job.state = "settling"
        else:
            job.again(cause)

    @_some("out", "queued", "settling")
    @rule(data=st.data())
    def commits_late(self, data: st.DataObject) -> None:
        job = self.job(data, "out", "queued", "settling")
        if job.attempt:
            end = AttemptEnd(outcome=COMPLETED)
            self.take(self.directory.attempt_ended(job.job_id, data.draw(st.integers(1, job.attempt)), end, now=3.0))
            job.state, job.status = "ended", JobStatus.COMPLETED

    @_some("settling")
    @rule(data=st.data(), outcome=st.sampled_from(sorted(_OUTCOMES)))
    def settled(self, data: st.DataObject, outcome: str) -> None:
        job = self.job(data, "settling")
        self.take(self.directory.settled(job.job_id, outcome, now=3.0))
        job.state, job.status = "ended", _OUTCOMES[outcome]

    @_some("settling")
    @rule(data=st.data(), reason=st.sampled_from(["the store", "a worker"]))
    def is_not_settled(self, data: st.DataObject, reason: str) -> None:
        job = self.job(data, "settling")
        decision = self.take(self.directory.unsettled(job.job_id, reason=reason, now=3.0))
        assert not decision.actions
        job.handed, job.postponed = "", True
        assert self.directory.jobs[job.job_id].waiting_for == reason

    @rule(data=st.data())
    def is_asked_about_again(self, data: st.DataObject) -> None:
        some = [job for job in self.jobs if data.draw(st.booleans())]
        self.directory.ask_again([job.job_id for job in some])
        for job in some:
            job.postponed = False

    @_some("out", "queued", "settling", "ended")
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job = self.job(data, "out", "queued", "settling", "ended")
        decision, [answer] = self.directory.cancel([job.job_id], client="c", now=3.0)
        self.take(decision)
        assert answer is (job.state != "ended")
        told = job.state == "out" and self.up.get(job.at[0]) == job.at[1]
        assert decision.actions == ((Cancel(job.job_id, job.attempt, job.at[0]),) if told else ())
        if job.state == "queued":
            job.state, job.status = ("settling", None) if job.attempt else ("ended", JobStatus.CANCELLED)
        job.cancel = True

    @rule(slot=st.sampled_from(["c0", "c1"]), data=st.data())
    def comes_up(self, slot: str, data: st.DataObject) -> None:
        self.processes += 1
        known = sorted({job.at[1] for job in self.jobs if job.at[0] == slot and job.state == "out"})
        incarnation = data.draw(st.sampled_from([*known, f"p{self.processes}"]))
        mine = [job for job in self.jobs if job.state == "out" and job.at == (slot, incarnation)]
        held = [job for job in mine if data.draw(st.booleans())]
        holding = [(job.job_id, job.attempt) for job in held]
        decision = self.take(self.directory.controller_up(slot, incarnation, holding, now=4.0))
        if self.up.get(slot) != incarnation:
            self.hand_back(slot)
        self.up[slot] = incarnation
        for job in self.jobs:
            if job.state == "out" and job.at[0] == slot and job.at[1] != incarnation:
                job.again(Cause.CONTROLLER)
        expected = [
            Cancel(job.job_id, job.attempt, slot) if job in held else Launch(job.job_id, job.attempt, slot)
            for job in mine
            if job.cancel == (job in held)
        ]
        assert list(decision.actions) == expected
        for job in mine:
            if job not in held and job.cancel:
                job.state = "settling"

    @rule(slot=st.sampled_from(["c0", "c1"]), data=st.data())
    def goes_down(self, slot: str, data: st.DataObject) -> None:
        known = {job.at[1] for job in self.jobs if job.at[0] == slot} | {self.up.get(slot, "p0")}
        incarnation = data.draw(st.sampled_from(sorted(known)))
        self.take(self.directory.controller_down(slot, incarnation, now=4.0))
        if self.up.get(slot) == incarnation:
            del self.up[slot]
            self.hand_back(slot)
        for job in self.jobs:
            if job.state == "out" and job.at == (slot, incarnation):
                job.again(Cause.CONTROLLER)

    @rule(same_cluster=st.booleans(), snapshot=st.booleans())
    def is_followed(self, same_cluster: bool, snapshot: bool) -> None:
        later = Directory(Limits(queued=_QUEUED, window=_WINDOW))
        if snapshot:
            later.restore(self.directory.jobs.values())
        else:
            for event in self.events:
                later.apply(event)
        self.directory = later
        self.take(self.directory.reign(same_cluster=same_cluster, now=5.0))
        self.up.clear()
        for job in self.jobs:
            job.handed, job.postponed = "", False
            if job.state in ("out", "queued") and not same_cluster:
                if job.state == "out" and job.resubmit:
                    job.again(Cause.CLUSTER)
                elif not job.resubmit:
                    job.state, job.status = ("settling", None) if job.attempt else ("ended", JobStatus.FAILED)

    def by_id(self, job_id: str) -> _Job:
        return next(job for job in self.jobs if job.job_id == job_id)

    def hand_back(self, slot: str) -> None:
        for job in self.jobs:
            if job.handed == slot:
                job.handed = ""

    @invariant()
    def agrees(self) -> None:
        assert list(self.directory.jobs) == [job.job_id for job in self.jobs]
        for job in self.jobs:
            record = self.directory.jobs[job.job_id]
            assert (record.status if record.ended else None) is job.status
            assert record.attempt == job.attempt
        assert self.directory.unfinished == sum(job.state != "ended" for job in self.jobs)
        queued = [job.shape for job in self.jobs if job.state == "queued"]
        assert self.directory.waiting() == {shape: queued.count(shape) for shape in set(queued)}

    def teardown(self) -> None:
        assert replayed(self.events) == dict(self.directory.jobs)


TestDirectory = DirectoryMachine.TestCase
TestDirectory.settings = hypothesis.settings(max_examples=200, stateful_step_count=40)


@pytest.mark.soak
def test_the_directory_agrees_with_its_model_over_many_histories() -> None:
    settings = hypothesis.settings(max_examples=5_000, stateful_step_count=60, derandomize=False)
    run_state_machine_as_test(DirectoryMachine, settings=settings)  # type: ignore[no-untyped-call]

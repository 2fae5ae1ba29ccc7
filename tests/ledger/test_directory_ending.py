"""What becomes of a job whose start has failed, that is cancelled."""

from __future__ import annotations

import pytest
from directory_steps import CANCELLED, COMPLETED, FAILED, FAILURE, crash, request, run

from checkmaite_core.failure import FailureKind
from checkmaite_core.job import JobStatus
from checkmaite_ledger.directory import (
    AttemptEnd,
    Cancel,
    Cause,
    Decision,
    Directory,
    Launch,
    Settle,
)
from checkmaite_ledger.events import AttemptFailed, CancelRequested, Ended, Policy, Waiting


@pytest.fixture
def directory() -> Directory:
    directory = Directory()
    directory.controller_up("c0", "x", [], now=1.0)
    return directory


def settled_kind(directory: Directory) -> FailureKind:
    """The kind of failure that the one settlement that is handed out now would end its job with."""
    [settle] = directory.dispatch(now=9.0).actions
    assert isinstance(settle, Settle)
    return settle.failure.kind


def test_an_outcome_ends_a_job(directory: Directory) -> None:
    run(directory, request("a"))
    decision = directory.attempt_ended("a", 1, AttemptEnd(outcome=FAILED), now=3.0)
    assert [change.event for change in decision.changes] == [Ended("a", 3.0, "FAILED", FAILED)]
    assert directory.attempt_ended("a", 1, AttemptEnd(outcome=FAILED), now=4.0) == Decision()
    assert directory.unfinished == 0


def test_a_commit_of_an_earlier_start_is_the_truth_and_stops_the_later_start(directory: Directory) -> None:
    run(directory, request("a"))
    directory.attempt_ended("a", 1, crash(), now=3.0)
    directory.dispatch(now=3.0)
    assert directory.attempt_ended("a", 1, AttemptEnd(outcome=FAILED), now=4.0) == Decision()
    decision = directory.attempt_ended("a", 1, AttemptEnd(outcome=COMPLETED), now=4.0)
    assert directory.jobs["a"].status is JobStatus.COMPLETED
    assert decision.actions == (Cancel("a", 2, "c0"),)


def test_a_job_that_commits_while_it_waits_is_not_started_again(directory: Directory) -> None:
    run(directory, request("a"))
    directory.attempt_ended("a", 1, crash(), now=3.0)
    directory.attempt_ended("a", 1, AttemptEnd(outcome=COMPLETED), now=4.0)
    assert directory.dispatch(now=5.0) == Decision()
    assert directory.waiting() == {}


@pytest.mark.parametrize(
    ("cause", "policy"),
    [
        (Cause.LOST, Policy(2, 0, 0)),
        (Cause.OUT_OF_MEMORY, Policy(0, 2, 0)),
        (Cause.RAISED, Policy(0, 0, 2)),
    ],
)
def test_each_cause_has_its_own_number_of_retries(directory: Directory, cause: Cause, policy: Policy) -> None:
    run(directory, request("a", policy=policy))
    for attempt in (1, 2):
        directory.attempt_ended("a", attempt, crash(cause), now=3.0)
        assert directory.dispatch(now=3.0).actions == (Launch("a", attempt + 1, "c0"),)
    directory.attempt_ended("a", 3, crash(cause), now=3.0)
    assert directory.dispatch(now=4.0).actions == (Settle("a", "c0", FAILURE),)


@pytest.mark.parametrize("cause", [Cause.NODE, Cause.CONTROLLER, Cause.CLUSTER])
def test_what_no_job_is_to_blame_for_uses_up_no_retries(directory: Directory, cause: Cause) -> None:
    run(directory, request("a", policy=Policy(max_retries=0, oom_retries=0, exception_retries=0)))
    for attempt in range(1, 20):
        directory.attempt_ended("a", attempt, crash(cause), now=3.0)
        assert directory.dispatch(now=3.0).actions == (Launch("a", attempt + 1, "c0"),)


def test_a_failed_start_is_written_down_with_what_is_to_follow(directory: Directory) -> None:
    run(directory, request("a"), request("b"))
    again = directory.attempt_ended("a", 1, crash(), now=3.0)
    assert [change.event for change in again.changes] == [AttemptFailed("a", 3.0, 1, cause="lost")]
    no_more = directory.attempt_ended("b", 1, crash(None), now=3.0)
    assert [change.event for change in no_more.changes] == [
        AttemptFailed("b", 3.0, 1, failure=FAILURE.model_dump_json())
    ]
    later = Directory()
    later.restore(directory.jobs.values())
    later.reign(same_cluster=True, now=4.0)
    later.controller_up("c0", "x", [], now=4.0)
    assert later.dispatch(now=5.0).actions == (Settle("b", "c0", FAILURE), Launch("a", 2, "c0"))


def test_the_same_news_twice_counts_once(directory: Directory) -> None:
    run(directory, request("a"))
    directory.attempt_ended("a", 1, crash(), now=3.0)
    assert directory.attempt_ended("a", 1, crash(), now=3.0) == Decision()
    directory.dispatch(now=3.0)
    assert directory.attempt_ended("a", 1, crash(), now=3.0) == Decision(), "it is of an earlier start"
    assert directory.attempt_ended("unknown", 1, crash(), now=3.0) == Decision()


def test_a_job_that_cannot_begin_ends_at_once_unless_an_earlier_start_may_have_run(directory: Directory) -> None:
    run(directory, request("a"), request("b"))
    directory.attempt_ended("a", 1, crash(None, begun=False), now=3.0)
    assert directory.jobs["a"].status is JobStatus.FAILED
    directory.attempt_ended("b", 1, crash(), now=3.0)
    directory.dispatch(now=3.0)
    directory.attempt_ended("b", 2, crash(None, begun=False), now=3.0)
    assert directory.dispatch(now=4.0).actions == (Settle("b", "c0", FAILURE),)


@pytest.mark.parametrize(("outcome", "status"), [(COMPLETED, "COMPLETED"), (FAILED, "FAILED")])
def test_a_settlement_ends_a_job_as_the_store_says(directory: Directory, outcome: str, status: str) -> None:
    run(directory, request("a"))
    directory.attempt_ended("a", 1, crash(None), now=3.0)
    directory.dispatch(now=3.0)
    assert directory.settled("a", outcome, now=4.0).changes[0].event == Ended("a", 4.0, status, outcome)
    assert directory.settled("a", FAILED, now=5.0) == Decision()
    assert directory.settled("unknown", FAILED, now=5.0) == Decision()


def test_a_settlement_is_handed_out_once_and_again_if_its_controller_goes_down(directory: Directory) -> None:
    run(directory, request("a"))
    directory.attempt_ended("a", 1, crash(None), now=3.0)
    assert directory.dispatch(now=3.0).actions == (Settle("a", "c0", FAILURE),)
    directory.controller_up("c0", "x", [], now=3.0)
    assert directory.dispatch(now=3.0).actions == ()
    directory.controller_up("c1", "y", [], now=3.0)
    directory.controller_down("c0", "x", now=3.0)
    assert directory.dispatch(now=3.0).actions == (Settle("a", "c1", FAILURE),)
    directory.controller_up("c1", "z", [], now=3.0)
    assert directory.dispatch(now=3.0).actions == (Settle("a", "c1", FAILURE),)
    directory.settled("a", FAILED, now=4.0)
    directory.controller_down("c1", "z", now=4.0)
    directory.controller_up("c1", "w", [], now=4.0)
    assert directory.dispatch(now=4.0).actions == ()


def test_a_worker_that_begins_makes_its_job_running(directory: Directory) -> None:
    run(directory, request("a"))
    assert directory.began("a", 2, at=2.5, place="node 1") == Decision()
    directory.began("a", 1, at=2.5, place="node 1")
    record = directory.jobs["a"]
    assert (record.status, record.began_at, record.place) == (JobStatus.RUNNING, 2.5, "node 1")
    assert directory.began("a", 1, at=2.6, place="node 1") == Decision()
    directory.attempt_ended("a", 1, AttemptEnd(outcome=COMPLETED), now=3.0)
    assert directory.began("a", 1, at=2.7, place="node 1") == Decision()


def test_a_start_that_is_over_cannot_begin(directory: Directory) -> None:
    run(directory, request("a"))
    directory.attempt_ended("a", 1, crash(), now=3.0)
    assert directory.began("a", 1, at=3.5, place="node 1") == Decision()


# Cancelling.


def test_a_waiting_job_that_is_cancelled_ends_at_once_and_never_starts() -> None:
    directory = Directory()
    run(directory, request("a"))
    decision, answers = directory.cancel(["a", "b"], client="c", now=2.0)
    assert answers == [True, None]
    assert decision.actions == ()
    record = directory.jobs["a"]
    outcome = record.parsed_outcome()
    assert outcome is not None
    assert outcome.failure is not None
    assert (outcome.status, outcome.failure.kind) == (JobStatus.CANCELLED, FailureKind.CANCELLED)
    assert outcome.finished_at.timestamp() == 2.0
    directory.controller_up("c0", "x", [], now=3.0)
    assert directory.dispatch(now=3.0) == Decision()
    assert directory.cancel(["a"], client="c", now=4.0) == (Decision(), [False])


def test_a_started_job_that_is_cancelled_is_stopped_by_its_controller(directory: Directory) -> None:
    run(directory, request("a"))
    decision, answers = directory.cancel(["a"], client="c", now=2.0)
    assert answers == [True]
    assert [change.event for change in decision.changes] == [CancelRequested("a", 2.0, "c")]
    assert decision.actions == (Cancel("a", 1, "c0"),)
    again, answers = directory.cancel(["a"], client="c", now=2.5)
    assert (again, answers) == (Decision((), (Cancel("a", 1, "c0"),)), [True])
    directory.attempt_ended("a", 1, AttemptEnd(outcome=CANCELLED), now=3.0)
    assert directory.jobs["a"].status is JobStatus.CANCELLED


def test_a_settlement_that_finds_nothing_out_is_handed_out_again_when_it_is_time(directory: Directory) -> None:
    run(directory, request("a"))
    directory.attempt_ended("a", 1, crash(None), now=3.0)
    [settle] = directory.dispatch(now=4.0).actions
    assert isinstance(settle, Settle)
    assert settle.since is None
    [change] = directory.unsettled("a", reason="the store, since noon", now=5.0).changes
    assert change.event == Waiting("a", 5.0, 1, "the store, since noon")
    assert (change.record.status.is_terminal, change.record.view().waiting_for) == (False, "the store, since noon")
    assert directory.dispatch(now=6.0) == Decision(), "not before it is time"
    assert directory.unsettled("a", reason="the store, since noon", now=6.0) == Decision(), "the same, told twice"
    assert directory.asked("a") == 2
    directory.ask_again(["a", "unknown"])
    [again] = directory.dispatch(now=7.0).actions
    assert again == Settle("a", settle.slot, settle.failure, since=5.0)
    directory.ask_again(["a"])
    assert directory.dispatch(now=8.0) == Decision(), "it is handed out already"
    directory.settled("a", COMPLETED, now=9.0)
    assert directory.unsettled("a", reason="late", now=9.0) == Decision()
    assert (directory.asked("a"), directory.jobs["a"].view().waiting_for) == (0, None)


def test_a_job_that_could_not_be_settled_is_handed_out_by_the_next_registry_too(directory: Directory) -> None:
    run(directory, request("a"))
    directory.attempt_ended("a", 1, crash(None), now=3.0)
    directory.dispatch(now=4.0)
    directory.unsettled("a", reason="the store", now=5.0)
    for same_cluster in (True, False):
        later = Directory()
        later.restore(directory.jobs.values())
        later.reign(same_cluster=same_cluster, now=6.0)
        later.controller_up("c9", "p9", [], now=6.0)
        [settle] = later.dispatch(now=7.0).actions
        assert isinstance(settle, Settle)
        assert (settle.job_id, settle.slot, settle.since) == ("a", "c9", 5.0)


def test_a_job_that_is_cancelled_while_it_cannot_be_settled_waits_on(directory: Directory) -> None:
    run(directory, request("a"))
    directory.attempt_ended("a", 1, crash(None), now=3.0)
    directory.dispatch(now=4.0)
    directory.unsettled("a", reason="the store", now=5.0)
    _, [answer] = directory.cancel(["a"], client="c", now=6.0)
    assert answer is True
    assert not directory.jobs["a"].ended
    assert directory.dispatch(now=6.0) == Decision()
    directory.ask_again(["a"])
    assert settled_kind(directory) is FailureKind.LOST, "it had failed before it was cancelled"


def test_a_cancelled_job_is_not_started_again_but_settled_as_cancelled(directory: Directory) -> None:
    run(directory, request("a"))
    directory.cancel(["a"], client="c", now=2.0)
    directory.attempt_ended("a", 1, crash(), now=3.0)
    assert settled_kind(directory) is FailureKind.CANCELLED


def test_a_job_that_is_cancelled_while_it_waits_for_its_retry_may_have_run_so_it_is_settled(
    directory: Directory,
) -> None:
    run(directory, request("a"))
    directory.attempt_ended("a", 1, crash(), now=3.0)
    assert directory.cancel(["a"], client="c", now=3.0)[1] == [True]
    assert not directory.jobs["a"].ended
    assert settled_kind(directory) is FailureKind.CANCELLED
    assert directory.waiting() == {}


def test_a_cancelled_job_that_could_not_begin_ends_cancelled(directory: Directory) -> None:
    run(directory, request("a"))
    directory.cancel(["a"], client="c", now=2.0)
    directory.attempt_ended("a", 1, crash(None, begun=False), now=3.0)
    assert directory.jobs["a"].status is JobStatus.CANCELLED


def test_a_job_that_was_to_be_stopped_too_late_ends_as_it_would_have(directory: Directory) -> None:
    run(directory, request("a"), request("b"))
    directory.attempt_ended("b", 1, crash(None), now=2.0)
    assert directory.cancel(["a", "b"], client="c", now=2.0)[1] == [True, True]
    directory.attempt_ended("a", 1, AttemptEnd(outcome=COMPLETED), now=3.0)
    assert directory.jobs["a"].status is JobStatus.COMPLETED
    assert settled_kind(directory) is FailureKind.LOST

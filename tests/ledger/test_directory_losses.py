"""What becomes of jobs when a controller, a registry or a whole cluster goes away."""

from __future__ import annotations

import pytest
from directory_steps import COMPLETED, FAILED, FAILURE, crash, request, run

from checkmaite_core.failure import FailureKind
from checkmaite_core.job import JobStatus
from checkmaite_ledger.directory import (
    AttemptEnd,
    Cancel,
    Decision,
    Directory,
    Launch,
    Settle,
)
from checkmaite_ledger.events import Policy, Started

RESUBMIT = Policy(on_cluster_loss="resubmit")


@pytest.fixture
def directory() -> Directory:
    directory = Directory()
    directory.controller_up("c0", "x", [], now=1.0)
    return directory


def settlements(directory: Directory) -> dict[str, FailureKind]:
    """What is to be settled now, and with which kind of failure."""
    actions = directory.dispatch(now=9.0).actions
    return {action.job_id: action.failure.kind for action in actions if isinstance(action, Settle)}


def successor(directory: Directory, **reign: bool) -> Directory:
    """A directory of another registry that has read what this one decided."""
    later = Directory()
    later.restore(directory.jobs.values())
    later.reign(now=5.0, **reign)
    return later


def test_when_a_controller_goes_down_its_own_jobs_are_started_again_and_no_others(directory: Directory) -> None:
    directory.controller_up("c1", "y", [], now=1.0)
    run(directory, request("a"), request("b"), request("c"))
    directory.cancel(["c"], client="c", now=2.0)
    decision = directory.controller_down("c0", "x", now=3.0)
    assert {change.event.job_id for change in decision.changes} == {"a", "c"}
    assert directory.controller_down("c0", "x", now=3.0) == Decision()
    settle, launch = directory.dispatch(now=4.0).actions
    assert launch == Launch("a", 2, "c1")
    assert isinstance(settle, Settle)
    assert (settle.job_id, settle.failure.kind) == ("c", FailureKind.CANCELLED)
    assert directory.jobs["a"].causes == ("controller",)
    assert directory.jobs["b"].attempt == 1


def test_a_late_word_of_an_earlier_controller_process_changes_nothing(directory: Directory) -> None:
    directory.controller_up("c0", "y", [], now=1.0)
    run(directory, request("a"))
    assert directory.controller_down("c0", "x", now=2.0) == Decision()
    assert run(directory, request("b")) == [Launch("b", 1, "c0")]


def test_a_new_process_in_a_slot_means_that_the_one_before_is_gone(directory: Directory) -> None:
    run(directory, request("a"))
    directory.controller_up("c0", "y", [], now=2.0)
    [change] = directory.dispatch(now=3.0).changes
    assert change.event == Started("a", 3.0, 2, "c0", "y", "controller")


def test_a_start_that_is_over_is_no_longer_wanted(directory: Directory) -> None:
    launches = run(directory, request("a"), request("b"))
    assert all(directory.wants(launch) for launch in launches)
    directory.controller_up("c0", "y", [], now=2.0)
    assert not any(directory.wants(launch) for launch in launches), "its slot is another process now"
    again = directory.dispatch(now=3.0).actions
    assert [directory.wants(launch) for launch in (*launches, *again)] == [False, False, True, True]
    directory.cancel(["a"], client="c", now=4.0)
    directory.controller_down("c0", "y", now=4.0)
    directory.controller_up("c0", "z", [], now=4.0)
    settle, launch = directory.dispatch(now=5.0).actions
    assert directory.wants(settle)
    assert directory.wants(launch)
    directory.settled("a", FAILED, now=6.0)
    assert not directory.wants(settle)


def test_a_controller_that_comes_back_is_told_what_it_may_have_missed(directory: Directory) -> None:
    run(directory, *(request(name) for name in ("run", "stop", "new", "never")))
    directory.cancel(["stop", "never"], client="c", now=2.0)
    decision = directory.controller_up("c0", "x", [("run", 1), ("stop", 1)], now=3.0)
    assert decision.actions == (Cancel("stop", 1, "c0"), Launch("new", 1, "c0"))
    assert [change.event.job_id for change in decision.changes] == ["never"]
    assert settlements(directory) == {"never": FailureKind.CANCELLED}


def test_what_a_controller_holds_of_an_ended_job_is_stopped_and_of_an_earlier_start_left_alone(
    directory: Directory,
) -> None:
    run(directory, request("a"), request("b"))
    directory.controller_down("c0", "x", now=2.0)
    directory.controller_up("c1", "y", [], now=2.0)
    directory.dispatch(now=2.0)
    directory.attempt_ended("a", 2, AttemptEnd(outcome=COMPLETED), now=3.0)
    decision = directory.controller_up("c0", "x", [("a", 1), ("b", 1), ("unknown", 1)], now=4.0)
    assert decision == Decision((), (Cancel("a", 1, "c0"),))


# Registries and clusters.


def test_a_registry_on_the_same_cluster_waits_for_what_the_controllers_say(directory: Directory) -> None:
    directory.controller_up("c1", "y", [], now=1.0)
    run(directory, *(request(name) for name in "abcd"))
    later = successor(directory, same_cluster=True)
    assert later.unfinished == 4
    assert later.awaited == {("c0", "x"), ("c1", "y")}
    later.controller_up("c0", "x", [("a", 1), ("c", 1)], now=6.0)
    assert later.dispatch(now=6.0).actions == ()
    assert later.awaited == {("c1", "y")}
    later.controller_down("c1", "y", now=7.0)
    assert later.dispatch(now=7.0).actions == (Launch("b", 2, "c0"), Launch("d", 2, "c0"))
    assert later.awaited == set()


def test_what_is_out_takes_its_place_in_the_window_also_under_the_next_registry(directory: Directory) -> None:
    run(directory, *(request() for _ in range(100)))
    later = successor(directory, same_cluster=True)
    later.controller_up("c1", "y", [], now=6.0)
    assert later.dispatch(now=6.0).actions == ()
    assert sum(later.waiting().values()) == 36


def test_jobs_of_a_lost_cluster_are_lost_at_once_or_settled_if_they_may_have_run(directory: Directory) -> None:
    run(directory, request("out"), request("retry"), request("stop"), request("bad"))
    directory.cancel(["stop"], client="c", now=2.0)
    directory.attempt_ended("retry", 1, crash(), now=2.0)
    directory.attempt_ended(
        "bad", 1, AttemptEnd(failure=FAILURE.model_copy(update={"kind": FailureKind.USER_CODE})), now=2.0
    )
    directory.submit([request("new")], now=3.0)
    later = successor(directory, same_cluster=False)
    outcome = later.jobs["new"].parsed_outcome()
    assert outcome is not None
    assert outcome.failure is not None
    assert (outcome.status, outcome.failure.kind) == (JobStatus.FAILED, FailureKind.LOST)
    assert "its cluster went away before it was started" in outcome.failure.message
    assert 'on_cluster_loss="resubmit"' in outcome.failure.message
    later.controller_up("c0", "z", [], now=6.0)
    assert settlements(later) == {
        "bad": FailureKind.USER_CODE,
        "out": FailureKind.LOST,
        "retry": FailureKind.LOST,
        "stop": FailureKind.CANCELLED,
    }
    assert later.waiting() == {}


def test_jobs_that_are_to_be_resubmitted_outlive_their_cluster(directory: Directory) -> None:
    run(directory, request("out", policy=RESUBMIT), request("retry", policy=RESUBMIT), request("stop", policy=RESUBMIT))
    directory.attempt_ended("retry", 1, crash(), now=2.0)
    directory.cancel(["stop"], client="c", now=2.0)
    directory.submit([request("new", policy=RESUBMIT)], now=3.0)
    later = successor(successor(directory, same_cluster=False), same_cluster=False)
    later.controller_up("c0", "z", [], now=6.0)
    started = later.dispatch(now=6.0)
    assert started.actions[1:] == (Launch("out", 2, "c0"), Launch("retry", 2, "c0"), Launch("new", 1, "c0"))
    assert isinstance(started.actions[0], Settle)
    assert started.actions[0].job_id == "stop"
    assert [later.jobs[name].causes for name in ("out", "retry", "new")] == [("cluster",), ("lost",), ()]


@pytest.mark.parametrize("same_cluster", [True, False])
def test_what_was_not_stored_is_lost_with_its_registry_unless_a_controller_has_it(
    directory: Directory, same_cluster: bool
) -> None:
    more = {"policy": RESUBMIT, "stored": False}
    run(directory, *(request(name, **more) for name in ("held", "missed", "retry")))
    directory.attempt_ended("retry", 1, crash(), now=2.0)
    directory.submit([request("new", **more)], now=2.0)
    later = successor(directory, same_cluster=same_cluster)
    later.controller_up("c0", "x", [("held", 1)], now=6.0)
    outcome = later.jobs["new"].parsed_outcome()
    assert outcome is not None
    assert outcome.failure is not None
    assert "store_submissions=False" in outcome.failure.message
    lost = {"missed": FailureKind.LOST, "retry": FailureKind.LOST}
    assert settlements(later) == (lost if same_cluster else {"held": FailureKind.LOST, **lost})


def test_what_was_not_stored_is_not_started_again_by_another_registry_and_says_why(directory: Directory) -> None:
    run(directory, request("a", stored=False), request("b", stored=False))
    later = successor(directory, same_cluster=True)
    later.controller_up("c0", "x", [("a", 1), ("b", 1)], now=6.0)
    later.attempt_ended("a", 1, crash(), now=6.0)
    later.controller_down("c0", "x", now=6.0)
    later.controller_up("c0", "z", [], now=6.0)
    a, b = later.dispatch(now=6.0).actions
    assert isinstance(a, Settle)
    assert isinstance(b, Settle)
    assert a.failure.message.startswith("its worker was lost\nIt was not started again, because")
    assert b.failure.message.startswith("its controller went away, and its worker with it; it cannot be started again")


def test_what_was_not_stored_is_started_again_by_the_registry_that_has_it_at_hand(directory: Directory) -> None:
    run(directory, request("a", stored=False))
    directory.attempt_ended("a", 1, crash(), now=2.0)
    assert directory.dispatch(now=2.0).actions == (Launch("a", 2, "c0"),)
    again = Directory()
    again.restore(directory.jobs.values())
    again.reign(same_cluster=True, now=3.0, in_memory=["a"])
    again.controller_up("c0", "x", [], now=3.0)
    again.attempt_ended("a", 2, crash(), now=4.0)
    assert again.dispatch(now=4.0).actions == (Launch("a", 3, "c0"),)

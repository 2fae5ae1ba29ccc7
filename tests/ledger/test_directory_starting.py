"""Whose turn it is, and where a job goes."""

from __future__ import annotations

from collections import Counter

import pytest
from directory_steps import COMPLETED, FAILURE, crash, request, run

from checkmaite_ledger.directory import AttemptEnd, Cause, Directory, Launch, Limits
from checkmaite_ledger.events import Policy, Started


@pytest.fixture
def directory() -> Directory:
    directory = Directory(Limits(window=2))
    directory.controller_up("c0", "x", [], now=1.0)
    return directory


def test_a_job_is_handed_out_with_an_event_that_names_the_controller_process(directory: Directory) -> None:
    directory.submit([request("a")], now=1.0)
    decision = directory.dispatch(now=2.0)
    assert [change.event for change in decision.changes] == [Started("a", 2.0, 1, "c0", "x")]
    assert decision.actions == (Launch("a", 1, "c0"),)
    assert directory.dispatch(now=3.0).actions == ()


def test_without_a_controller_jobs_wait() -> None:
    directory = Directory()
    assert run(directory, request(shape="s")) == []
    assert directory.waiting() == {"s": 1}


def test_jobs_of_one_shape_go_out_in_the_order_in_which_they_came(directory: Directory) -> None:
    out = run(directory, *(request(name) for name in "abcd"))
    assert [launch.job_id for launch in out] == ["a", "b"]
    directory.attempt_ended("b", 1, AttemptEnd(outcome=COMPLETED), now=3.0)
    assert directory.dispatch(now=3.0).actions == (Launch("c", 1, "c0"),)
    assert directory.waiting() == {"1 CPU": 1}


def test_shapes_take_turns_so_that_a_long_queue_holds_up_no_other(directory: Directory) -> None:
    long = [request(f"l{n}", shape="long") for n in range(9)]
    out = run(directory, *long, request("s0", shape="short"), request("s1", shape="short"))
    assert [launch.job_id for launch in out] == ["l0", "s0", "l1", "s1"]


def test_a_full_window_of_one_shape_leaves_another_alone(directory: Directory) -> None:
    run(directory, *(request(shape="long") for _ in range(5)))
    assert [launch.job_id for launch in run(directory, request("s", shape="short"))] == ["s"]


def test_jobs_are_spread_over_the_controllers_that_are_up() -> None:
    directory = Directory()
    directory.controller_up("c0", "x", [], now=1.0)
    directory.controller_up("c1", "y", [], now=1.0)
    out = run(directory, *(request(str(n)) for n in range(10)))
    assert Counter(launch.slot for launch in out) == {"c0": 5, "c1": 5}
    directory.controller_down("c1", "y", now=2.0)
    assert {launch.slot for launch in run(directory, request())} == {"c0"}


def test_the_controller_with_less_to_do_is_given_the_next_job() -> None:
    directory = Directory()
    directory.controller_up("c0", "x", [], now=1.0)
    run(directory, request("a"), request("b"))
    directory.controller_up("c1", "y", [], now=1.0)
    assert [launch.slot for launch in run(directory, request(), request())] == ["c1", "c1"]


def test_few_jobs_are_kept_together_and_many_are_spread() -> None:
    directory = Directory(Limits(spread_after=3))
    directory.controller_up("c0", "x", [], now=1.0)
    directory.controller_up("c1", "y", [], now=1.0)
    out = run(directory, *(request(str(n)) for n in range(10)))
    assert [launch.slot for launch in out] == [*["c0"] * 3, *["c1"] * 3, *["c0"] * 3, "c1"]


def test_a_job_that_is_started_again_goes_ahead_of_those_that_never_were(directory: Directory) -> None:
    run(directory, *(request(name) for name in "abcd"))
    directory.attempt_ended("b", 1, crash(), now=3.0)
    directory.attempt_ended("a", 1, crash(), now=4.0)
    assert [action.job_id for action in directory.dispatch(now=5.0).actions] == ["a", "b"]
    assert directory.waiting() == {"1 CPU": 2}


def test_the_next_start_says_why_it_is_made(directory: Directory) -> None:
    run(directory, request("a"))
    directory.attempt_ended("a", 1, crash(Cause.OUT_OF_MEMORY), now=3.0)
    [change] = directory.dispatch(now=4.0).changes
    assert change.event == Started("a", 4.0, 2, "c0", "x", "out_of_memory")
    assert change.record.causes == ("out_of_memory",)


def test_a_window_is_free_again_when_a_start_is_over(directory: Directory) -> None:
    run(directory, *(request(name) for name in "abcd"))
    directory.attempt_ended("a", 1, AttemptEnd(failure=FAILURE), now=3.0)
    launched = [action for action in directory.dispatch(now=4.0).actions if isinstance(action, Launch)]
    assert [launch.job_id for launch in launched] == ["c"], "the settlement of a job takes no place in the window"


def test_a_queue_goes_on_after_many_of_it_were_cancelled(directory: Directory) -> None:
    directory.submit([request(str(n)) for n in range(100)], now=1.0)
    directory.cancel([str(n) for n in range(99)], client="c", now=1.0)
    assert directory.waiting() == {"1 CPU": 1}
    assert directory.dispatch(now=2.0).actions == (Launch("99", 1, "c0"),)
    assert directory.dispatch(now=2.0).actions == ()


def test_jobs_that_are_alike_share_what_they_have_in_common() -> None:
    directory = Directory()
    for _ in range(2):
        # Made anew, as they are when they come over the wire.
        more = {"shape": "".join(["1", " CPU"]), "client": "@".join("ab"), "store_uri": "/".join("ab")}
        directory.submit([request(demand={"CPU": 1.0}, policy=Policy(max_retries=7), **more)], now=1.0)
    one, other = directory.jobs.values()
    shared = ("shape", "client", "store_uri", "demand", "policy", "capability_id")
    assert all(getattr(one, name) is getattr(other, name) for name in shared)

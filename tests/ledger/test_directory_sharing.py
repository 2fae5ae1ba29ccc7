"""Which job a submission is given."""

from __future__ import annotations

import pytest
from directory_steps import CANCELLED, COMPLETED, FAILED, FAILURE, events_of, replayed, request, run

from checkmaite_core.job import JobOrigin
from checkmaite_core.outcome import Outcome
from checkmaite_ledger.directory import Answer, AttemptEnd, Directory, Limits, Request
from checkmaite_ledger.events import Accepted, Adopted, Event

STARTED, ADOPTED, REUSED = JobOrigin


@pytest.fixture
def directory() -> Directory:
    directory = Directory(Limits(queued=3))
    directory.controller_up("c0", "x", [], now=1.0)
    return directory


def submit(directory: Directory, *requests: Request) -> tuple[list[Event], list[tuple[str | None, JobOrigin]]]:
    decision, answers = directory.submit(requests, now=2.0)
    return events_of(decision), [(answer.record and answer.record.job_id, answer.origin) for answer in answers]


def end(directory: Directory, job_id: str, outcome: str) -> None:
    directory.attempt_ended(job_id, directory.jobs[job_id].attempt, AttemptEnd(outcome=outcome), now=3.0)


def test_work_without_a_key_is_never_shared(directory: Directory) -> None:
    assert submit(directory, request("a"), request("b"))[1] == [("a", STARTED), ("b", STARTED)]


def test_equal_work_that_is_under_way_is_adopted(directory: Directory) -> None:
    events, answers = submit(directory, request("a", "k"), request("b", "k"))
    assert answers == [("a", STARTED), ("a", ADOPTED)]
    assert isinstance(events[0], Accepted)
    assert events[1] == Adopted("a", 2.0, "ada@host", "b"), "the answer must rest on an append since the request"
    assert directory.jobs["a"].adopted == 1
    assert "b" not in directory.jobs


def test_equal_work_that_completed_is_reused(directory: Directory) -> None:
    run(directory, request("a", "k"))
    end(directory, "a", COMPLETED)
    events, answers = submit(directory, request("b", "k"))
    assert answers == [("a", REUSED)]
    assert events == [Adopted("a", 2.0, "ada@host", "b")]


def test_work_that_used_what_its_key_does_not_cover_is_not_given_to_anyone(directory: Directory) -> None:
    why = 'it read "labels".json, which its run key does not cover'
    outcome = Outcome.model_validate_json(COMPLETED)
    run(directory, request("a", "k"))
    assert submit(directory, request("b", "k"))[1] == [("a", ADOPTED)]
    end(directory, "a", outcome.model_copy(update={"key_uncertain": why}).model_dump_json())
    assert submit(directory, request("c", "k"))[1] == [("c", STARTED)]
    assert why.removeprefix("it ") in (directory.jobs["c"].reason or "")


def test_what_was_accepted_before_an_uncertain_job_of_the_same_key_is_not_given_either(directory: Directory) -> None:
    uncertain = Outcome.model_validate_json(COMPLETED).model_copy(update={"key_uncertain": "it read labels.json"})
    run(directory, request("a", "k"))
    end(directory, "a", COMPLETED)
    run(directory, request("b", "k", force=True))
    end(directory, "b", uncertain.model_dump_json())
    assert submit(directory, request("c", "k"))[1] == [("c", STARTED)]
    run(directory, request("d", "k", force=True))
    end(directory, "d", COMPLETED)
    assert submit(directory, request("e", "k"))[1] == [("d", REUSED)]


def test_a_text_that_looks_like_an_uncertain_key_is_none(directory: Directory) -> None:
    outcome = Outcome.model_validate_json(COMPLETED).model_copy(update={"read": ('","key_uncertain":"x",',)})
    run(directory, request("a", "k"))
    end(directory, "a", outcome.model_dump_json())
    assert submit(directory, request("b", "k"))[1] == [("a", REUSED)]


@pytest.mark.parametrize("outcome", [FAILED, CANCELLED])
def test_work_that_failed_or_was_cancelled_is_not_given_to_anyone(directory: Directory, outcome: str) -> None:
    run(directory, request("a", "k"))
    end(directory, "a", outcome)
    assert submit(directory, request("b", "k"))[1] == [("b", STARTED)]


def test_work_that_is_to_be_stopped_is_not_given_to_anyone(directory: Directory) -> None:
    run(directory, request("a", "k"))
    directory.cancel(["a"], client="c", now=2.5)
    assert submit(directory, request("b", "k"))[1] == [("b", STARTED)]


def test_work_that_completed_although_it_was_to_be_stopped_is_reused(directory: Directory) -> None:
    run(directory, request("a", "k"))
    directory.cancel(["a"], client="c", now=2.5)
    end(directory, "a", COMPLETED)
    assert submit(directory, request("b", "k"))[1] == [("a", REUSED)]


def test_work_that_completed_although_it_was_to_be_stopped_does_not_take_the_place_of_later_work(
    directory: Directory,
) -> None:
    run(directory, request("a", "k"))
    directory.cancel(["a"], client="c", now=2.5)
    submit(directory, request("b", "k"))
    end(directory, "a", COMPLETED)
    assert submit(directory, request("c", "k"))[1] == [("b", ADOPTED)]


def test_force_starts_anew_and_is_what_others_are_given_then(directory: Directory) -> None:
    answers = submit(directory, request("a", "k"), request("b", "k", force=True), request("c", "k"))[1]
    assert answers == [("a", STARTED), ("b", STARTED), ("b", ADOPTED)]


def test_when_forced_work_fails_the_work_before_it_is_given_again(directory: Directory) -> None:
    run(directory, request("a", "k"), request("b", "k", force=True))
    end(directory, "a", COMPLETED)
    end(directory, "b", FAILED)
    assert submit(directory, request("c", "k"))[1] == [("a", REUSED)]


def test_a_submission_that_comes_twice_is_one(directory: Directory) -> None:
    submit(directory, request("a", "k"))
    assert submit(directory, request("a", "k")) == ([], [("a", STARTED)])
    run(directory)
    end(directory, "a", FAILED)
    assert submit(directory, request("a", "k", force=True)) == ([], [("a", STARTED)])


def test_a_submission_that_comes_twice_is_given_the_same_job_also_if_it_was_given_one_of_another(
    directory: Directory,
) -> None:
    events, _ = submit(directory, request("a", "k"), request("b", "k"))
    run(directory)
    end(directory, "a", FAILED)
    assert submit(directory, request("b", "k")) == ([], [("a", ADOPTED)]), "nobody waits for a job of its own"
    later = Directory()
    for event in events:
        later.apply(event)
    assert submit(later, request("b", "k")) == ([], [("a", ADOPTED)])


def test_too_much_is_refused_one_by_one_with_a_time_to_come_back(directory: Directory) -> None:
    _, answers = directory.submit([request(run_key=str(n)) for n in range(4)], now=1.0)
    assert [answer.record is not None for answer in answers] == [True, True, True, False]
    assert answers[-1] == Answer(None, STARTED, retry_after=1.0)
    assert len(directory.jobs) == directory.unfinished == 3


def test_what_starts_nothing_is_never_refused(directory: Directory) -> None:
    run(directory, *(request(name, name) for name in "abc"))
    events, answers = submit(directory, request("d", "a"), request("e", "e"), request("b", "b"))
    assert answers == [("a", ADOPTED), (None, STARTED), ("b", STARTED)]
    assert len(events) == 1
    end(directory, "a", COMPLETED)
    assert submit(directory, request("e", "e"))[1] == [("e", STARTED)], "there is room again"


def test_a_job_that_is_being_settled_still_counts(directory: Directory) -> None:
    run(directory, *(request(name) for name in "abc"))
    directory.attempt_ended("a", 1, AttemptEnd(failure=FAILURE), now=2.0)
    assert submit(directory, request("d"))[1] == [(None, STARTED)]


def test_a_snapshot_gives_keys_to_the_same_jobs_as_the_events(directory: Directory) -> None:
    run(directory, request("a", "k"), request("b", "k", force=True), request("c", "l"))
    end(directory, "a", COMPLETED)
    end(directory, "b", FAILED)
    directory.cancel(["c"], client="c", now=2.5)
    restored = Directory()
    restored.restore(directory.jobs.values())
    wanted = [("a", REUSED), ("e", STARTED)]
    assert submit(restored, request("d", "k"), request("e", "l"))[1] == wanted
    assert submit(directory, request("d", "k"), request("e", "l"))[1] == wanted


def test_events_give_back_the_records_they_led_to(directory: Directory) -> None:
    first, _ = directory.submit([request("a", "k"), request("b", "k")], now=2.0)
    second = directory.dispatch(now=3.0)
    third = directory.began("a", 1, at=3.5, place="node 1")
    fourth = directory.attempt_ended("a", 1, AttemptEnd(failure=FAILURE), now=4.0)
    fifth = directory.settled("a", COMPLETED, now=5.0)
    assert replayed(events_of(first, second, third, fourth, fifth)) == dict(directory.jobs)


def test_an_event_of_a_job_that_was_never_accepted_is_refused() -> None:
    with pytest.raises(ValueError, match="job a, which was never accepted"):
        Directory().apply(Adopted("a", 1.0, "c", "r"))


def test_work_that_waits_to_be_settled_is_not_given_to_anyone(directory: Directory) -> None:
    run(directory, request("a", run_key="k"))
    directory.attempt_ended("a", 1, AttemptEnd(failure=FAILURE), now=2.0)
    assert submit(directory, request("b", run_key="k"))[1] == [("b", JobOrigin.STARTED)]


def test_work_that_turns_out_to_have_committed_before_it_was_lost_is_reused(directory: Directory) -> None:
    run(directory, request("a", run_key="k"))
    directory.attempt_ended("a", 1, AttemptEnd(failure=FAILURE), now=2.0)
    directory.settled("a", COMPLETED, now=3.0)
    assert submit(directory, request("b", run_key="k"))[1] == [("a", JobOrigin.REUSED)]


def test_after_the_loss_of_a_cluster_equal_work_is_not_given_what_was_lost_with_it(directory: Directory) -> None:
    run(directory, request("a", run_key="k"))
    successor = Directory()
    successor.restore(directory.jobs.values())
    successor.reign(same_cluster=False, now=2.0)
    assert submit(successor, request("b", run_key="k"))[1] == [("b", JobOrigin.STARTED)]


def test_a_job_of_its_own_says_why_it_was_started(directory: Directory) -> None:
    run(directory, request("a", run_key="k"))
    end(directory, "a", FAILED)
    _, answers = directory.submit(
        [
            request("b", run_key="k"),
            request("c", run_key="k", force=True, reason="force=True"),
            request("e", reason="the class of the model uses a lock"),
        ],
        now=1.0,
    )
    reasons = [answer.record and answer.record.reason for answer in answers]
    assert reasons == [
        "the equal job a failed",
        "force=True",
        "the class of the model uses a lock",
    ]


def test_completed_work_is_not_given_to_those_who_do_not_want_it_but_running_work_is(
    directory: Directory,
) -> None:
    run(directory, request("a", run_key="k"))
    assert submit(directory, request("b", run_key="k", reuse=False))[1] == [("a", JobOrigin.ADOPTED)]
    end(directory, "a", COMPLETED)
    _, answers = directory.submit([request("c", run_key="k", reuse=False)], now=1.0)
    assert [(answer.record and answer.record.reason, answer.origin) for answer in answers] == [
        ("reuse=False", JobOrigin.STARTED)
    ]


def test_a_job_whose_key_does_not_cover_what_it_used_is_named_with_what_that_is(directory: Directory) -> None:
    uncertain = Outcome.model_validate_json(COMPLETED).model_copy(
        update={"key_uncertain": "it read data/labels.json, which its run key does not cover"}
    )
    run(directory, request("a", run_key="k"))
    end(directory, "a", uncertain.model_dump_json())
    _, (answer,) = directory.submit([request("b", run_key="k")], now=2.0)
    assert answer.record is not None
    assert (answer.origin, answer.record.job_id) == (STARTED, "b")
    assert answer.record.reason == "the equal job a read data/labels.json, which its run key does not cover"

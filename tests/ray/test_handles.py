"""A client's handles, and news that come before, after and between the answers that they are made from. No Ray."""

from __future__ import annotations

import time
from typing import Any

import pytest

from checkmaite_core.failure import FailureKind, FailureRecord
from checkmaite_core.job import JobOrigin, JobStatus
from checkmaite_core.outcome import Outcome
from checkmaite_core.provenance import utc_now
from checkmaite_ray.attention import Attention
from checkmaite_ray.shared_job import Handles


@pytest.fixture
def missed() -> list[str]:
    return []


@pytest.fixture
def handles(missed: list[str]) -> Handles:
    return Handles(
        cancel=lambda job_id: True,
        broken=lambda: None,
        attention=Attention(lambda: None),
        missed=lambda: missed.append("missed"),
        scope="scope",
    )


def answer(job_id: str = "job", status: str = "PENDING") -> dict[str, Any]:
    view = (job_id, status, None, None, "")
    return {"name": "a job", "submitted_at": time.time(), "waits": None, "view": view}


def ended() -> tuple[Any, ...]:
    failure = FailureRecord.from_exception(ValueError("no such class: zebra"), FailureKind.USER_CODE)
    outcome = Outcome(status=JobStatus.FAILED, failure=failure, finished_at=utc_now())
    return ("FAILED", None, time.time(), outcome.model_dump_json())


def test_an_end_that_is_told_before_the_handle_is_made_is_not_lost(handles: Handles) -> None:
    def call() -> dict[str, Any]:
        handles.hear("job", ended())
        return answer()

    with handles.asked(call) as what:
        job = handles.made("job", what, JobOrigin.STARTED)
    assert job.wait(0) is JobStatus.FAILED


def test_a_handle_made_of_the_answer_of_a_registry_that_has_been_followed_is_named_to_the_next(
    handles: Handles, missed: list[str]
) -> None:
    def call() -> dict[str, Any]:
        # The registry answers and dies; the next one is told of the handles there are before this answer is read.
        assert handles.followed() == []
        return answer()

    with handles.asked(call) as what:
        handles.made("job", what, JobOrigin.STARTED)
        assert missed == [], "there is nothing to name before the handle is made"
    assert missed == ["missed"]
    assert [job.job_id for job in handles.unfinished()] == ["job"]


def test_a_handle_that_was_there_when_the_next_registry_was_told_is_not_named_again(
    handles: Handles, missed: list[str]
) -> None:
    with handles.asked(answer) as what:
        handles.made("job", what, JobOrigin.STARTED)
    assert handles.followed() == ["job"]
    with handles.asked(lambda: answer("another")) as what:
        handles.made("another", what, JobOrigin.STARTED)
    assert missed == []


def test_who_waits_pays_attention_until_the_job_ends() -> None:
    attention = Attention(lambda: None)
    handles = Handles(lambda job_id: True, lambda: None, attention, lambda: None, "scope")
    with handles.asked(answer) as what:
        job = handles.made("job", what, JobOrigin.STARTED)
    assert not attention
    assert job.wait(0) is JobStatus.PENDING
    assert not attention, "that wait is over"
    told: list[bool] = []
    job.add_done_callback(lambda job: told.append(bool(attention)))
    assert attention, "somebody wants to be called"
    handles.hear("job", ended())
    assert told == [False]
    job.add_done_callback(lambda job: told.append(bool(attention)))
    assert told == [False, False]

"""Jobs on a local Ray: accepted durably, run, told, found again."""

from __future__ import annotations

import pytest

from checkmaite_core import JobCancelledError, JobFailedError, JobStatus


def test_a_job_runs_and_its_results_are_in_the_store(local, work):
    job = local.submit(work(lambda: 42, "answer"), name="the answer")
    reference = job.result(timeout=60)
    assert job.status is JobStatus.COMPLETED
    assert reference.event_id == job.job_id
    rows = local.store.query("select answer from answers").to_pylist()
    assert {"answer": "42"} in rows


def test_code_that_raises_fails_its_job_and_says_what_it_raised(local, work):
    def fail():
        raise ValueError("no such class")

    with pytest.raises(JobFailedError, match="no such class") as caught:
        local.submit(work(fail, "fails")).result(timeout=60)
    assert "raise ValueError" in caught.value.failure.traceback


def test_a_running_job_can_be_cancelled(local, work, until, tmp_path):
    begun = tmp_path / "begun"

    def wait_for_ever():
        begun.touch()
        while True:
            pass

    job = local.submit(work(wait_for_ever, "endless"))
    until(begun.exists, "the job begins")
    assert job.cancel()
    with pytest.raises(JobCancelledError):
        job.result(timeout=60)
    assert not job.cancel()

"""Cancellation stops user code, whatever it is doing, and leaves nothing of it in the store."""

from __future__ import annotations

import ctypes
import time

import pytest

from checkmaite_core import FailureKind, JobCancelledError, JobStatus, cancelled, configure_job_backend

GRACE = 1.0
"""As the fixture ``local`` has it (seconds)."""


def sleep_for_ever(begun):
    begun.touch()
    time.sleep(1000)


def loop_for_ever(begun):
    begun.touch()
    number = 0
    while True:
        number += 1


def swallow_everything(begun):
    begun.touch()
    while True:
        try:
            time.sleep(0.01)
        except BaseException:  # the point of this code: it cannot be stopped politely
            continue


def hold_the_interpreter(begun):
    begun.touch()
    while not begun.with_name("seen").exists():
        time.sleep(0.01)
    # PyDLL keeps the GIL over the call: no other thread of the process runs until it returns.
    ctypes.PyDLL(None).sleep(1000)


def hold_the_interpreter_at_once(begun):
    begun.touch()
    ctypes.PyDLL(None).sleep(1000)


def rows_of(backend, job):
    return backend.store.query(f"select * from runs where job_id = '{job.job_id}'").num_rows


@pytest.mark.parametrize("stubborn", [sleep_for_ever, loop_for_ever, swallow_everything, hold_the_interpreter])
def test_code_that_never_asks_is_stopped_by_force_after_the_grace_period(local, work, tmp_path, until, stubborn):
    begun = tmp_path / "begun"
    job = local.submit(work(lambda: stubborn(begun), stubborn.__name__))
    until(begun.exists, "the job's begin")
    until(lambda: job.status is JobStatus.RUNNING, "RUNNING is seen")
    begun.with_name("seen").touch()
    asked = time.monotonic()
    assert job.cancel() is True
    assert job.wait(60) is JobStatus.CANCELLED
    assert time.monotonic() - asked >= GRACE * 0.9, "it had its grace period"
    assert job.failure.kind is FailureKind.CANCELLED
    with pytest.raises(JobCancelledError):
        job.result()
    assert rows_of(local, job) == 0


def test_code_that_holds_the_interpreter_before_it_is_seen_to_run_is_stopped_too(local, work, tmp_path, until):
    begun = tmp_path / "begun"
    job = local.submit(work(lambda: hold_the_interpreter_at_once(begun)))
    until(begun.exists, "the job's begin")
    assert job.cancel()
    assert job.wait(60) is JobStatus.CANCELLED
    assert rows_of(local, job) == 0


def test_cooperative_code_sees_the_request_and_stops_by_itself(local, work, tmp_path, until):
    begun, tidied = tmp_path / "begun", tmp_path / "tidied"

    def cooperate():
        begun.touch()
        while not cancelled():
            time.sleep(0.01)
        tidied.touch()

    job = local.submit(work(cooperate))
    until(lambda: job.status is JobStatus.RUNNING, "RUNNING is seen")
    until(begun.exists, "the job's begin")
    assert job.cancel()
    assert job.wait(60) is JobStatus.CANCELLED
    assert tidied.exists(), "it was not stopped by force"
    assert job.failure.attempts == 1
    assert rows_of(local, job) == 0


@pytest.fixture
def patient(local, store):
    """Another backend on the same Ray, whose running jobs would have an hour to stop."""
    with configure_job_backend(
        "ray-simple", analytics_store=store, address="local", num_cpus=2, cancel_grace_seconds=3600.0
    ) as backend:
        yield backend


def test_a_pending_job_is_cancelled_at_once_and_never_begins(local, patient, work, tmp_path, until):
    begun, go_on = tmp_path / "begun", tmp_path / "go"

    def hold():
        while not go_on.exists():
            time.sleep(0.01)

    holder = local.submit(work(hold), resources={"num_cpus": 2})
    until(lambda: holder.status is JobStatus.RUNNING, "the first job runs")
    job = patient.submit(work(begun.touch))
    assert job.cancel()
    assert job.wait(60) is JobStatus.CANCELLED, "there is nothing to be patient with"
    assert holder.status is JobStatus.RUNNING
    go_on.touch()
    assert holder.wait(30) is JobStatus.COMPLETED
    assert not begun.exists()
    assert rows_of(local, job) == 0


def test_a_job_that_finished_first_says_so(local, work):
    job = local.submit(work(lambda: "done"))
    job.result(60)
    assert job.cancel() is False
    assert job.status is JobStatus.COMPLETED


def test_a_job_that_ends_within_the_grace_period_is_completed_and_its_worker_left_alone(local, work, tmp_path, until):
    go_on = tmp_path / "go"

    def hold():
        while not go_on.exists():
            time.sleep(0.01)
        return "made it"

    job = local.submit(work(hold))
    until(lambda: job.status is JobStatus.RUNNING, "the job runs")
    assert job.cancel()
    assert job.cancel() is True, "asking again is fine"
    go_on.touch()
    assert job.wait(30) is JobStatus.COMPLETED
    assert rows_of(local, job) == 1


def test_a_cancelled_job_is_not_started_again(local, work, tmp_path, until):
    starts = tmp_path / "starts"

    def once():
        with starts.open("a") as file:
            file.write("x")
        time.sleep(1000)

    job = local.submit(work(once))
    until(starts.exists, "the job's begin")
    until(lambda: job.status is JobStatus.RUNNING, "RUNNING is seen")
    job.cancel()
    job.wait(60)
    assert starts.read_text() == "x"

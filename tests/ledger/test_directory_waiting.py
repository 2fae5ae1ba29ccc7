"""What keeps a job that has begun from going on: told by its worker, written down, gone when it goes on or ends."""

from __future__ import annotations

from checkmaite_core.job import JobStatus
from checkmaite_ledger.directory import AttemptEnd, Cause, Directory, Request
from checkmaite_ledger.events import Waiting, decode, encode

REASON = "the analytics store at s3://b/p, since 12:03:11 UTC: connection refused"


def running() -> Directory:
    directory = Directory()
    request = Request("job-1", "one", "demo.It", None, "me", 0.0, "s", {"CPU": 1.0}, "memory://", recovers="job-0")
    directory.submit([request], now=1.0)
    directory.controller_up("c0", "x", [], now=1.0)
    directory.dispatch(now=1.0)
    directory.began("job-1", 1, at=1.0, place="here")
    return directory


def test_what_a_job_waits_for_is_in_its_record_until_it_goes_on() -> None:
    directory = running()
    assert directory.jobs["job-1"].recovers == "job-0"
    (change,) = directory.waits("job-1", 1, reason=REASON, now=2.0).changes
    assert decode(encode(change.event)) == Waiting("job-1", 2.0, 1, REASON)
    record = directory.jobs["job-1"]
    assert (record.status, record.waiting_for, record.view().waiting_for) == (JobStatus.RUNNING, REASON, REASON)
    assert not directory.waits("job-1", 1, reason=REASON, now=3.0).changes  # it is known
    assert not directory.waits("job-1", 2, reason="", now=3.0).changes  # of another start
    directory.waits("job-1", 1, reason="", now=4.0)
    assert directory.jobs["job-1"].view().waiting_for is None


def test_the_next_start_of_a_job_waits_for_nothing() -> None:
    directory = running()
    directory.waits("job-1", 1, reason=REASON, now=2.0)
    directory.attempt_ended("job-1", 1, AttemptEnd(cause=Cause.LOST, failure=_lost()), now=3.0)
    directory.dispatch(now=4.0)
    assert (directory.jobs["job-1"].attempt, directory.jobs["job-1"].waiting_for) == (2, "")


def _lost():
    from checkmaite_core.failure import FailureKind, FailureRecord

    return FailureRecord(kind=FailureKind.LOST, error_type="x", message="gone")

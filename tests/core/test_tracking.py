"""The job in this process: its states, its callbacks, its pages."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from checkmaite_core import CapabilityRunRef, FailureKind, FailureRecord, Job, JobStatus, Progress
from checkmaite_core.errors import ConfigurationError, JobFailedError, JobLostError
from checkmaite_core.outcome import Outcome
from checkmaite_core.tracking import TrackedJob, page_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ORDER = [JobStatus.PENDING, JobStatus.RUNNING, JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED]


def _outcome(status: JobStatus, kind: FailureKind | None = None) -> Outcome:
    if status is JobStatus.COMPLETED:
        reference = CapabilityRunRef(
            event_id="e", run_uid="r", capability_id="c", store_uri="memory://", created_at=NOW
        )
        return Outcome(status=status, reference=reference, started_at=NOW, finished_at=NOW)
    kind = kind or (FailureKind.CANCELLED if status is JobStatus.CANCELLED else FailureKind.USER_CODE)
    failure = FailureRecord(kind=kind, error_type="builtins.ValueError", message="no")
    return Outcome(status=status, failure=failure, finished_at=NOW)


def _job(number: int = 0, name: str = "job", created_at: datetime = NOW) -> TrackedJob:
    return TrackedJob(f"job-{number}", name, created_at, lambda job: None)


class TrackedJobMachine(RuleBasedStateMachine):
    """Whatever happens, in whatever order: forward only, the first end wins, every callback is called once."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.job = TrackedJob("job-1", "job", NOW, self._canceller)
        self.first_end: JobStatus | None = None
        self.callbacks: list[list[JobStatus]] = []
        self.seen = [JobStatus.PENDING]

    def _canceller(self, job: TrackedJob) -> None:
        self.asked += 1

    @rule()
    def start(self) -> None:
        self.job.mark_running(NOW)

    @rule(reason=st.sampled_from(["no room", None]))
    def hold_up(self, reason: str | None) -> None:
        self.job.mark_pending(reason)
        if self.job.status is JobStatus.PENDING:
            assert self.job.pending_reason == reason

    @rule(done=st.integers(0, 5))
    def step(self, done: int) -> None:
        before = self.job.progress
        self.job.set_progress(Progress(done, 5))
        assert self.job.progress == (Progress(done, 5) if self.first_end is None else before)

    @rule()
    def cancel(self) -> None:
        assert self.job.cancel() is (self.first_end is None)
        assert self.job.cancel_requested or self.first_end is not None

    @rule(status=st.sampled_from(ORDER[2:]))
    def end(self, status: JobStatus) -> None:
        assert self.job.finish(_outcome(status)) is (self.first_end is None)
        self.first_end = self.first_end or status

    @rule()
    def listen(self) -> None:
        calls: list[JobStatus] = []
        self.callbacks.append(calls)
        self.job.add_done_callback(lambda job: calls.append(job.status))

    @invariant()
    def it_only_moves_forward(self) -> None:
        status = self.job.status
        assert ORDER.index(status) >= ORDER.index(self.seen[-1])
        assert not self.seen[-1].is_terminal or status is self.seen[-1]
        self.seen.append(status)

    @invariant()
    def it_says_one_thing(self) -> None:
        view = self.job.view()
        assert view.status.is_terminal is (self.first_end is not None)
        assert self.job.wait(0) is view.status
        if self.first_end is not None:
            assert view.status is self.first_end
            assert (view.reference is not None) is (self.first_end is JobStatus.COMPLETED)
            assert (view.failure is None) is (self.first_end is JobStatus.COMPLETED)
        if view.status is not JobStatus.PENDING:
            assert view.pending_reason is None
        assert self.asked <= 1

    @invariant()
    def callbacks_are_called_once_and_after_the_end(self) -> None:
        expected = [] if self.first_end is None else [self.first_end]
        assert all(calls == expected for calls in self.callbacks)


TestTrackedJob = TrackedJobMachine.TestCase


def test_of_many_threads_that_end_a_job_one_does_and_all_waiters_wake() -> None:
    for _ in range(50):
        job = _job()
        called: list[Job] = []
        start = threading.Barrier(9)

        def end(number: int, job: TrackedJob = job, start: threading.Barrier = start) -> bool:
            start.wait(10)
            return job.finish(_outcome(ORDER[2 + number % 3]))

        def listen(job: TrackedJob = job, start: threading.Barrier = start, called: list[Job] = called) -> JobStatus:
            start.wait(10)
            job.add_done_callback(called.append)
            return job.wait(10)

        with ThreadPoolExecutor(9) as threads:
            ends = [threads.submit(end, number) for number in range(6)]
            waits = [threads.submit(listen) for _ in range(3)]
            assert sum(each.result(10) for each in ends) == 1
            assert {each.result(10) for each in waits} == {job.status}
        assert called == [job] * 3


def test_a_callback_that_raises_hurts_neither_the_others_nor_the_job(caplog: pytest.LogCaptureFixture) -> None:
    job = _job()
    called: list[Job] = []

    def broken(_: Job) -> None:
        raise ValueError("my callback is broken")

    job.add_done_callback(broken)
    job.add_done_callback(called.append)
    with caplog.at_level(logging.ERROR, "checkmaite_core"):
        assert job.finish(_outcome(JobStatus.COMPLETED))
        job.add_done_callback(broken)
    assert called == [job]
    assert job.status is JobStatus.COMPLETED
    assert [record.exc_info is not None for record in caplog.records] == [True, True]
    assert "job-0" in caplog.text


def test_a_callback_may_look_at_the_job_and_end_up_in_it_again() -> None:
    job = _job()
    seen: list[object] = []
    job.add_done_callback(lambda each: seen.extend([each.wait(), each.cancel(), each.exception()]))
    job.finish(_outcome(JobStatus.COMPLETED))
    assert seen == [JobStatus.COMPLETED, False, None]


def test_an_await_is_woken_from_the_thread_that_ends_the_job() -> None:
    async def wait_for_it() -> CapabilityRunRef:
        job = _job()
        waiter = asyncio.create_task(_awaited(job))
        await asyncio.sleep(0)  # now it waits
        await asyncio.to_thread(job.finish, _outcome(JobStatus.COMPLETED))
        return await asyncio.wait_for(waiter, 5)

    # In debug mode the loop refuses calls from other threads that would not wake it.
    assert asyncio.run(wait_for_it(), debug=True).run_uid == "r"


def test_a_job_that_ends_after_its_loop_was_closed_disturbs_nobody() -> None:
    job = _job()

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_awaited(job), 0)

    asyncio.run(give_up())
    assert job.finish(_outcome(JobStatus.COMPLETED))
    assert asyncio.run(_awaited(job)).run_uid == "r"


async def _awaited(job: Job) -> CapabilityRunRef:
    return await job


@pytest.mark.parametrize("kind", list(FailureKind))
def test_every_kind_of_failure_says_what_happened_and_what_to_do(kind: FailureKind) -> None:
    job = _job()
    job.finish(_outcome(JobStatus.FAILED, kind))
    error = job.exception(0)
    assert isinstance(error, JobFailedError)
    assert isinstance(error, JobLostError) is (kind is FailureKind.LOST)
    assert "job-0" in str(error)
    assert "ValueError: no" in error.message
    assert "builtins." not in error.message
    assert error.hint.endswith(".")


def test_the_remedy_that_an_error_of_ours_brought_is_the_hint_and_stands_once() -> None:
    job = _job()
    failure = FailureRecord(kind=FailureKind.STORE, error_type="SchemaError", message="column x.\n  -> Rename it.")
    job.finish(Outcome(status=JobStatus.FAILED, failure=failure, finished_at=datetime.now(UTC)))
    error = job.exception(0)
    assert error is not None
    assert error.hint == "Rename it."
    assert "Rename" not in error.message


def test_the_repr_shows_how_far_a_running_job_is_and_what_a_waiting_one_waits_for() -> None:
    job = _job()
    job.mark_pending("no room")
    assert repr(job) == "<Job job-0 'job' PENDING (no room)>"
    job.mark_running(NOW)
    job.set_progress(Progress(1, 4))
    assert repr(job) == "<Job job-0 'job' RUNNING 25%>"
    job.finish(_outcome(JobStatus.COMPLETED))
    assert repr(job) == "<Job job-0 'job' COMPLETED>"


@pytest.mark.parametrize(
    ("progress", "fraction"),
    [(Progress(1, 4), 0.25), (Progress(5, 4), 1.0), (Progress(0, 0), 1.0), (Progress(3), None)],
)
def test_a_fraction_is_between_nothing_and_all(progress: Progress, fraction: float | None) -> None:
    assert progress.fraction == fraction


jobs_in_order = st.lists(st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(ORDER), st.integers(0, 3)), max_size=20)


def _all(described: list[tuple[str, JobStatus, int]], start: int = 0) -> list[Job]:
    jobs: list[Job] = []
    for number, (name, status, minutes) in enumerate(described, start=start):
        job = _job(number, name, NOW + timedelta(minutes=minutes))
        if status is JobStatus.RUNNING:
            job.mark_running(NOW)
        elif status.is_terminal:
            job.finish(_outcome(status))
        jobs.append(job)
    return jobs


@given(
    jobs_in_order,
    st.lists(jobs_in_order, max_size=4),
    st.integers(1, 6),
    st.sampled_from([None, *ORDER]),
    st.sampled_from([None, "a", "b"]),
    st.sampled_from([None, 0, 2]),
)
def test_pages_together_are_the_filtered_list_whatever_arrives_between_them(
    described: list[tuple[str, JobStatus, int]],
    arrivals: list[list[tuple[str, JobStatus, int]]],
    limit: int,
    status: JobStatus | None,
    name: str | None,
    minutes: int | None,
) -> None:
    jobs = _all(described)
    since = None if minutes is None else NOW + timedelta(minutes=minutes)
    expected = [
        job.job_id
        for job in reversed(jobs)
        if (status is None or job.status is status)
        and (name is None or job.name == name)
        and (since is None or job.created_at >= since)
    ]
    seen: list[str] = []
    cursor = None
    while True:
        page = page_of(jobs, status=status, name=name, since=since, limit=limit, cursor=cursor)
        assert len(page) <= limit
        assert page.next_cursor is None or len(page) == limit
        seen += [job.job_id for job in page]
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
        jobs = [*jobs, *_all(arrivals.pop() if arrivals else [], start=len(jobs))]
    assert seen == expected


def test_a_page_is_a_sequence_and_prints_its_jobs() -> None:
    page = page_of(_all([("a", JobStatus.PENDING, 0)] * 3), status=None, name=None, since=None, limit=2, cursor=None)
    assert [job.job_id for job in page[:2]] == ["job-2", "job-1"]
    assert page[-1] in page
    assert "cursor='1'" in repr(page)
    assert "job-2" in repr(page)


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", "²", "9" * 5000, " 1", "1\n"])
def test_a_cursor_that_is_not_ours_is_refused(cursor: str) -> None:
    with pytest.raises(ConfigurationError, match="cursor"):
        page_of([], status=None, name=None, since=None, limit=1, cursor=cursor)


@pytest.mark.parametrize("wrong", [{"limit": "10"}, {"limit": None}, {"since": "2026-01-01"}, {"cursor": b"3"}])
def test_a_filter_of_another_type_is_refused_by_name(wrong: dict[str, Any]) -> None:
    filters: dict[str, Any] = {"status": None, "name": None, "since": None, "limit": 1, "cursor": None}
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        page_of([], **filters | wrong)


@pytest.mark.parametrize("status", list(JobStatus))
def test_an_outcome_is_a_whole_end(status: JobStatus) -> None:
    if not status.is_terminal:
        with pytest.raises(ValueError, match="COMPLETED with a reference"):
            Outcome(status=status, finished_at=NOW)
        return
    outcome = _outcome(status)
    assert Outcome.model_validate_json(outcome.model_dump_json()) == outcome
    swapped = _outcome(JobStatus.FAILED if status is JobStatus.COMPLETED else JobStatus.COMPLETED)
    with pytest.raises(ValueError, match="COMPLETED with a reference"):
        Outcome(status=status, reference=swapped.reference, failure=swapped.failure, finished_at=NOW)

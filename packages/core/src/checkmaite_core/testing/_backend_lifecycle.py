"""Standard tests of a backend: from submission to the end of a job, and of the backend."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from checkmaite_core.api import configure_job_backend
from checkmaite_core.backend import JobBackend
from checkmaite_core.errors import ConfigurationError, JobNotFoundError, JobTimeoutError
from checkmaite_core.job import Job, JobStatus
from checkmaite_core.reference import CapabilityRunRef
from checkmaite_core.store import AnalyticsStoreConfig
from checkmaite_core.testing._backend_base import BackendTests, Parked
from checkmaite_core.testing._waiting import DEADLINE, eventually

__all__ = ["LifecycleTests"]


class LifecycleTests(BackendTests, standard=True):
    """From submission to the end."""

    def test_submit_returns_at_once_and_the_status_is_true_to_the_end(
        self, backend: JobBackend, parked: list[Parked], tmp_path: Path
    ) -> None:
        work = self.park(backend, parked, tmp_path, name="parked")
        assert not work.job.status.is_terminal  # it cannot end yet, so submit() has not waited for it
        work.wait_until_started()
        eventually(lambda: work.job.status is self.running, "the status of a job whose code runs")
        assert work.job.name == "parked"
        assert work.job.job_id in repr(work.job)
        assert work.job.failure is None
        assert work.job.wait(timeout=0.05) is self.running
        work.release()
        assert work.job.wait(DEADLINE) is JobStatus.COMPLETED
        assert work.job.failure is None
        assert work.job.exception(timeout=0) is None
        view = work.job.view()
        assert view.started_at is not None
        assert view.finished_at is not None
        assert view.started_at <= view.finished_at
        assert work.starts == 1

    def test_a_queued_job_stays_pending_until_there_is_room(
        self, backend: JobBackend, parked: list[Parked], tmp_path: Path
    ) -> None:
        first = [self.park(backend, parked, tmp_path) for _ in range(self.promises.slots)]
        for each in first:
            each.wait_until_started()
        queued = self.park(backend, parked, tmp_path)
        assert queued.job.wait(timeout=0.2) is JobStatus.PENDING
        assert not queued.started
        first[0].release()
        queued.wait_until_started()
        eventually(lambda: queued.job.status is self.running, "the status of the job that was queued")

    def test_result_is_a_reference_to_rows_that_are_in_the_store(self, backend: JobBackend, label: str) -> None:
        job = self.write(backend, label, value=2.5, rows=3)
        reference = job.result(DEADLINE)
        assert isinstance(reference, CapabilityRunRef)
        assert reference.event_id == job.job_id
        assert reference.dataset_ids == (label,)
        assert reference.tables == {"conformance_rows": 3}
        rows = self.rows(backend, label)
        assert sorted(row["position"] for row in rows if isinstance(row["position"], int)) == [0, 1, 2]
        assert {(row["run_uid"], row["value"]) for row in rows} == {(reference.run_uid, 2.5)}
        assert job.result(0) == reference

    def test_waits_end_at_their_timeout_and_leave_the_job_alone(
        self, backend: JobBackend, parked: list[Parked], tmp_path: Path
    ) -> None:
        work = self.park(backend, parked, tmp_path)
        assert not work.job.wait(timeout=0).is_terminal
        for ask in (work.job.result, work.job.exception):
            with pytest.raises(JobTimeoutError, match=work.job.job_id) as caught:
                ask(timeout=0.05)
            assert isinstance(caught.value, TimeoutError)
            assert caught.value.job_id == work.job.job_id
        work.release()
        assert work.job.result(DEADLINE).event_id == work.job.job_id

    def test_a_job_can_be_awaited_by_many_and_an_abandoned_wait_leaves_it_alone(
        self, backend: JobBackend, parked: list[Parked], tmp_path: Path
    ) -> None:
        work = self.park(backend, parked, tmp_path)

        async def wait_for_it() -> list[CapabilityRunRef]:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(_awaited(work.job), timeout=0.05)
            waiters = [asyncio.create_task(_awaited(work.job)) for _ in range(3)]
            await asyncio.sleep(0)  # the loop is free while they wait
            work.release()
            return [await asyncio.wait_for(waiter, DEADLINE) for waiter in waiters]

        references = asyncio.run(wait_for_it())
        assert {reference.event_id for reference in references} == {work.job.job_id}
        assert asyncio.run(_awaited(work.job)) == references[0]

    def test_a_done_callback_is_called_once_also_when_it_comes_late(
        self, backend: JobBackend, parked: list[Parked], tmp_path: Path
    ) -> None:
        work = self.park(backend, parked, tmp_path)
        called: list[JobStatus] = []
        work.job.add_done_callback(lambda job: called.append(job.status))
        assert called == []
        work.release()
        work.job.wait(DEADLINE)
        eventually(lambda: called == [JobStatus.COMPLETED], "the callback")
        work.job.add_done_callback(lambda job: called.append(job.status))
        eventually(lambda: len(called) == 2, "the late callback")
        assert called == [JobStatus.COMPLETED] * 2

    def test_ctrl_c_ends_the_wait_and_not_the_job(
        self, backend: JobBackend, parked: list[Parked], tmp_path: Path
    ) -> None:
        work = self.park(backend, parked, tmp_path)
        work.wait_until_started()
        about_to_wait = threading.Event()

        def interrupt() -> None:
            about_to_wait.wait(DEADLINE)
            os.kill(os.getpid(), signal.SIGINT)

        # A test run in the background of a shell would otherwise ignore the signal.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        sender = threading.Thread(target=interrupt)
        sender.start()
        try:
            began = time.monotonic()
            with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - the signal may come at any point of the block
                about_to_wait.set()
                work.job.wait(DEADLINE)
        finally:
            sender.join()
            signal.signal(signal.SIGINT, before)
        assert time.monotonic() - began < DEADLINE / 2  # not only when the wait was over anyway
        assert not work.job.status.is_terminal
        work.release()
        assert work.job.wait(DEADLINE) is JobStatus.COMPLETED

    def test_many_jobs_at_once_each_have_their_own_result(self, backend: JobBackend, label: str) -> None:
        jobs = {f"{label}-{number}": self.write(backend, f"{label}-{number}", value=number) for number in range(30)}
        assert len({job.job_id for job in jobs.values()}) == 30
        for number, (own, job) in enumerate(jobs.items()):
            assert job.result(DEADLINE).dataset_ids == (own,)
            assert [row["value"] for row in self.rows(backend, own)] == [number]

    def test_a_backend_that_is_a_context_waits_for_its_jobs_and_then_refuses_work(
        self,
        options: Mapping[str, Any],
        store_config: AnalyticsStoreConfig,
        parked: list[Parked],
        tmp_path: Path,
        label: str,
    ) -> None:
        with self.open(options, store_config) as opened:
            work = self.park(opened, parked, tmp_path)
            work.wait_until_started()
            release = threading.Timer(0.3, work.release)  # most likely once the block is left
            release.start()
        assert work.job.status is JobStatus.COMPLETED
        assert opened.closed
        with pytest.raises(ConfigurationError, match="shut down"):
            self.write(opened, label)
        opened.shutdown()  # again is fine
        assert len(self.rows(opened, work.label)) == 1
        release.join()

    def test_leaving_without_waiting_does_what_was_promised_for_running_jobs(
        self,
        options: Mapping[str, Any],
        store_config: AnalyticsStoreConfig,
        parked: list[Parked],
        tmp_path: Path,
    ) -> None:
        with pytest.raises(RuntimeError, match="cell failed"), self.open(options, store_config) as opened:  # noqa: PT012
            work = self.park(opened, parked, tmp_path)
            work.wait_until_started()
            raise RuntimeError("cell failed")
        assert opened.closed
        if self.promises.jobs_outlive_client:
            with self.open(options, store_config) as other:
                again = other.job(work.job.job_id)
                eventually(lambda: again.status is self.running, "the other client sees the job run")
                work.release()
                assert again.wait(DEADLINE) is JobStatus.COMPLETED
        else:
            status = work.job.wait(DEADLINE)  # a handle never waits for a backend that is gone
            assert status in (JobStatus.FAILED, JobStatus.CANCELLED)
            assert work.job.failure is not None
            assert self.rows(opened, work.label) == []
            assert self.events(opened, work.job) == []

    def test_another_client_finds_the_jobs_if_that_is_promised(
        self,
        backend: JobBackend,
        options: Mapping[str, Any],
        store_config: AnalyticsStoreConfig,
        parked: list[Parked],
        tmp_path: Path,
        label: str,
    ) -> None:
        work = self.park(backend, parked, tmp_path, name=label)
        work.wait_until_started()
        with self.open(options, store_config) as other:
            if not self.promises.has_reattach:
                with pytest.raises(JobNotFoundError, match=work.job.job_id) as caught:
                    other.job(work.job.job_id)
                assert caught.value.job_id == work.job.job_id
                assert list(other.jobs(name=label)) == []
                work.release()
                return
            again = other.job(work.job.job_id)
            assert (again.job_id, again.name, again.created_at) == (work.job.job_id, label, work.job.created_at)
            eventually(lambda: again.status is self.running, "the other client sees the job run")
            assert [job.job_id for job in other.jobs(name=label)] == [work.job.job_id]
            work.release()
            assert again.result(DEADLINE) == work.job.result(DEADLINE)

    def test_equal_work_runs_again_unless_it_is_promised_not_to(self, backend: JobBackend, label: str) -> None:
        first = self.write(backend, label)
        reference = first.result(DEADLINE)
        second = self.write(backend, label)
        again = second.result(DEADLINE)
        assert again.run_uid == reference.run_uid
        events = self.events_of_run(backend, reference.run_uid)
        if self.promises.has_dedupe:
            assert second.job_id == first.job_id
            assert events == [first.job_id]
        else:
            assert second.job_id != first.job_id
            assert events == sorted([first.job_id, second.job_id])
        assert len(self.rows(backend, label)) == 1  # the tables answer with one copy either way

    def test_configuring_with_equal_arguments_gives_the_same_backend(
        self, options: Mapping[str, Any], store_config: AnalyticsStoreConfig
    ) -> None:
        first = configure_job_backend(self.kind, analytics_store=store_config, **options)
        try:
            assert configure_job_backend(self.kind, analytics_store=store_config.model_copy(), **options) is first
        finally:
            first.shutdown()
        second = configure_job_backend(self.kind, analytics_store=store_config, **options)
        second.shutdown()
        assert second is not first


async def _awaited(job: Job) -> CapabilityRunRef:
    return await job

"""Standard tests of a backend: works that are submitted together, and a queue that is full."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from checkmaite_core.api import submit_capabilities
from checkmaite_core.backend import JobBackend
from checkmaite_core.errors import (
    BackpressureError,
    ConfigurationError,
    InvalidCapabilityError,
    JobCancelledError,
    JobFailedError,
    JobTimeoutError,
    PayloadError,
    SubmissionError,
)
from checkmaite_core.job import Job, JobStatus
from checkmaite_core.reference import CapabilityRunRef
from checkmaite_core.store import AnalyticsStoreConfig
from checkmaite_core.testing._backend_base import BackendTests, Parked
from checkmaite_core.testing._waiting import DEADLINE, eventually
from checkmaite_core.testing._workloads import Data, Park, ParkConfig, Raise, RaiseConfig
from checkmaite_core.work import Work

__all__ = ["GroupTests"]


class GroupTests(BackendTests, standard=True):
    """Groups of jobs, and backpressure."""

    def test_works_that_are_submitted_together_each_have_their_job_in_their_order(
        self, backend: JobBackend, label: str
    ) -> None:
        works: list[Work | Mapping[str, Any]] = [self.work(f"{label}-{n}", name=f"{label}-{n}") for n in range(10)]
        works[3] = Work(**works[3])  # type: ignore[arg-type]
        group = submit_capabilities(iter(works), backend=backend)
        assert [job.name for job in group] == [f"{label}-{n}" for n in range(10)]
        assert len({job.job_id for job in group}) == len(group) == 10
        references = group.results(DEADLINE)
        assert [reference.dataset_ids for reference in references] == [(f"{label}-{n}",) for n in range(10)]
        assert [reference.event_id for reference in references] == [job.job_id for job in group]
        assert group.wait(0)
        assert group.counts() == {JobStatus.COMPLETED: 10}
        assert repr(group) == "<JobGroup of 10: 10 COMPLETED>"
        assert {job.job_id for job in group.as_completed(0)} == {job.job_id for job in group}
        assert list(group[2:4]) == [group[2], group[3]]
        assert backend.job(group[0].job_id).result(0) == references[0]
        assert not group.cancel()

    def test_a_group_is_waited_for_without_holding_the_caller_up(
        self, backend: JobBackend, parked: list[Parked], tmp_path: Path, label: str
    ) -> None:
        folder = tmp_path / label
        folder.mkdir()
        waits = {"capability": Park(), "datasets": [Data(label)], "config": ParkConfig(folder=str(folder))}
        group = backend.submit_all([waits, self.work(f"{label}-1"), self.work(f"{label}-2")])
        parked.append(Parked(group[0], folder, label, "busy"))
        ended = group.as_completed(DEADLINE)
        assert {next(ended).job_id, next(ended).job_id} == {group[1].job_id, group[2].job_id}
        assert not group.wait(0.05)
        for wait in (group.results, lambda timeout: list(group.as_completed(timeout))):
            with pytest.raises(JobTimeoutError, match="1 of 3 jobs have not ended") as caught:
                wait(0.05)
            assert caught.value.job_id == group[0].job_id
        assert group.counts() == {group[0].status: 1, JobStatus.COMPLETED: 2}

        async def wait_for_them() -> list[CapabilityRunRef]:
            async def results() -> list[CapabilityRunRef]:
                return await group

            with pytest.raises(TimeoutError):
                await asyncio.wait_for(results(), timeout=0.05)
            waiters = [asyncio.create_task(results()) for _ in range(2)]
            await asyncio.sleep(0)  # the loop is free while they wait
            parked[-1].release()
            first, second = [await asyncio.wait_for(waiter, DEADLINE) for waiter in waiters]
            assert first == second
            return first

        references = asyncio.run(wait_for_them())
        assert [reference.event_id for reference in references] == [job.job_id for job in group]
        assert next(ended).job_id == group[0].job_id

    def test_the_first_bad_end_is_raised_without_waiting_for_the_rest(
        self, backend: JobBackend, parked: list[Parked], tmp_path: Path, label: str
    ) -> None:
        folder = tmp_path / label
        folder.mkdir()
        waits = {"capability": Park(), "datasets": [Data(label)], "config": ParkConfig(folder=str(folder))}
        fails = {"capability": Raise(), "datasets": [Data(f"{label}-1")], "config": RaiseConfig(what="value")}
        group = backend.submit_all([waits, fails, self.work(f"{label}-2")])
        parked.append(Parked(group[0], folder, label, "busy"))
        with pytest.raises(JobFailedError, match="the seventh image is empty") as caught:
            group.results(DEADLINE)
        assert caught.value.job_id == group[1].job_id

        async def wait_for_them() -> None:
            await group

        with pytest.raises(JobFailedError, match="the seventh image is empty"):
            asyncio.run(asyncio.wait_for(wait_for_them(), DEADLINE))
        assert not group[0].status.is_terminal
        parked[-1].release()
        first, second, third = group.results(DEADLINE, return_exceptions=True)
        assert isinstance(first, CapabilityRunRef)
        assert isinstance(second, JobFailedError)
        assert isinstance(third, CapabilityRunRef)

    def test_a_group_is_cancelled_together(self, backend: JobBackend, tmp_path: Path, label: str) -> None:
        folders = [tmp_path / f"{label}-{n}" for n in range(self.promises.slots + 2)]
        for folder in folders:
            folder.mkdir()
        group = backend.submit_all(
            {
                "capability": Park(),
                "datasets": [Data(folder.name)],
                "config": ParkConfig(folder=str(folder), manner="cooperative"),
            }
            for folder in folders
        )
        eventually(lambda: any((folder / "started").exists() for folder in folders), "a job's start")
        assert group.cancel() == len(folders)
        assert group.wait(DEADLINE)
        assert group.counts() == {JobStatus.CANCELLED: len(folders)}
        with pytest.raises(JobCancelledError):
            group.results(0)

    def test_of_works_that_are_submitted_together_all_are_accepted_or_none(
        self, backend: JobBackend, label: str
    ) -> None:
        good = self.work(label, name=label)
        unpicklable = Data(label)
        unpicklable.lock = threading.Lock()  # type: ignore[attr-defined]
        refused: list[tuple[Any, type[SubmissionError], str]] = [
            ({**good, "datasets": []}, InvalidCapabilityError, "takes 1 dataset; given: 0"),
            ({**good, "datasets": [unpicklable]}, PayloadError, r"datasets\[0\]"),
            ({**good, "resources": {"num_cpu": 1}}, SubmissionError, "num_cpu"),
            ({**good, "dataset": []}, SubmissionError, "dataset"),
            ("no work", SubmissionError, "not work"),
        ]
        for bad, kind, words in refused:
            with pytest.raises(kind, match=rf"works\[2\]: .*{words}"):
                backend.submit_all([good, good, bad, good])
        assert list(backend.jobs(name=label)) == []
        assert list(backend.submit_all([])) == []
        with pytest.raises(ConfigurationError, match="queue_timeout"):
            backend.submit_all([good], queue_timeout="soon")  # type: ignore[arg-type]

    def test_equal_works_in_one_group_share_a_job_if_that_is_promised(self, backend: JobBackend, label: str) -> None:
        group = backend.submit_all([self.work(label), self.work(label), self.work(label, value=2.0)])
        first, second, third = group.results(DEADLINE)
        assert first.run_uid == second.run_uid != third.run_uid
        assert (group[0].job_id == group[1].job_id) is self.promises.has_dedupe
        assert group.counts() == {JobStatus.COMPLETED: 3}
        assert len(list(group.as_completed(0))) == 3
        assert len(self.rows(backend, label)) == 2

    def test_a_full_queue_refuses_work_or_has_it_wait_if_that_is_promised(
        self,
        small_queue: Mapping[str, Any],
        backend: JobBackend,
        store_config: AnalyticsStoreConfig,
        parked: list[Parked],
        tmp_path: Path,
        label: str,
    ) -> None:
        if not self.promises.bounds_queue:
            group = backend.submit_all([self.work(f"{label}-{n}") for n in range(3)], queue_timeout=0)
            assert group.wait(DEADLINE)
            return
        with self.open(small_queue, store_config) as opened:
            first = self.park(opened, parked, tmp_path)
            self.park(opened, parked, tmp_path)
            for timeout in (0.0, 0.1):
                began = time.monotonic()
                with pytest.raises(BackpressureError, match="2") as caught:
                    opened.submit(**self.work(label), name=label, queue_timeout=timeout)
                assert caught.value.retry_after > 0
                assert time.monotonic() - began >= timeout
            assert list(opened.jobs(name=label)) == []
            jobs: list[Job] = []
            waiting = threading.Thread(
                target=lambda: jobs.append(opened.submit(**self.work(label), queue_timeout=None))
            )
            waiting.start()
            waiting.join(0.1)
            assert jobs == []
            first.release()
            waiting.join(DEADLINE)
            assert jobs[0].result(DEADLINE).dataset_ids == (label,)
            parked[-1].release()

"""Standard tests of a backend: cancelling, and seeing how far a job is."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from checkmaite_core.backend import JobBackend
from checkmaite_core.errors import JobCancelledError
from checkmaite_core.failure import FailureKind
from checkmaite_core.job import Job, JobStatus, Progress
from checkmaite_core.testing._backend_base import BackendTests, Parked
from checkmaite_core.testing._waiting import DEADLINE, eventually

__all__ = ["CancelTests"]


class CancelTests(BackendTests, standard=True):
    """Cancelling, and progress."""

    def was_cancelled(self, backend: JobBackend, job: Job, label: str) -> None:
        """Assert all that is true of a cancelled job."""
        assert job.wait(DEADLINE) is JobStatus.CANCELLED
        with pytest.raises(JobCancelledError, match=job.job_id) as caught:
            job.result(DEADLINE)
        assert caught.value.job_id == job.job_id
        assert isinstance(job.exception(DEADLINE), JobCancelledError)
        assert job.failure is not None
        assert job.failure.kind is FailureKind.CANCELLED
        assert not job.cancel()  # it has ended
        assert self.rows(backend, label) == []
        assert self.events(backend, job) == []

    def test_code_that_asks_is_told_to_stop(self, backend: JobBackend, parked: list[Parked], tmp_path: Path) -> None:
        work = self.park(backend, parked, tmp_path, manner="cooperative")
        work.wait_until_started()
        assert work.job.cancel()
        self.was_cancelled(backend, work.job, work.label)

    @pytest.mark.parametrize("manner", ["busy", "stubborn"])
    def test_code_that_never_asks_is_stopped_if_that_is_promised(
        self, backend: JobBackend, parked: list[Parked], tmp_path: Path, manner: Literal["busy", "stubborn"]
    ) -> None:
        work = self.park(backend, parked, tmp_path, manner=manner)
        work.wait_until_started()
        assert work.job.cancel()
        if self.promises.stops_running_code:
            self.was_cancelled(backend, work.job, work.label)
            return
        assert work.job.wait(timeout=0.05) is self.running
        work.release()
        assert work.job.wait(DEADLINE) is JobStatus.COMPLETED  # it never knew, and its results are whole
        assert work.job.failure is None
        assert len(self.rows(backend, work.label)) == 1

    def test_a_queued_job_that_is_cancelled_never_starts(
        self, backend: JobBackend, parked: list[Parked], tmp_path: Path, label: str
    ) -> None:
        running = [self.park(backend, parked, tmp_path) for _ in range(self.promises.slots)]
        for each in running:
            each.wait_until_started()
        queued = self.park(backend, parked, tmp_path)
        assert queued.job.cancel()
        self.was_cancelled(backend, queued.job, queued.label)
        for each in running:
            each.release()
            assert each.job.wait(DEADLINE) is JobStatus.COMPLETED
        self.write(backend, label).result(DEADLINE)  # whatever was queued before it has had its turn
        assert not queued.started

    def test_a_job_that_finished_first_says_so(self, backend: JobBackend, label: str) -> None:
        job = self.write(backend, label)
        reference = job.result(DEADLINE)
        assert not job.cancel()
        assert job.status is JobStatus.COMPLETED
        assert job.result(0) == reference
        assert len(self.rows(backend, label)) == 1

    def test_asking_twice_is_asking_once(self, backend: JobBackend, parked: list[Parked], tmp_path: Path) -> None:
        work = self.park(backend, parked, tmp_path, manner="cooperative")
        assert work.job.cancel()
        work.job.cancel()  # True while it ends, False once it has
        self.was_cancelled(backend, work.job, work.label)

    def test_progress_is_seen_while_the_code_runs_if_that_is_promised(
        self, backend: JobBackend, parked: list[Parked], tmp_path: Path
    ) -> None:
        work = self.park(backend, parked, tmp_path, pace=0.5)
        work.wait_until_started()
        if not self.promises.has_live_progress:
            assert work.job.progress is None
            return
        expected = Progress(done=2, total=4, description="parking")
        eventually(lambda: work.job.progress == expected, f"{expected}")
        assert work.job.progress is not None
        assert work.job.progress.fraction == 0.5

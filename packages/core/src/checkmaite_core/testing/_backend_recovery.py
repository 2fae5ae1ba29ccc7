"""Standard tests of a backend: what has been computed outlives a failure of the last step."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from checkmaite_core.backend import JobBackend
from checkmaite_core.capability import Arity, Capability
from checkmaite_core.errors import JobError, JobFailedError, SubmissionError
from checkmaite_core.inputs import Inputs
from checkmaite_core.job import JobStatus
from checkmaite_core.record import Record
from checkmaite_core.run import CapabilityConfig, CapabilityRun
from checkmaite_core.store import AnalyticsStoreConfig
from checkmaite_core.testing._backend_base import BackendTests
from checkmaite_core.testing._waiting import DEADLINE
from checkmaite_core.testing._workloads import Data, Number, Row

__all__ = ["RecoveryTests"]


class NightConfig(CapabilityConfig):
    """Where the test and the job meet.

    Attributes:
        folder: Each run adds a line to ``runs`` there. While ``broken`` is there, ``extract()`` fails.
        value: What is found.
    """

    folder: str
    value: float = 0.75


class NightRun(CapabilityRun[NightConfig, Number]):
    """One row, once it is mended."""

    def extract(self) -> Sequence[Record]:
        if (Path(self.config.folder) / "broken").exists():
            raise ValueError("the label of the seventh image is empty")
        return [Row(run_uid=self.run_uid, label=self.dataset_metadata[0]["id"], position=0, value=self.outputs.value)]

    def collect_md_report(self, threshold: float) -> str:
        return f"threshold {threshold}"


class MendedRun(CapabilityRun[NightConfig, Number]):
    """Another class that takes its place."""

    def extract(self) -> Sequence[Record]:
        return [Row(run_uid=self.run_uid, label=self.dataset_metadata[0]["id"], position=1, value=self.outputs.value)]


class Night(Capability[NightConfig, Number]):
    """Counts how often it is run."""

    config_class = NightConfig
    run_class = NightRun
    takes_datasets = Arity(1, 1)

    def evaluate(self, inputs: Inputs, config: NightConfig) -> Number:
        with (Path(config.folder) / "runs").open("a") as marks:
            marks.write(f"{os.getpid()}\n")
        return Number(value=config.value)


class RecoveryTests(BackendTests, standard=True):
    """Staging and recommitting."""

    @pytest.fixture(scope="class")
    @classmethod
    def staging(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Options under which outputs are staged however short the work was, those of ``options`` left aside."""
        return {**options, "stage_after_s": 0.0}

    @staticmethod
    def runs(folder: Path) -> int:
        """How many times the capability has been run."""
        return len((folder / "runs").read_text().splitlines())

    def test_what_failed_after_the_work_is_recommitted_without_running_it_again(
        self, staging: dict[str, Any], store_config: AnalyticsStoreConfig, label: str, tmp_path: Path
    ) -> None:
        backend = self.open(staging, store_config)
        (tmp_path / "broken").touch()
        job = backend.submit(Night(), datasets=[Data(label)], config=NightConfig(folder=str(tmp_path)), name=label)
        assert job.wait(DEADLINE) is JobStatus.FAILED
        assert job.failure is not None
        assert job.failure.recoverable
        assert job.recovers is None
        with pytest.raises(JobFailedError, match="recommit"):
            job.result(DEADLINE)
        again = job.recommit()  # nothing was mended: it fails alike, and can be recovered still
        assert again.wait(DEADLINE) is JobStatus.FAILED
        assert again.failure is not None
        assert again.failure.recoverable
        assert self.rows(backend, label) == []
        (tmp_path / "broken").unlink()
        mended = backend.job(again.job_id).recommit()
        assert mended.recovers == job.job_id
        reference = mended.result(DEADLINE)
        assert reference.event_id == mended.job_id
        assert backend.store.read_report(reference) == "threshold 0.5"
        assert [row["value"] for row in self.rows(backend, label)] == [0.75]
        (event,) = self.events(backend, mended)
        assert (event["recovers"], event["job_id"], event["backend"]) == (job.job_id, mended.job_id, self.kind)
        assert self.runs(tmp_path) == 1
        assert (job.status, again.status) == (JobStatus.FAILED, JobStatus.FAILED)
        assert self.events(backend, job) == []
        assert not backend.store.has_staged(job.job_id)
        assert backend.job(mended.job_id).recovers == job.job_id
        backend.shutdown()

    def test_a_class_of_today_takes_the_place_of_the_runs_own(
        self, staging: dict[str, Any], store_config: AnalyticsStoreConfig, label: str, tmp_path: Path
    ) -> None:
        backend = self.open(staging, store_config)
        (tmp_path / "broken").touch()
        job = backend.submit(Night(), datasets=[Data(label)], config=NightConfig(folder=str(tmp_path)), name=label)
        assert job.wait(DEADLINE) is JobStatus.FAILED
        with pytest.raises(SubmissionError, match="run_class"):
            job.recommit(run_class="MendedRun")  # type: ignore[arg-type]
        job.recommit(run_class=MendedRun).result(DEADLINE)
        assert [row["position"] for row in self.rows(backend, label)] == [1]
        assert self.runs(tmp_path) == 1
        backend.shutdown()

    def test_another_client_recommits_what_this_one_has_submitted_if_jobs_can_be_reattached(
        self, staging: dict[str, Any], store_config: AnalyticsStoreConfig, label: str, tmp_path: Path
    ) -> None:
        backend = self.open(staging, store_config)
        (tmp_path / "broken").touch()
        job = backend.submit(Night(), datasets=[Data(label)], config=NightConfig(folder=str(tmp_path)), name=label)
        assert job.wait(DEADLINE) is JobStatus.FAILED
        (tmp_path / "broken").unlink()
        other = self.open(staging, store_config)
        found = other.job(job.job_id) if self.promises.has_reattach else job  # where nobody else knows of it
        assert found.recommit().wait(DEADLINE) is JobStatus.COMPLETED
        assert [row["value"] for row in self.rows(other, label)] == [0.75]
        assert self.runs(tmp_path) == 1
        other.shutdown()
        backend.shutdown()

    def test_what_was_short_or_has_completed_cannot_be_recommitted(
        self, backend: JobBackend, staging: dict[str, Any], label: str, tmp_path: Path
    ) -> None:
        done = backend.submit(Night(), datasets=[Data(label)], config=NightConfig(folder=str(tmp_path)))
        done.result(DEADLINE)
        with pytest.raises(JobError, match="nothing"):
            done.recommit()
        (tmp_path / "broken").touch()
        config = NightConfig(folder=str(tmp_path), value=0.5)
        short = backend.submit(Night(), datasets=[Data(label)], config=config)
        assert short.wait(DEADLINE) is JobStatus.FAILED
        assert short.failure is not None
        assert not short.failure.recoverable
        with pytest.raises(JobError, match="nothing"):
            backend.recommit(short.job_id)

    def test_a_config_that_cannot_be_stored_is_refused_before_anything_starts(
        self, backend: JobBackend, label: str
    ) -> None:
        class Odd(CapabilityConfig):
            measure: Any = None

        class Oddly(Capability[Odd, Number]):
            config_class = Odd
            takes_datasets = Arity(1, 1)

            def evaluate(self, inputs: Inputs, config: Odd) -> Number:
                return Number()

        with pytest.raises(SubmissionError, match="measure"):
            backend.submit(Oddly(), datasets=[Data(label)], config=Odd(measure=lambda x: x), name=label)
        assert list(backend.jobs(name=label)) == []

"""Standard tests of a backend: how jobs fail, and what is refused before they start."""

from __future__ import annotations

import os
import threading
import uuid
from pathlib import Path

import pytest

from checkmaite_core.backend import JobBackend
from checkmaite_core.errors import (
    InvalidCapabilityError,
    JobFailedError,
    JobLostError,
    PayloadError,
    ResourceDemandError,
    SubmissionError,
)
from checkmaite_core.failure import FailureKind
from checkmaite_core.inputs import DatasetRef
from checkmaite_core.job import Job, JobStatus
from checkmaite_core.run import CapabilityConfig
from checkmaite_core.testing._backend_base import BackendTests, Parked
from checkmaite_core.testing._foreign import VIOLATIONS, ForeignCapability
from checkmaite_core.testing._reading import rows_of
from checkmaite_core.testing._waiting import DEADLINE
from checkmaite_core.testing._workloads import Clash, ClashConfig, Data, Die, Raise, RaiseConfig, Write, WriteConfig

__all__ = ["OutcomeTests"]


class OutcomeTests(BackendTests, standard=True):
    """Failures and refusals."""

    def left_nothing(self, backend: JobBackend, job: Job, label: str) -> bool:
        """Whether a job has no rows anywhere."""
        return self.rows(backend, label) == [] and self.events(backend, job) == []

    @pytest.mark.parametrize(
        ("what", "kind", "error_type", "message"),
        [
            ("value", FailureKind.USER_CODE, "builtins.ValueError", "the seventh image is empty"),
            ("chained", FailureKind.USER_CODE, "builtins.ValueError", "the consequence"),
            ("exit", FailureKind.USER_CODE, "builtins.SystemExit", "3"),
            ("interrupt", FailureKind.USER_CODE, "builtins.KeyboardInterrupt", ""),
            ("memory", FailureKind.OUT_OF_MEMORY, "builtins.MemoryError", "no room for the embeddings"),
            ("awkward", FailureKind.USER_CODE, "checkmaite_core.testing._workloads.AwkwardError", "RuntimeError"),
            ("group", FailureKind.USER_CODE, "builtins.ExceptionGroup", "two things (2 sub-exceptions)"),
            ("colour", FailureKind.USER_CODE, "builtins.ValueError", "red and ? broken"),
        ],
    )
    def test_what_user_code_raises_becomes_a_typed_record(
        self, backend: JobBackend, label: str, what: str, kind: FailureKind, error_type: str, message: str
    ) -> None:
        config = RaiseConfig.model_validate({"what": what})
        job = backend.submit(Raise(), datasets=[Data(label)], config=config, name="raises")
        assert job.wait(DEADLINE) is JobStatus.FAILED
        failure = job.failure
        assert failure is not None
        assert (failure.kind, failure.error_type) == (kind, error_type)
        assert message in failure.message
        assert "\x1b" not in failure.message + failure.traceback
        assert "in evaluate" in failure.traceback
        assert not failure.retryable
        with pytest.raises(JobFailedError) as caught:
            job.result(DEADLINE)
        assert type(caught.value) is JobFailedError
        assert caught.value.failure == failure
        assert caught.value.job_id == job.job_id
        assert job.job_id in str(caught.value)
        assert isinstance(job.exception(DEADLINE), JobFailedError)
        assert self.left_nothing(backend, job, label)

    @pytest.mark.parametrize("violation", sorted(VIOLATIONS))
    def test_a_run_that_breaks_the_contract_fails_the_job_and_stores_nothing(
        self, backend: JobBackend, label: str, violation: str
    ) -> None:
        job = backend.submit(ForeignCapability(**VIOLATIONS[violation]), datasets=[Data(label)])
        assert job.wait(DEADLINE) is JobStatus.FAILED
        failure = job.failure
        assert failure is not None
        assert (failure.kind, failure.error_type) == (
            FailureKind.USER_CODE,
            "checkmaite_core.errors.RunContractError",
        )
        assert self.events(backend, job) == []

    def test_a_commit_that_the_store_refuses_fails_the_job_with_the_stores_error(
        self, backend: JobBackend, label: str
    ) -> None:
        table = f"clash_{uuid.uuid4().hex}"
        first = backend.submit(Clash(), datasets=[Data(f"{label}-1")], config=ClashConfig(table=table, kind="int"))
        first.result(DEADLINE)
        second = backend.submit(Clash(), datasets=[Data(f"{label}-2")], config=ClashConfig(table=table, kind="text"))
        assert second.wait(DEADLINE) is JobStatus.FAILED
        failure = second.failure
        assert failure is not None
        assert (failure.kind, failure.error_type) == (FailureKind.STORE, "checkmaite_core.errors.SchemaError")
        assert table in failure.message
        assert "disputed" in failure.message
        assert self.left_nothing(backend, second, f"{label}-2")
        assert [row["disputed"] for row in rows_of(backend.store, table)] == [7]

    def test_work_that_cannot_be_pickled_is_refused_and_the_part_is_named(
        self, backend: JobBackend, label: str
    ) -> None:
        data = Data(label)
        data.lock = threading.Lock()  # type: ignore[attr-defined]
        with pytest.raises(PayloadError, match=r"datasets\[0\] \(Data\)"):
            backend.submit(Write(), datasets=[data], name=label)
        assert list(backend.jobs(name=label)) == []

    def test_inputs_that_do_not_fit_are_refused_before_anything_starts(self, backend: JobBackend, label: str) -> None:
        good = [Data(label)]
        with pytest.raises(InvalidCapabilityError, match="takes 1 dataset; given: 2"):
            backend.submit(Write(), datasets=[*good, *good], name=label)
        with pytest.raises(InvalidCapabilityError, match="takes no models; given: 1"):
            backend.submit(Write(), datasets=good, models=good, name=label)
        with pytest.raises(InvalidCapabilityError, match="not a list"):
            backend.submit(Write(), datasets=good[0], name=label)  # type: ignore[arg-type]
        with pytest.raises(InvalidCapabilityError, match="takes a WriteConfig"):
            backend.submit(Write(), datasets=good, config=CapabilityConfig(), name=label)
        with pytest.raises(InvalidCapabilityError, match="is a class"):
            backend.submit(Write, datasets=good, name=label)
        with pytest.raises(InvalidCapabilityError, match="not a capability"):
            backend.submit(object(), datasets=good, name=label)
        with pytest.raises(SubmissionError, match="num_cpu"):
            backend.submit(Write(), datasets=good, resources={"num_cpu": 1}, name=label)
        with pytest.raises(SubmissionError, match="report_threshold"):
            backend.submit(Write(), datasets=good, report_threshold="high", name=label)  # type: ignore[arg-type]
        assert list(backend.jobs(name=label)) == []

    def test_an_input_by_reference_is_loaded_by_the_worker_and_not_by_the_client(
        self, backend: JobBackend, label: str, tmp_path: Path
    ) -> None:
        source = tmp_path / "data.txt"
        source.write_text(f"{label} 42.5")
        reference = DatasetRef(id=label, uri=str(source), loader="checkmaite_core.testing._workloads:load_data")
        backend.submit(Write(), datasets=[reference]).result(DEADLINE)
        assert [row["value"] for row in self.rows(backend, label)] == [42.5]
        loads = source.with_suffix(".loads").read_text().splitlines()
        assert len(loads) == 1
        if self.promises.isolates_jobs:
            assert loads != [str(os.getpid())]

    @pytest.mark.parametrize(
        ("loader", "identity", "words"),
        [
            ("checkmaite_core.testing._workloads:no_such_function", None, "cannot be imported"),
            ("checkmaite_core.testing._workloads:load_data", "another", "has the id"),
        ],
    )
    def test_a_reference_that_cannot_be_loaded_fails_the_job_and_says_which(
        self, backend: JobBackend, label: str, tmp_path: Path, loader: str, identity: str | None, words: str
    ) -> None:
        source = tmp_path / "data.txt"
        source.write_text(f"{identity or label} 1")
        job = backend.submit(Write(), datasets=[DatasetRef(id=label, uri=str(source), loader=loader)])
        assert job.wait(DEADLINE) is JobStatus.FAILED
        assert job.failure is not None
        assert label in job.failure.message
        assert words in job.failure.message
        assert self.left_nothing(backend, job, label)

    def test_a_demand_that_nothing_meets_is_refused_if_that_is_promised(self, backend: JobBackend, label: str) -> None:
        demand = {"custom": {"conformance_unobtainable": 1}}
        if not self.promises.checks_resources:
            backend.submit(Write(), datasets=[Data(label)], resources=demand).result(DEADLINE)
            return
        with pytest.raises(ResourceDemandError, match="conformance_unobtainable"):
            backend.submit(Write(), datasets=[Data(label)], resources=demand, name=label)
        assert list(backend.jobs(name=label)) == []

    def test_a_demand_that_can_be_met_runs(self, backend: JobBackend, label: str) -> None:
        config = WriteConfig.model_validate({"resources": {"num_cpus": 0.5}})
        reference = backend.submit(Write(), datasets=[Data(label)], config=config).result(DEADLINE)
        plain = backend.submit(Write(), datasets=[Data(label)], resources={"memory": 1024}).result(DEADLINE)
        assert plain.run_uid == reference.run_uid  # where something runs is not part of what it is

    def test_a_job_that_ends_its_process_is_lost_alone(
        self, backend: JobBackend, parked: list[Parked], tmp_path: Path, label: str
    ) -> None:
        beside = self.park(backend, parked, tmp_path)
        beside.wait_until_started()
        if not self.promises.isolates_jobs:
            # There is no process of its own that such a job could end, which is why this is not promised.
            assert (beside.folder / "started").read_text().split() == [str(os.getpid())]
            return
        job = backend.submit(Die(), datasets=[Data(label)])
        with pytest.raises(JobLostError) as caught:
            job.result(DEADLINE)
        assert caught.value.failure.kind is FailureKind.LOST
        assert caught.value.failure.retryable
        assert self.left_nothing(backend, job, label)
        beside.release()
        assert beside.job.wait(DEADLINE) is JobStatus.COMPLETED

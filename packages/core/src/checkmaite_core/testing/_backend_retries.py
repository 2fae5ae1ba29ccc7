"""Standard tests of a backend: code that is run again because of what it raised."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from checkmaite_core.backend import JobBackend
from checkmaite_core.failure import FailureKind
from checkmaite_core.job import Job, JobStatus
from checkmaite_core.store import AnalyticsStoreConfig
from checkmaite_core.testing._backend_base import BackendTests
from checkmaite_core.testing._waiting import DEADLINE
from checkmaite_core.testing._workloads import Data, Flaky, FlakyConfig

__all__ = ["RetryTests"]


class RetryTests(BackendTests, standard=True):
    """Exceptions that are worth another start, and those that are not."""

    def flaky(self, backend: JobBackend, folder: Path, label: str, **settings: Any) -> tuple[Job, int]:
        """Run a job that fails some times to its end; returns it and how often its code was started."""
        config = FlakyConfig(folder=str(folder), **settings)
        job = backend.submit(Flaky(), datasets=[Data(label)], config=config)
        job.wait(DEADLINE)
        return job, len((folder / "starts").read_text().splitlines())

    def test_code_that_raises_is_not_run_again_by_itself(self, backend: JobBackend, tmp_path: Path, label: str) -> None:
        job, starts = self.flaky(backend, tmp_path, label, failures=1)
        assert (job.status, starts) == (JobStatus.FAILED, 1)
        assert job.failure is not None
        assert not job.failure.retryable
        assert self.rows(backend, label) == []

    @pytest.mark.parametrize(
        ("settings", "status", "expected"),
        [
            ({"failures": 2}, JobStatus.COMPLETED, 3),
            ({"failures": 3}, JobStatus.FAILED, 3),
            ({"failures": 1, "what": "value"}, JobStatus.FAILED, 1),
        ],
        ids=["in-the-end-it-succeeds", "too-often", "another-exception"],
    )
    def test_code_that_raises_what_was_named_is_run_again_so_often_if_that_is_promised(
        self,
        backend: JobBackend,
        retrying: Mapping[str, Any],
        store_config: AnalyticsStoreConfig,
        tmp_path: Path,
        label: str,
        settings: Mapping[str, Any],
        status: JobStatus,
        expected: int,
    ) -> None:
        if not self.promises.retries_exceptions:
            job, starts = self.flaky(backend, tmp_path, label, **settings)
            assert (job.status, starts) == (JobStatus.FAILED, 1)
            return
        with self.open(retrying, store_config) as opened:
            job, starts = self.flaky(opened, tmp_path, label, **settings)
            assert (job.status, starts) == (status, expected)
            if status is JobStatus.COMPLETED:
                assert [row["value"] for row in self.rows(opened, label)] == [3.0]
                return
            failure = job.failure
            assert failure is not None
            assert failure.kind is FailureKind.USER_CODE
            assert failure.attempts == expected
            assert failure.error_type == ("builtins.ConnectionResetError" if expected > 1 else "builtins.ValueError")
            assert self.rows(opened, label) == []
            assert self.events(opened, job) == []

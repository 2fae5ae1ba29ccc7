"""The standard tests of shared work, tried on the smallest backend that shares any."""

from __future__ import annotations

import pickle
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from checkmaite_core import AnalyticsStoreConfig, Job, JobBackend, JobOrigin, JobStatus
from checkmaite_core.identity import RunKey, run_keys
from checkmaite_core.job import JobView
from checkmaite_core.submission import Submission
from checkmaite_core.testing import BackendPromises, ThreadBackend
from checkmaite_core.testing._backend_groups import GroupTests
from checkmaite_core.testing._backend_sharing import SharingTests

pytestmark = pytest.mark.usefixtures("fakes")


class Shared(Job):
    """Another handle of a job."""

    def __init__(self, job: Job, origin: JobOrigin, reason: str) -> None:
        super().__init__(job.job_id, job.name, job.created_at)
        self.origin, self.origin_reason = origin, reason
        self._job = job

    def view(self) -> JobView:
        return self._job.view()

    def wait(self, timeout: float | None = None) -> JobStatus:
        return self._job.wait(timeout)

    def cancel(self) -> bool:
        return self._job.cancel()

    def add_done_callback(self, callback: Callable[[Job], None]) -> None:
        self._job.add_done_callback(callback)


class SharingBackend(ThreadBackend):
    """Threads, but equal work shares a job."""

    def __init__(self, store: AnalyticsStoreConfig) -> None:
        super().__init__(store)
        self._one_by_one = threading.Lock()
        self._holders: dict[str, Job] = {}

    def _submit_all(self, submissions: Sequence[Submission], *, queue_timeout: float | None) -> list[Job]:
        keys = run_keys(submissions, overlay="")
        for submission in submissions:
            submission.pickle(pickle.dumps)  # all must work before any is started
        with self._one_by_one:
            return [self._share(submission, key) for submission, key in zip(submissions, keys, strict=True)]

    def _share(self, submission: Submission, key: RunKey) -> Job:
        held = None if key.digest is None else self._holders.get(key.digest)
        why = key.uncertain or self._why_not(submission, held)
        if held is None or why:
            (held,) = super()._submit_all([submission], queue_timeout=0)
            held.origin_reason = f"started: {why or 'no equal job'}"
            if key.digest is not None:
                self._holders[key.digest] = held
            return held
        origin = JobOrigin.REUSED if held.status is JobStatus.COMPLETED else JobOrigin.ADOPTED
        return Shared(held, origin, f"{origin}: {key.summary}")

    @staticmethod
    def _why_not(submission: Submission, held: Job | None) -> str:
        if submission.force:
            return "force=True"
        if held is None:
            return ""
        if held.status is JobStatus.COMPLETED and not submission.reuse:
            return "reuse=False"
        became = {JobStatus.FAILED: "failed", JobStatus.CANCELLED: "was cancelled"}.get(held.status)
        return f"the equal job {held.job_id} {became}" if became else ""


class TestSharingThreads(SharingTests, GroupTests):
    kind = "threads"
    promises = BackendPromises(
        has_reattach=False,
        jobs_outlive_client=False,
        has_dedupe=True,
        has_live_status=True,
        has_live_progress=True,
        stops_running_code=False,
        isolates_jobs=False,
        checks_resources=False,
        slots=4,
    )

    @classmethod
    def open(cls, options: Mapping[str, Any], store_config: AnalyticsStoreConfig) -> JobBackend:
        return SharingBackend(store_config)

    @pytest.fixture(scope="class")
    @classmethod
    def store_config(cls, fakes: Iterator[None]) -> AnalyticsStoreConfig:
        return AnalyticsStoreConfig(backend="memory", uri=f"memory://{uuid.uuid4()}")

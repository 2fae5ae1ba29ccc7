"""A worker that Ray's memory monitor kills is told from one that was lost, and started again only so often."""

from __future__ import annotations

import time

import pytest

from checkmaite_core import FailureKind, JobFailedError, JobLostError, configure_job_backend

pytestmark = pytest.mark.soak


def test_a_job_killed_for_memory_is_started_again_oom_retries_times_and_then_failed_as_such(
    store, work, tmp_path, monkeypatch
):
    # The real monitor, made to find that any memory in use is too much: filling the machine would hurt the others.
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.01")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    starts = tmp_path / "starts"
    starts.touch()  # a start may be killed before it gets to write

    def fill():
        with starts.open("a") as file:
            file.write("x")
        time.sleep(1000)

    with configure_job_backend("ray-simple", analytics_store=store, num_cpus=1, max_retries=0) as backend:
        job = backend.submit(work(fill))
        with pytest.raises(JobFailedError, match="ran out of memory") as caught:
            job.result(100)
    assert not isinstance(caught.value, JobLostError)
    assert job.failure.kind is FailureKind.OUT_OF_MEMORY
    assert job.failure.retryable
    assert job.failure.attempts == 2
    assert len(starts.read_text()) <= 2
    assert len(job.failure.message) < 2000

"""Thousands of queued jobs from one driver."""

from __future__ import annotations

import threading
import time

import pytest

from checkmaite_core import JobStatus, configure_job_backend

pytestmark = pytest.mark.soak


def worker_processes():
    import psutil  # Ray brings it along

    return [process for process in psutil.process_iter(["name"]) if process.info["name"].startswith("ray::settle")]


def test_two_thousand_queued_jobs_cost_no_threads_and_all_end(local, work):
    threads = threading.active_count()
    capability = work(lambda: 1)
    jobs = [local.submit(capability) for _ in range(2000)]
    assert threading.active_count() <= threads + 5
    dropped = jobs[-500:]
    assert all(job.cancel() for job in dropped)
    assert {job.wait(300) for job in jobs[:-500]} == {JobStatus.COMPLETED}
    assert {job.wait(300) for job in dropped} == {JobStatus.CANCELLED}
    assert len(worker_processes()) < 12, "a burst of cancellations is settled by few processes"
    rows = local.store.query("select count(*) as jobs from runs where backend = 'ray-simple'")
    assert rows["jobs"].to_pylist() == [1500]


def test_a_thousand_jobs_left_at_shutdown_all_end_lost(local, store, work, capsys):
    backend = configure_job_backend("ray-simple", analytics_store=store, address="local", num_cpus=2)
    hold = work(lambda: time.sleep(1000))
    jobs = [backend.submit(hold, name=f"job {number}") for number in range(1000)]
    begun = time.monotonic()
    backend.shutdown(wait=False)
    assert time.monotonic() - begun < 30
    assert {job.status for job in jobs} == {JobStatus.FAILED}
    assert "and 990 more" in capsys.readouterr().err

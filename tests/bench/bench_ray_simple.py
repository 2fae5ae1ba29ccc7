"""What a ray-simple job costs over a bare Ray task: each figure with its floor, measured in turns in one run."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from no_op import ARGUMENTS, NoOp, bare, bare_and_durable, durable_put, milliseconds

from checkmaite_core import Job, JobBackend, JobStatus, configure_job_backend

pytestmark = pytest.mark.bench

ROUNDS = 200
BURST = 500
BURSTS = 3
TARGET = 5.0
"""Milliseconds that a job may take over a bare task and the store's fsyncs (medians)."""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="cmb-", dir="/tmp"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", str(folder))
        patch.setenv("HOME", str(folder))
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def backend(folder: Path) -> Iterator[JobBackend]:
    ray.cloudpickle.register_pickle_by_value(__import__("no_op"))
    store = {"backend": "parquet", "uri": str(folder / "store")}
    with configure_job_backend("ray-simple", analytics_store=store, address="local") as backend:
        for job in [backend.submit(NoOp()) for _ in range(50)]:  # every worker has its imports and its store open
            assert job.wait(120) is JobStatus.COMPLETED, job.failure
        yield backend


def test_submit_to_result(benchmark: Any, backend: JobBackend, folder: Path) -> None:
    tasks: list[float] = []
    syncs: list[float] = []

    def floors() -> None:
        tasks.append(milliseconds(lambda: ray.get(bare.remote(*ARGUMENTS))))
        syncs.append(milliseconds(lambda: durable_put(folder)))

    benchmark.pedantic(lambda: backend.submit(NoOp()).result(60), setup=floors, rounds=ROUNDS, warmup_rounds=20)
    job = benchmark.stats.stats.median * 1e3
    task, sync = statistics.median(tasks), statistics.median(syncs)
    overhead = job - task - sync
    benchmark.extra_info |= {"bare task ms": task, "fsync ms": sync, "overhead ms": overhead}
    print(f"\n\nray-simple, from submission to result, median of {ROUNDS} (ms)")
    print(f"  {'no-op job':<34}{job:8.2f}")
    print(f"  {'bare Ray task':<34}{task:8.2f}")
    print(f"  {'durable put (2 fsyncs)':<34}{sync:8.2f}")
    print(f"  {f'over both (target: {TARGET:g})':<34}{overhead:8.2f}")


def test_jobs_submitted_at_once(benchmark: Any, backend: JobBackend, folder: Path) -> None:
    tasks: list[float] = []
    durable: list[float] = []

    def floors() -> None:
        tasks.append(milliseconds(lambda: ray.get([bare.remote(*ARGUMENTS) for _ in range(BURST)])))
        put = [bare_and_durable.remote, (*ARGUMENTS, str(folder))]
        durable.append(milliseconds(lambda: ray.get([put[0](*put[1]) for _ in range(BURST)])))

    def burst() -> None:
        jobs: list[Job] = [backend.submit(NoOp()) for _ in range(BURST)]
        assert {job.wait(120) for job in jobs} == {JobStatus.COMPLETED}

    benchmark.pedantic(burst, setup=floors, rounds=BURSTS)
    job = BURST / benchmark.stats.stats.median
    task, put = (BURST / statistics.median(times) * 1e3 for times in (tasks, durable))
    benchmark.extra_info |= {"bare tasks/s": task, "bare durable tasks/s": put, "jobs/s": job}
    print(f"\n\nray-simple, {BURST} at once, median of {BURSTS} (per second)")
    print(f"  {'no-op jobs':<34}{job:8.0f}")
    print(f"  {'bare Ray tasks':<34}{task:8.0f}   ratio {job / task:.2f}")
    print(f"  {'bare tasks with a durable put each':<34}{put:8.0f}   ratio {job / put:.2f}")

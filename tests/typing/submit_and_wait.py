"""What an evaluator writes: configure, submit, wait, ask."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import assert_type

from checkmaite_core import (
    AnalyticsStoreConfig,
    CapabilityLike,
    CapabilityRunRef,
    DatasetRef,
    FailureRecord,
    Job,
    JobBackend,
    JobError,
    JobGroup,
    JobOrigin,
    JobPage,
    JobStatus,
    ModelRef,
    Progress,
    Work,
    configure_job_backend,
    get_job,
    list_jobs,
    shutdown_job_backend,
    submit_capabilities,
    submit_capability,
)


def evaluate(capability: CapabilityLike) -> None:
    backend = configure_job_backend("ray-simple", address="local", analytics_store={"uri": "./results"})
    assert_type(backend, JobBackend)
    with configure_job_backend("ray-simple", analytics_store=AnalyticsStoreConfig(uri="./results")) as other:
        assert_type(other, JobBackend)

    job = submit_capability(
        capability,
        models=[ModelRef(id="m", uri="s3://models/m", loader="project.models:load")],
        datasets=[DatasetRef(id="d", uri="s3://data/d", loader="project.data:load")],
        resources={"num_cpus": 2, "custom": {"accelerator": 1}},
    )
    assert_type(job, Job)
    assert_type(job.status, JobStatus)
    assert_type(job.status.is_terminal, bool)
    assert_type(job.created_at, datetime)
    assert_type(job.progress, Progress | None)
    assert_type(job.failure, FailureRecord | None)
    assert_type(job.wait(timeout=1.5), JobStatus)
    assert_type(job.result(), CapabilityRunRef)
    assert_type(job.exception(), JobError | None)
    assert_type(job.cancel(), bool)

    group = submit_capabilities(
        [Work(capability=capability, datasets=[]), {"capability": capability, "name": "another"}],
        force=True,
        queue_timeout=None,
    )
    assert_type(group, JobGroup)
    assert_type(group[0], Job)
    assert_type(group[:2], JobGroup)
    assert_type(group.wait(timeout=1.5), bool)
    assert_type(group.results(), list[CapabilityRunRef])
    assert_type(group.results(return_exceptions=True), list[CapabilityRunRef | JobError])
    assert_type(list(group.as_completed(timeout=60)), list[Job])
    assert_type(group.counts(), Mapping[JobStatus, int])
    assert_type(group.cancel(), int)
    assert_type(job.origin, JobOrigin)

    page = list_jobs(status="FAILED", limit=10)
    assert_type(page, JobPage)
    assert_type(page[0], Job)
    assert_type(page.next_cursor, str | None)
    assert_type(get_job("some-id"), Job)
    assert_type(backend.store.tables(), list[str])
    shutdown_job_backend()


async def gather(job: Job, group: JobGroup) -> CapabilityRunRef:
    assert_type(await group, list[CapabilityRunRef])
    return await job


# What must not pass; an ignore that is not needed is an error too.
submit_capability("not a capability", models="m", dataset=[])  # type: ignore[call-arg]
Work("not by position")  # type: ignore[call-arg]
configure_job_backend("ray-simple", analytics_store=3)  # type: ignore[arg-type]

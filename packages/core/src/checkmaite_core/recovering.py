"""Submissions that commit what a failed job had computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checkmaite_core.code.finding import find_module
from checkmaite_core.committing import CommitPolicy
from checkmaite_core.deployment import SkewPolicy, describe_environment
from checkmaite_core.errors import JobError
from checkmaite_core.failure import FailureRecord
from checkmaite_core.inputs import Inputs
from checkmaite_core.naming import new_job_id
from checkmaite_core.provenance import resolve_provenance, utc_now
from checkmaite_core.recovery import Recovery
from checkmaite_core.resources import Resources
from checkmaite_core.store import AnalyticsStoreConfig
from checkmaite_core.submission import DEFAULT_RESOURCES, Payload, Submission, WorkOrder, check_threshold

__all__ = ["prepare_recovery"]

_TOUCH = 0.001
"""Of a node's own resource: enough to be placed there."""


def prepare_recovery(
    job_id: str,
    name: str,
    failure: FailureRecord | None,
    *,
    capability: Any,
    run_class: type | None,
    report_threshold: float | None,
    resources: Resources | Mapping[str, Any] | None,
    backend: str,
    store: AnalyticsStoreConfig,
    version_skew: SkewPolicy = "error",
    commit: CommitPolicy | None = None,
) -> Submission:
    """Work that commits what a failed job had computed.

    Args:
        job_id: The job.
        name: Its name, which the new one is given too.
        failure: How it failed; None if it has not.
        capability: The capability as it is now: its ``run_class`` takes the place of the run's own.
        run_class: The class that takes the place of the run's own.
        report_threshold: As of :func:`checkmaite_core.submit_capability`; what the job had if None.
        resources: What it asks for; 1 CPU if left out, for nothing is run again but ``extract()`` and the report.
        backend: Name of the backend.
        store: Where its results go: where the job's were to go.
        version_skew: What the worker does where its environment does not fit this one.
        commit: How long its commit waits.

    Raises:
        JobError: Nothing of the job is kept, or another store has it.
        SubmissionError: An argument cannot be understood.
    """
    staged = None if failure is None else failure.staged
    if staged is None:
        raise JobError(
            f"nothing that job {job_id} ({name}) has computed is kept.",
            hint="Only a job that has ended, without results, and whose failure.recoverable is true can be recovered. "
            "Submit the work again; what took longer than stage_after_s is staged.",
            job_id=job_id,
        )
    if staged.store_uri != store.uri:
        raise JobError(
            f"what job {job_id} ({name}) has computed belongs into the store at {staged.store_uri}, and this backend "
            f"writes to {store.uri}.",
            hint="Configure a backend with that analytics_store, and recommit the job there.",
            job_id=job_id,
        )
    if report_threshold is not None:
        check_threshold(report_threshold)
    recovery = Recovery.of(staged, capability=capability, run_class=run_class, report_threshold=report_threshold)
    demand = Resources.parse(resources, "recommit").over(DEFAULT_RESOURCES)
    if staged.path is not None and staged.node is not None:  # it lies on that node's disk and nowhere else
        demand = Resources(custom={staged.node: _TOUCH}).over(demand)
    module = staged.module if capability is None else type(capability).__module__
    if module is not None and find_module(module) is None:
        module = None  # this client lacks the code; the workers have theirs
    new_id, now = new_job_id(), utc_now()
    order = WorkOrder(
        job_id=new_id,
        capability_id=staged.capability_id,
        report_threshold=0.5 if report_threshold is None else report_threshold,
        provenance=resolve_provenance().model_copy(update={"job_id": new_id, "backend": backend, "submitted_at": now}),
        store=store,
        environment=describe_environment(module),
        version_skew=version_skew,
        commit=commit or CommitPolicy(),
        recovers=staged.event_id,
    )
    nothing = Payload(None, Inputs(), None)
    return Submission(order, nothing, name, demand, now, recovery=recovery)

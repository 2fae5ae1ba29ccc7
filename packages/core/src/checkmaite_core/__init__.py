"""Run test-and-evaluation work on models and datasets as jobs, and keep what it finds.

This package holds the interfaces and values. It needs pydantic and nothing else; job backends, the analytics
store and the storage connectors are packages of their own, found when they are asked for.
"""

from checkmaite_core.api import (
    configure_job_backend,
    get_job,
    list_jobs,
    shutdown_job_backend,
    submit_capabilities,
    submit_capability,
)
from checkmaite_core.backend import JobBackend
from checkmaite_core.capability import Arity, Capability, CapabilityLike
from checkmaite_core.context import cancelled, progress
from checkmaite_core.deployment import VersionSkewWarning
from checkmaite_core.errors import *
from checkmaite_core.errors import __all__ as _errors
from checkmaite_core.failure import FailureKind, FailureRecord
from checkmaite_core.group import JobGroup
from checkmaite_core.inputs import DatasetRef, Inputs, ModelRef
from checkmaite_core.job import Job, JobOrigin, JobPage, JobStatus, Progress
from checkmaite_core.provenance import Provenance, configure_provenance
from checkmaite_core.record import Record
from checkmaite_core.reference import CapabilityRunRef
from checkmaite_core.report import ArtifactReport, InlineTextReport
from checkmaite_core.resources import Resources
from checkmaite_core.run import CapabilityConfig, CapabilityOutputs, CapabilityRun, RunLike
from checkmaite_core.store import AnalyticsStoreConfig, CommitReceipt, ResultStore, StoreMaintenanceWarning
from checkmaite_core.work import Work

__all__ = [
    "AnalyticsStoreConfig",
    "Arity",
    "ArtifactReport",
    "Capability",
    "CapabilityConfig",
    "CapabilityLike",
    "CapabilityOutputs",
    "CapabilityRun",
    "CapabilityRunRef",
    "CommitReceipt",
    "DatasetRef",
    "FailureKind",
    "FailureRecord",
    "InlineTextReport",
    "Inputs",
    "Job",
    "JobBackend",
    "JobGroup",
    "JobOrigin",
    "JobPage",
    "JobStatus",
    "ModelRef",
    "Progress",
    "Provenance",
    "Record",
    "Resources",
    "ResultStore",
    "RunLike",
    "StoreMaintenanceWarning",
    "VersionSkewWarning",
    "Work",
    "cancelled",
    "configure_job_backend",
    "configure_provenance",
    "get_job",
    "list_jobs",
    "progress",
    "shutdown_job_backend",
    "submit_capabilities",
    "submit_capability",
]
__all__ += _errors

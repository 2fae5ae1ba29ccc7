"""Every error that checkmaite raises, in one tree.

    CheckmaiteError
    ├── ConfigurationError                  what was configured cannot work
    │   ├── NotConfiguredError              no backend has been configured yet
    │   ├── UnknownOptionError              an option that the backend does not have
    │   └── PluginError                     a backend, store or connector cannot be used
    │       ├── PluginNotFoundError         ... because nothing that is installed brings it
    │       └── PluginBrokenError           ... because loading it failed
    ├── ClusterError                        the Ray cluster cannot be used
    │   ├── ClusterUnreachableError         nothing answers at the address
    │   ├── ClusterAuthenticationError      the cluster refuses our token
    │   ├── ClusterMismatchError            another kind of port, version or running Ray
    │   ├── ProtocolMismatchError           client and control plane speak different versions
    │   ├── ScopeInUseError                 another cluster has the scope, and may be alive
    │   └── ScopeSealedError                another cluster has taken the scope over
    ├── SubmissionError                     the work was not accepted
    │   ├── InvalidCapabilityError          the object is not a capability, or its inputs do not fit it
    │   ├── PayloadError                    the work cannot be pickled, or not read back
    │   ├── ResourceDemandError             no node can ever meet the demand
    │   └── BackpressureError               too much is queued; ``retry_after`` says when to come back
    ├── InputContractError                  a model, dataset or metric does not do what its protocol says
    ├── RunContractError                    what a capability returned breaks the run contract
    ├── JobError                            the outcome of one job
    │   ├── JobFailedError                  ``failure`` says how
    │   │   └── JobLostError                the infrastructure under it went away
    │   ├── JobCancelledError
    │   ├── JobTimeoutError                 also a TimeoutError: the wait ended, the job goes on
    │   └── JobNotFoundError
    ├── DefectError                         an unexpected exception in checkmaite: a defect of ours
    ├── DeploymentError                     client, image and overlay do not fit together
    │   ├── VersionSkewError
    │   └── PreflightError                  ``report`` says what would stop the jobs, and who mends it
    └── StoreError                          the analytics store
        ├── SchemaError                     a column's type is not allowed, or has changed
        ├── WriteConflictError              write() found other content under the same event
        ├── EventAbandonedError             a straggler's write met the marker of its settled job
        ├── QueryError                      the SQL was refused
        ├── StoreFormatError                the location holds something else, or a newer format
        └── StorageError                    the object store under it
            ├── ObjectNotFoundError         no such object
            ├── ContainerNotFoundError      no such bucket, container or root folder
            ├── ObjectExistsError           put-if-absent found an object in its place
            ├── AccessDeniedError           known to the store, not allowed
            ├── UnauthenticatedError        no credentials, or none that count
            ├── StorageUnreachableError     no answer within the deadline
            ├── StorageFullError            no space or quota left
            ├── CorruptObjectError          the bytes are not what was written
            ├── ConditionalPutError         the store does not honour put-if-absent
            ├── SealedError                 a later incarnation writes this log now
            └── EpochTakenError             another incarnation claimed the log first

Every class takes a message that says what happened to which object, and a ``hint`` that says
what to do next; ``str(error)`` shows both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from checkmaite_core.failure import FailureRecord
    from checkmaite_core.preflight.report import PreflightReport

__all__ = [
    "AccessDeniedError",
    "BackpressureError",
    "CheckmaiteError",
    "ClusterAuthenticationError",
    "ClusterError",
    "ClusterMismatchError",
    "ClusterUnreachableError",
    "ConditionalPutError",
    "ConfigurationError",
    "ContainerNotFoundError",
    "CorruptObjectError",
    "DefectError",
    "DeploymentError",
    "EpochTakenError",
    "EventAbandonedError",
    "InputContractError",
    "InvalidCapabilityError",
    "JobCancelledError",
    "JobError",
    "JobFailedError",
    "JobLostError",
    "JobNotFoundError",
    "JobTimeoutError",
    "NotConfiguredError",
    "ObjectExistsError",
    "ObjectNotFoundError",
    "PayloadError",
    "PluginBrokenError",
    "PluginError",
    "PluginNotFoundError",
    "PreflightError",
    "ProtocolMismatchError",
    "QueryError",
    "ResourceDemandError",
    "RunContractError",
    "SchemaError",
    "ScopeInUseError",
    "ScopeSealedError",
    "SealedError",
    "StorageError",
    "StorageFullError",
    "StorageUnreachableError",
    "StoreError",
    "StoreFormatError",
    "SubmissionError",
    "UnauthenticatedError",
    "UnknownOptionError",
    "VersionSkewError",
    "WriteConflictError",
]


class CheckmaiteError(Exception):
    """Root of all errors raised by checkmaite.

    Args:
        message: What happened, to which object, and why we think so.
        hint: What to do next.
    """

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  -> {self.hint}"

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions pickle by positional arguments only; ours have keywords, and errors cross processes.
        return (_rebuild, (type(self), self.args, self.__dict__.copy()))


def _rebuild(kind: type[CheckmaiteError], args: tuple[Any, ...], state: dict[str, Any]) -> CheckmaiteError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigurationError(CheckmaiteError):
    """What was configured cannot work."""


class NotConfiguredError(ConfigurationError):
    """No job backend has been configured in this process."""


class UnknownOptionError(ConfigurationError):
    """An option that the backend, store or connector does not have."""


class PluginError(ConfigurationError):
    """A backend, result store or connector cannot be used."""


class PluginNotFoundError(PluginError):
    """Nothing that is installed brings the backend, result store or connector that was asked for."""


class PluginBrokenError(PluginError):
    """An installed plugin could not be loaded."""


class ClusterError(CheckmaiteError):
    """The Ray cluster cannot be used."""


class ClusterUnreachableError(ClusterError):
    """Nothing answers at the cluster's address."""


class ClusterAuthenticationError(ClusterError):
    """The cluster asks for a token that we do not have, or refuses ours."""


class ClusterMismatchError(ClusterError):
    """The address leads to another kind of port, another Ray or Python, or Ray already runs otherwise here."""


class ProtocolMismatchError(ClusterError):
    """Client and control plane speak different versions; the message says which side to update."""


class ScopeInUseError(ClusterError):
    """The jobs of the scope belong to another cluster, which is alive or may be."""


class ScopeSealedError(ClusterError):
    """Another cluster has taken the scope over, so this one accepts and starts nothing any more."""


class SubmissionError(CheckmaiteError):
    """The work was not accepted; nothing has been started."""


class InvalidCapabilityError(SubmissionError):
    """The object is not a capability, or the inputs do not fit it."""


class PayloadError(SubmissionError):
    """The capability or its inputs cannot be pickled, or not be read back."""


class ResourceDemandError(SubmissionError):
    """No node of the cluster can ever meet what the job asks for."""


class BackpressureError(SubmissionError):
    """The backend's queue is full.

    Attributes:
        retry_after: Seconds after which it is worth trying again.
    """

    def __init__(self, message: str, *, hint: str, retry_after: float) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class InputContractError(CheckmaiteError):
    """A model, dataset or metric does not do what its protocol says; found while the capability ran."""


class RunContractError(CheckmaiteError):
    """What a capability returned is not a run that can be stored."""


class JobError(CheckmaiteError):
    """The outcome of one job, or a question about it that has no answer.

    Attributes:
        job_id: The job it is about.
    """

    def __init__(self, message: str, *, hint: str, job_id: str) -> None:
        super().__init__(message, hint=hint)
        self.job_id = job_id


class JobFailedError(JobError):
    """The job failed; ``failure`` is the record of how.

    Built where it is raised: no exception object of the worker's is ever unpickled.
    """

    def __init__(self, message: str, *, hint: str, job_id: str, failure: FailureRecord) -> None:
        super().__init__(message, hint=hint, job_id=job_id)
        self.failure = failure


class JobLostError(JobFailedError):
    """The job did nothing wrong: the process, node or cluster under it went away."""


class JobCancelledError(JobError):
    """The job was cancelled before its results were committed."""


class JobTimeoutError(JobError, TimeoutError):
    """The wait ended before the job did; the job itself goes on."""


class JobNotFoundError(JobError):
    """The backend knows no job of this id."""


class DefectError(CheckmaiteError):
    """An unexpected exception in checkmaite: a defect of checkmaite, not of the user's code or installation.

    Made by :func:`checkmaite_core.defects.explained`, at each place that has to go on after an exception.

    Attributes:
        traceback: Where it was raised, as text: the exception itself may have been raised in another process.
    """

    def __init__(self, message: str, *, hint: str, traceback: str = "") -> None:
        super().__init__(message, hint=hint)
        self.traceback = traceback


class DeploymentError(CheckmaiteError):
    """Client, worker image and overlay are not one deployment unit."""


class VersionSkewError(DeploymentError):
    """A version that must match does not."""


class PreflightError(DeploymentError):
    """Preflight found what would stop the jobs, so none was submitted.

    Attributes:
        report: Everything that it found; ``report.table()`` shows it.
    """

    def __init__(self, message: str, *, hint: str, report: PreflightReport) -> None:
        super().__init__(message, hint=hint)
        self.report = report


class StoreError(CheckmaiteError):
    """The analytics store could not do what was asked."""


class SchemaError(StoreError):
    """A column has a type that is not allowed, or another type than it was registered with."""


class WriteConflictError(StoreError):
    """Something else is stored under the same event already; nothing was written.

    Attributes:
        event_id: The event, by default the run_uid.
        difference: What differs: the table, the column, the row and both values.
    """

    def __init__(self, message: str, *, hint: str, event_id: str, difference: str) -> None:
        super().__init__(message, hint=hint)
        self.event_id = event_id
        self.difference = difference


class EventAbandonedError(StoreError):
    """The event's job was settled as not completed, so its results may no longer be committed."""


class QueryError(StoreError):
    """The SQL text was refused by the query engine."""


class StoreFormatError(StoreError):
    """The location is not a store, or is one of a format that this version cannot read."""


class StorageError(StoreError):
    """The object store under the analytics store.

    Attributes:
        uri: The object or location it is about, without credentials.
    """

    def __init__(self, message: str, *, hint: str, uri: str) -> None:
        super().__init__(message, hint=hint)
        self.uri = uri


class ObjectNotFoundError(StorageError):
    """There is no such object."""


class ContainerNotFoundError(StorageError):
    """There is no such bucket, container or root folder."""


class ObjectExistsError(StorageError):
    """Put-if-absent found an object in its place."""


class AccessDeniedError(StorageError):
    """The store knows who we are and does not allow it."""


class UnauthenticatedError(StorageError):
    """The store does not know who we are."""


class StorageUnreachableError(StorageError):
    """The store did not answer within the deadline."""


class StorageFullError(StorageError):
    """There is no space or no quota left."""


class CorruptObjectError(StorageError):
    """An object's bytes are not what was written."""


class ConditionalPutError(StorageError):
    """The store does not honour put-if-absent, so it cannot hold results safely."""


class SealedError(StorageError):
    """A later incarnation writes the log now; this one must stop, for good.

    Attributes:
        epoch: The number of the later epoch.
    """

    def __init__(self, message: str, *, hint: str, uri: str, epoch: int) -> None:
        super().__init__(message, hint=hint, uri=uri)
        self.epoch = epoch


class EpochTakenError(StorageError):
    """Another incarnation claimed the log first; look at who it is, and decide again.

    Attributes:
        epoch: The number of the epoch that is taken.
    """

    def __init__(self, message: str, *, hint: str, uri: str, epoch: int) -> None:
        super().__init__(message, hint=hint, uri=uri)
        self.epoch = epoch

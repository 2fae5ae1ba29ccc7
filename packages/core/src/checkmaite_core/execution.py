"""The one function that every worker runs, whatever the backend.

The order of its steps is the protocol:

1. compare the deployment, before anything of the user's is unpickled;
2. unpickle, load the inputs, run the capability;
3. extract the records, make the report, upload it if it is large;
4. commit: one put of one bundle at the job's key. Nothing before it counts, nothing after it fails the job.

Where it ends otherwise, the job's key is settled first, so that no failed or cancelled job ever has rows: if
an earlier attempt of the same job had committed, that is the outcome. Only an exception that the job is to be
started again after leaves the key open. A further attempt asks the store first, and runs nothing if an earlier one
has committed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

from checkmaite_core.capability import Capability
from checkmaite_core.context import RunMonitor, monitored
from checkmaite_core.defects import explained, raised_by_us
from checkmaite_core.deployment import Environment, SkewPolicy, describe_alike, require_match, why_unreadable
from checkmaite_core.errors import (
    CheckmaiteError,
    DeploymentError,
    EventAbandonedError,
    JobCancelledError,
    PayloadError,
    StorageFullError,
    StorageUnreachableError,
)
from checkmaite_core.failure import FailureKind, FailureRecord
from checkmaite_core.inputs import load_inputs
from checkmaite_core.job import JobStatus
from checkmaite_core.outcome import Outcome, Unsettled
from checkmaite_core.provenance import utc_now
from checkmaite_core.reference import CapabilityRunRef
from checkmaite_core.retrying import is_named
from checkmaite_core.run import bundle_run, make_report
from checkmaite_core.store import AnalyticsStoreConfig, ResultStore, RunBundle, open_result_store, upload_large_report
from checkmaite_core.submission import Payload, WorkOrder

__all__ = ["cancelled_error", "execute", "maintain", "settle"]


class _Stop(Exception):
    """Ends an execution with a failure of a known kind; ``raised`` says that the user's code raised the error."""

    def __init__(self, kind: FailureKind, error: BaseException, *, raised: bool = False) -> None:
        super().__init__(kind)
        self.kind = kind
        self.error = error
        self.raised = raised


class _CancelWatch:
    """Passes everything on, and remembers whether the code was told to stop: then its result is not whole."""

    def __init__(self, monitor: RunMonitor) -> None:
        self._monitor = monitor
        self.told = False

    def report_progress(self, done: int, total: int | None, description: str) -> None:
        self._monitor.report_progress(done, total, description)

    def cancel_requested(self) -> bool:
        self.told = self.told or self._monitor.cancel_requested()
        return self.told

    def report_waiting(self, reason: str | None) -> None:
        self._monitor.report_waiting(reason)

    def stopped(self, error: BaseException) -> bool:
        """Whether the code ended because of a cancellation.

        A backend may interrupt it, and only the request tells that from an interrupt of the code's own.
        """
        return self.told or (isinstance(error, KeyboardInterrupt) and self.cancel_requested())


def execute(
    order: WorkOrder,
    payload: bytes,
    *,
    loads: Callable[[bytes], Any],
    monitor: RunMonitor,
    attempt: int = 1,
    retry_exceptions: Collection[str] = (),
) -> Outcome | Unsettled:
    """Run one job to its end. Never raises for what the job does; only the process's own death ends it otherwise.

    Args:
        order: What to do; read before the payload is touched.
        payload: The pickled :class:`~checkmaite_core.submission.Payload`.
        loads: Unpickles it, such as ``ray.cloudpickle.loads``.
        monitor: The backend's end of the run.
        attempt: Which start of this job it is, from 1.
        retry_exceptions: Names of exceptions (see :func:`checkmaite_core.retrying.is_named`) that leave the job
            unsettled when the user's code raises one, because the backend means to start it again.
    """
    started_at = utc_now()
    try:
        reference = _guarded(order, payload, loads, _CancelWatch(monitor), attempt)
    except _Stop as stop:
        again = stop.raised and is_named(stop.error, retry_exceptions)
        failure = FailureRecord.from_exception(
            stop.error, stop.kind, retryable=again or _is_transient(stop.error), attempts=attempt
        )
        return Unsettled(failure=failure) if again else settle(order, failure, started_at=started_at)
    return Outcome(status=JobStatus.COMPLETED, reference=reference, started_at=started_at, finished_at=utc_now())


def settle(order: WorkOrder, failure: FailureRecord, *, started_at: datetime | None = None) -> Outcome:
    """End a job that may have started: COMPLETED if its results are in the store, else as ``failure`` says.

    After it, a straggler of the job can no longer commit. If the store cannot be asked, the failure's message
    says so: then results may yet appear.
    """
    try:
        reference = _open_store(order.store.model_dump_json()).settle(order.job_id)
    except Exception as error:  # a store is a plugin: whatever it raises is reported, in the record of the failure
        why = "for the same reason" if str(error) in failure.message else f"because: {error}"
        note = f"{failure.message}\n(Its place in the store could not be closed either, {why}.)"
        failure = failure.model_copy(update={"message": note})
        reference = None
    if reference is not None:
        return Outcome(status=JobStatus.COMPLETED, reference=reference, started_at=started_at, finished_at=utc_now())
    status = JobStatus.CANCELLED if failure.kind is FailureKind.CANCELLED else JobStatus.FAILED
    return Outcome(status=status, failure=failure, started_at=started_at, finished_at=utc_now())


def maintain(order: WorkOrder, *, at_least: int) -> FailureRecord | None:
    """Put the store that a job's results went to in order (see :meth:`ResultStore.maintain`).

    Args:
        order: Of any job of the backend. Its environment is compared with this one first, the job's own code aside.
        at_least: How many commits must be waiting for it to be worth the while.

    Returns:
        None if that is done or not needed; else what stood in the way. Never raises for what a store does.
    """
    try:
        _require_match(order.environment.without_work(), order.version_skew)
    except CheckmaiteError as error:
        return FailureRecord.from_exception(error, FailureKind.DEPLOYMENT)
    except Exception as error:  # as in _guarded()
        stop = _unforeseen(error, "comparing the environments of client and worker")
        return FailureRecord.from_exception(stop.error, stop.kind)
    try:
        _open_store(order.store.model_dump_json()).maintain(at_least=at_least)
    except Exception as error:  # as in settle()
        stop = _store_stop(error, order, "putting the store in order")
        return FailureRecord.from_exception(stop.error, stop.kind, retryable=_is_transient(error))
    return None


def _guarded(
    order: WorkOrder, payload: bytes, loads: Callable[[bytes], Any], watch: _CancelWatch, attempt: int
) -> CapabilityRunRef:
    try:
        return _run_and_commit(order, payload, loads, watch, attempt)
    except _Stop:
        raise
    except MemoryError as error:
        raise _Stop(FailureKind.OUT_OF_MEMORY, error) from error
    except Exception as error:  # the boundary of our own code: what comes here was foreseen by nobody
        raise _unforeseen(error, f"running job {order.job_id}") from error


def _unforeseen(error: BaseException, doing: str, owner: str = "") -> _Stop:
    found = explained(error, doing, owner=owner)
    return _Stop(FailureKind.DEPLOYMENT if isinstance(found, DeploymentError) else FailureKind.DEFECT, found)


def _run_and_commit(
    order: WorkOrder, payload: bytes, loads: Callable[[bytes], Any], watch: _CancelWatch, attempt: int
) -> CapabilityRunRef:
    try:
        _require_match(order.environment, order.version_skew)
        committed = _committed_before(order) if attempt > 1 else None
        if committed is not None:
            return committed
        work = _unpickle(order, payload, loads, watch)
    except CheckmaiteError as error:
        raise _Stop(FailureKind.DEPLOYMENT, error) from error
    # Before the work, not after it: hours of computing must not end in a store that cannot be opened.
    store = _store_of(order)
    bundle = _bundle(order, work, store, watch)
    try:
        return store.commit(upload_large_report(store, bundle)).reference
    except EventAbandonedError as error:
        raise _Stop(FailureKind.LOST, error) from error
    except Exception as error:  # as in settle()
        raise _store_stop(error, order, "committing results") from error


def _require_match(client: Environment, policy: SkewPolicy) -> None:
    if policy != "ignore":
        require_match(client, describe_alike(client), policy)


def _store_of(order: WorkOrder) -> ResultStore:
    try:
        return _open_store(order.store.model_dump_json())
    except Exception as error:  # as in settle()
        raise _store_stop(error, order, "opening the analytics store") from error


def _committed_before(order: WorkOrder) -> CapabilityRunRef | None:
    """What an earlier attempt has committed; its worker may have died with the answer."""
    store = _store_of(order)
    try:
        return store.reference(order.job_id)
    except Exception as error:  # as in settle()
        raise _store_stop(error, order, "asking for an earlier commit") from error


def _store_stop(error: Exception, order: WorkOrder, doing: str) -> _Stop:
    """What a store has raised: its own error, the system's, or a defect of the plugin that it is."""
    if isinstance(error, MemoryError):
        return _Stop(FailureKind.OUT_OF_MEMORY, error)
    if isinstance(error, CheckmaiteError | OSError):
        return _Stop(FailureKind.STORE, error)
    return _unforeseen(error, doing, f"the result store {order.store.backend!r}")


def _unpickle(order: WorkOrder, payload: bytes, loads: Callable[[bytes], Any], watch: _CancelWatch) -> Payload:
    try:
        work = loads(payload)
    except BaseException as error:  # unpickling imports and runs the user's code, a script's sys.exit() included
        if watch.stopped(error):
            raise _Stop(FailureKind.CANCELLED, cancelled_error(order.job_id)) from error
        message, hint = why_unreadable(error, order.environment)
        raise PayloadError(message, hint=hint) from error
    if not isinstance(work, Payload):
        raise PayloadError(
            f"the payload holds a {type(work).__qualname__}, not work for a capability.",
            hint="Make client and worker use the same checkmaite-core.",
        )
    return work


def _bundle(order: WorkOrder, work: Payload, store: ResultStore, watch: _CancelWatch) -> RunBundle:
    """Run the user's code: the capability, its records, its report."""
    bundle = None
    try:
        with monitored(watch):
            inputs = work.inputs if isinstance(work.capability, Capability) else load_inputs(work.inputs)
            run = work.capability.run(
                models=list(inputs.models),
                datasets=list(inputs.datasets),
                metrics=list(inputs.metrics),
                config=work.config,
                use_cache=False,
            )
            provenance = order.provenance.model_copy(update={"completed_at": utc_now()})
            report = make_report(run, order.report_threshold)
            bundle = bundle_run(run, event_id=order.job_id, provenance=provenance, store_uri=store.uri, report=report)
    except BaseException as error:  # the boundary to the user's code, SystemExit and KeyboardInterrupt included
        if not watch.stopped(error):
            if raised_by_us(error):
                raise _unforeseen(error, f"running job {order.job_id}") from error
            out_of_memory = isinstance(error, MemoryError)
            kind = FailureKind.OUT_OF_MEMORY if out_of_memory else FailureKind.USER_CODE
            raise _Stop(kind, error, raised=True) from error
    if bundle is None or watch.told:
        raise _Stop(FailureKind.CANCELLED, cancelled_error(order.job_id))
    return bundle


def cancelled_error(job_id: str) -> JobCancelledError:
    """What stands in the failure record of a job that was stopped because somebody asked for it."""
    return JobCancelledError("it was cancelled.", hint="Submit it again if its results are wanted.", job_id=job_id)


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, StorageUnreachableError | StorageFullError)


@functools.lru_cache(maxsize=8)
def _open_store(config: str) -> ResultStore:
    """The store, kept open for the next job in this process: it has learnt the schemas by then."""
    return open_result_store(AnalyticsStoreConfig.model_validate_json(config))

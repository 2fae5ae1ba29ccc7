"""The one function that every worker runs, whatever the backend.

The order of its steps is the protocol:

1. compare the deployment, before anything of the user's is unpickled;
2. unpickle, load the inputs, run the capability;
3. stage what it returned, if that took long: whatever fails from here on can be done again without it;
4. extract the records, make the report, upload it if it is large;
5. commit: one put of one bundle at the job's key. Nothing before it counts, nothing after it fails the job. It waits
   for a store that does not answer.

Where it ends otherwise, the job's key is settled first (see :mod:`checkmaite_core.settling`), so that no failed or
cancelled job ever has rows: if an earlier attempt of the same job had committed, that is the outcome. The key stays
open where the job is to be started again after an exception, and where the store cannot be asked although something
may have been committed: then the job has not ended. A further attempt asks the store first, and runs nothing if an
earlier one has committed, or staged what the same work returned. A job that recovers another one begins with what that
one staged.
"""

from __future__ import annotations

import contextlib
import pickle
import time
from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from typing import Any, TypeVar

from checkmaite_core.capability import Capability
from checkmaite_core.committing import WaitCancelled, kept_store, may_be_cured, persist, waits_for
from checkmaite_core.context import RunMonitor, monitored
from checkmaite_core.deployment import describe_alike, require_match, why_unreadable
from checkmaite_core.early_checks import FIRST_WAIT_S, columns_known
from checkmaite_core.errors import CheckmaiteError, PayloadError
from checkmaite_core.failure import FailureKind, FailureRecord
from checkmaite_core.inputs import load_inputs
from checkmaite_core.job import JobStatus
from checkmaite_core.keeping import Keeper
from checkmaite_core.outcome import Outcome, Unsettled
from checkmaite_core.provenance import utc_now
from checkmaite_core.recovery import Recovery
from checkmaite_core.reference import CapabilityRunRef
from checkmaite_core.retrying import is_named
from checkmaite_core.run import bundle_run, make_report
from checkmaite_core.settling import ended_with, settle
from checkmaite_core.staging import StagedRun
from checkmaite_core.stopping import CancelWatch, Stop, cancelled_error, store_stop, unforeseen, user_code
from checkmaite_core.store import ResultStore, RunBundle, upload_large_report
from checkmaite_core.submission import Payload, WorkOrder
from checkmaite_core.uses import Uses

__all__ = ["cancelled_error", "execute", "maintain", "settle"]

T = TypeVar("T")


def execute(
    order: WorkOrder,
    payload: bytes,
    *,
    loads: Callable[[bytes], Any],
    monitor: RunMonitor,
    pickler: type[pickle.Pickler] | None = None,
    attempt: int = 1,
    retry_exceptions: Collection[str] = (),
    node: str | None = None,
) -> Outcome | Unsettled:
    """Run one job to its end. Never raises for what the job does; only the process's own death ends it otherwise.

    Args:
        order: What to do; read before the payload is touched.
        payload: The pickled :class:`~checkmaite_core.submission.Payload`.
        loads: Unpickles it, such as ``ray.cloudpickle.loads``.
        monitor: The backend's end of the run.
        pickler: Pickles what is staged, such as ``ray.cloudpickle.Pickler``; without one nothing is.
        attempt: Which start of this job it is, from 1.
        retry_exceptions: Names of exceptions (see :func:`checkmaite_core.retrying.is_named`) that leave the job
            unsettled when the user's code raises one, because the backend means to start it again.
        node: This node, by the resource that its cluster has for it.
    """
    started_at = utc_now()
    keeper, uses = Keeper(order, payload, pickler, loads, node), Uses(order)
    try:
        with _guarded(order.job_id):
            reference = _run_and_commit(order, payload, loads, CancelWatch(monitor), keeper, uses, attempt)
    except Stop as stop:
        again = stop.raised and is_named(stop.error, retry_exceptions)
        failure = FailureRecord.from_exception(
            stop.error, stop.kind, retryable=again or _is_transient(stop.error), attempts=attempt
        )
        failure = keeper.noted(failure)
        if again:
            return Unsettled(failure=failure, started_at=started_at)
        answer = settle(order, failure, started_at=started_at)
        if isinstance(answer, Outcome):
            return uses.told_in(answer) if answer.status is JobStatus.COMPLETED else answer
        if attempt == 1 and not stop.may_have_committed:
            # The only start of the job never came to its commit: that nothing is stored is known without the store.
            return ended_with(failure, started_at=started_at)
        return answer
    outcome = Outcome(status=JobStatus.COMPLETED, reference=reference, started_at=started_at, finished_at=utc_now())
    return uses.told_in(outcome)


def maintain(order: WorkOrder, *, at_least: int) -> FailureRecord | None:
    """Put the store that a job's results went to in order (see :meth:`ResultStore.maintain`).

    Args:
        order: Of any job of the backend. Its environment is compared with this one first, the job's own code aside.
        at_least: How many commits must be waiting for it to be worth the while.

    Returns:
        None if that is done or not needed; else what stood in the way. Never raises for what a store does.
    """
    try:
        _require_match(order, work=False)
    except CheckmaiteError as error:
        return FailureRecord.from_exception(error, FailureKind.DEPLOYMENT)
    except Exception as error:  # as in _guarded()
        stop = unforeseen(error, "comparing the environments of client and worker")
        return FailureRecord.from_exception(stop.error, stop.kind)
    try:
        kept_store(order.store).maintain(at_least=at_least)
    except Exception as error:  # as in settle()
        stop = store_stop(error, order.store.backend, "putting the store in order")
        return FailureRecord.from_exception(stop.error, stop.kind, retryable=_is_transient(error))
    return None


@contextlib.contextmanager
def _guarded(job_id: str) -> Iterator[None]:
    """The boundary of our own code: what leaves the block, and is no :class:`Stop`, was foreseen by nobody."""
    try:
        yield
    except Stop:
        raise
    except MemoryError as error:
        raise Stop(FailureKind.OUT_OF_MEMORY, error) from error
    except Exception as error:  # told as a defect of ours
        raise unforeseen(error, f"running job {job_id}") from error


def _run_and_commit(
    order: WorkOrder,
    payload: bytes,
    loads: Callable[[bytes], Any],
    watch: CancelWatch,
    keeper: Keeper,
    uses: Uses,
    attempt: int,
) -> CapabilityRunRef:
    def asked(
        what: str,
        action: Callable[[ResultStore], T],
        timeout_s: float = order.commit.commit_timeout_s,
        away_since: datetime | None = None,
    ) -> T:
        return _asked(order, watch, what, action, timeout_s, away_since)

    try:
        _require_match(order)
        committed = asked("asking for the commit", lambda store: store.reference(order.job_id)) if attempt > 1 else None
        if committed is not None:
            return committed
        with uses.recorded():
            work = _unpickle(order, payload, loads, watch)
    except CheckmaiteError as error:
        raise Stop(FailureKind.DEPLOYMENT, error) from error
    # Before the work, not after it: hours of computing must not end in a store that cannot be opened, or that has the
    # columns of its records as other types.
    store = asked("opening it", lambda store: store, 0.0)
    if isinstance(work, Recovery):
        staged = asked("reading what was staged", lambda store: keeper.recovered(store, work))
    else:
        compare = columns_known(work.capability)
        if compare is not None:
            asked("comparing columns", compare, min(FIRST_WAIT_S, order.commit.commit_timeout_s))
        kept = asked("reading what was staged", keeper.kept_before) if attempt > 1 else None
        staged = _outputs(order, work, keeper, uses, store, watch) if kept is None else kept
    with uses.recorded():
        bundle = _bundle(order, staged, work, store.uri, watch)

    def commit(store: ResultStore) -> CapabilityRunRef:
        keeper.upload(store)
        return store.commit(upload_large_report(store, bundle)).reference

    since = None
    if keeper.away is not None:
        since, said = keeper.away
        watch.report_waiting(waits_for(order.store, since, said))
    try:
        reference = asked("the commit", commit, away_since=since)
    except Stop as stop:
        stop.may_have_committed = True  # also where it was cancelled: an answer may have been lost before
        raise
    keeper.committed(kept_store(order.store))
    return reference


def _require_match(order: WorkOrder, *, work: bool = True) -> None:
    if order.version_skew != "ignore":
        client = order.environment if work else order.environment.without_work()
        require_match(client, describe_alike(client), order.version_skew)


def _asked(
    order: WorkOrder,
    watch: CancelWatch,
    what: str,
    action: Callable[[ResultStore], T],
    timeout_s: float,
    away_since: datetime | None,
) -> T:
    try:
        return persist(action, order.store, watch, timeout_s=timeout_s, what=what, away_since=away_since)
    except WaitCancelled:
        raise Stop(FailureKind.CANCELLED, cancelled_error(order.job_id)) from None
    except PayloadError as error:
        raise Stop(FailureKind.DEPLOYMENT, error) from error
    except Exception as error:  # as in settle()
        raise store_stop(error, order.store.backend, what) from error


def _unpickle(
    order: WorkOrder, payload: bytes, loads: Callable[[bytes], Any], watch: CancelWatch
) -> Payload | Recovery:
    try:
        work = loads(payload)
    except BaseException as error:  # unpickling imports and runs the user's code, a script's sys.exit() included
        if watch.stopped(error):
            raise Stop(FailureKind.CANCELLED, cancelled_error(order.job_id)) from error
        message, hint = why_unreadable(error, order.environment)
        raise PayloadError(message, hint=hint) from error
    if not isinstance(work, Payload | Recovery):
        raise PayloadError(
            f"the payload holds a {type(work).__qualname__}, not work for a capability.",
            hint="Make client and worker use the same checkmaite-core.",
        )
    return work


def _outputs(
    order: WorkOrder, work: Payload, keeper: Keeper, uses: Uses, store: ResultStore, watch: CancelWatch
) -> StagedRun:
    """Run the capability, and stage what it returns if that took long."""
    begun = time.monotonic()
    with uses.of_run(work.inputs), user_code(order.job_id, watch), monitored(watch):
        inputs = work.inputs if isinstance(work.capability, Capability) else load_inputs(work.inputs)
        run = work.capability.run(
            models=list(inputs.models),
            datasets=list(inputs.datasets),
            metrics=list(inputs.metrics),
            config=work.config,
            use_cache=False,
        )
    return keeper.keep(run, time.monotonic() - begun, store)


def _bundle(
    order: WorkOrder, staged: StagedRun, work: Payload | Recovery, store_uri: str, watch: CancelWatch
) -> RunBundle:
    """Have the run say what is to be stored: its records, its report."""
    recovery = work if isinstance(work, Recovery) else None
    provenance = staged.provenance_in(order)
    threshold = staged.header.report_threshold
    if recovery is not None and recovery.report_threshold is not None:
        threshold = recovery.report_threshold
    with user_code(order.job_id, watch), monitored(watch):
        report = make_report(staged.run, threshold)
        return bundle_run(
            staged.run,
            event_id=order.job_id,
            provenance=provenance,
            store_uri=store_uri,
            report=report,
            inputs=staged.header.inputs,
        )


def _is_transient(error: BaseException) -> bool:
    return may_be_cured(error, waited_s=float("inf"))

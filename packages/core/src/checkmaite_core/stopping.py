"""How an execution ends before its time: because something failed, or because somebody asked for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from checkmaite_core.context import RunMonitor
from checkmaite_core.defects import explained, raised_by_us
from checkmaite_core.errors import CheckmaiteError, DeploymentError, EventAbandonedError, JobCancelledError
from checkmaite_core.failure import FailureKind

__all__ = ["CancelWatch", "Stop", "cancelled_error", "store_stop", "unforeseen", "user_code"]


class Stop(Exception):
    """Ends an execution with a failure of a known kind.

    ``raised`` says that the user's code raised the error; ``may_have_committed``, that the commit had begun.
    """

    def __init__(self, kind: FailureKind, error: BaseException, *, raised: bool = False) -> None:
        super().__init__(kind)
        self.kind = kind
        self.error = error
        self.raised = raised
        self.may_have_committed = False


class CancelWatch:
    """Passes everything on, and remembers whether the code was told to stop: then its result is not whole."""

    def __init__(self, monitor: RunMonitor) -> None:
        self._monitor = monitor
        self.told = False

    def report_progress(self, done: int, total: int | None, description: str) -> None:
        """Pass on how far the run is."""
        self._monitor.report_progress(done, total, description)

    def cancel_requested(self) -> bool:
        """Whether the job is to stop; remembered once it is."""
        self.told = self.told or self._monitor.cancel_requested()
        return self.told

    def report_waiting(self, reason: str | None) -> None:
        """Pass on what the run waits for."""
        self._monitor.report_waiting(reason)

    def stopped(self, error: BaseException) -> bool:
        """Whether the code ended because of a cancellation.

        A backend may interrupt it, and only the request tells that from an interrupt of the code's own.
        """
        return self.told or (isinstance(error, KeyboardInterrupt) and self.cancel_requested())


@contextlib.contextmanager
def user_code(job_id: str, watch: CancelWatch) -> Iterator[None]:
    """The boundary to the user's code: whatever it raises inside the block ends the execution.

    Raises:
        Stop: It raised something, or was told to stop: then what it has made is not whole.
    """
    try:
        yield
    except BaseException as error:  # SystemExit and KeyboardInterrupt included
        if not watch.stopped(error):
            if raised_by_us(error):
                raise unforeseen(error, f"running job {job_id}") from error
            out_of_memory = isinstance(error, MemoryError)
            kind = FailureKind.OUT_OF_MEMORY if out_of_memory else FailureKind.USER_CODE
            raise Stop(kind, error, raised=True) from error
        raise Stop(FailureKind.CANCELLED, cancelled_error(job_id)) from error
    if watch.told:
        raise Stop(FailureKind.CANCELLED, cancelled_error(job_id))


def unforeseen(error: BaseException, doing: str, owner: str = "") -> Stop:
    """What nobody foresaw, outside the user's code: a defect, or a worker that is not what it should be."""
    found = explained(error, doing, owner=owner)
    return Stop(FailureKind.DEPLOYMENT if isinstance(found, DeploymentError) else FailureKind.DEFECT, found)


def store_stop(error: Exception, backend: str, doing: str) -> Stop:
    """What a store has raised: its own error, the system's, or a defect of the plugin that it is."""
    if isinstance(error, MemoryError):
        return Stop(FailureKind.OUT_OF_MEMORY, error)
    if isinstance(error, EventAbandonedError):
        return Stop(FailureKind.LOST, error)
    if isinstance(error, CheckmaiteError | OSError):
        return Stop(FailureKind.STORE, error)
    return unforeseen(error, doing, f"the result store {backend!r}")


def cancelled_error(job_id: str) -> JobCancelledError:
    """What stands in the failure record of a job that was stopped because somebody asked for it."""
    return JobCancelledError("it was cancelled.", hint="Submit it again if its results are wanted.", job_id=job_id)

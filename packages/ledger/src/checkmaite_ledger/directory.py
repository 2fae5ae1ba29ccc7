"""The job directory: which jobs there are, and what is to be done next. Pure: commands in, events out.

It does no I/O, reads no clock and waits for nothing; times are passed in. The registry makes its events durable and
acts on what it asks for; a test drives it without a cluster.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from checkmaite_core.failure import FailureRecord
from checkmaite_core.job import JobOrigin
from checkmaite_ledger.events import Event, Policy
from checkmaite_ledger.records import JobRecord

__all__ = [
    "Action",
    "Answer",
    "AttemptEnd",
    "Cancel",
    "Cause",
    "Change",
    "Decision",
    "Directory",
    "Launch",
    "Limits",
    "Request",
    "Settle",
]


class Cause(StrEnum):
    """Why a job is started again; what counts against which limit."""

    LOST = "lost"
    """Its worker process ended under it: counts against ``max_retries``."""
    OUT_OF_MEMORY = "out_of_memory"
    """Its worker was killed for memory: counts against ``oom_retries``."""
    RAISED = "raised"
    """Its code raised one of ``retry_exceptions``: counts against ``exception_retries``."""
    NODE = "node"
    """Its node went away or was preempted: counts against nothing."""
    CONTROLLER = "controller"
    """Its controller went away, and its tasks with it: counts against nothing."""
    CLUSTER = "cluster"
    """Its cluster went away: counts against nothing."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the directory takes and hands out.

    Attributes:
        queued: Jobs that may wait and run at a time; more are refused.
        window: Jobs of one shape that are with controllers at a time.
        retry_after: Seconds after which a refused client should come back.
    """

    queued: int = 100_000
    window: int = 64
    retry_after: float = 1.0


@dataclass(frozen=True, slots=True)
class Request:
    """One submission. Fields as in :class:`checkmaite_ledger.events.Accepted`."""

    job_id: str
    name: str
    capability_id: str
    run_key: str | None
    client: str
    submitted_at: float
    shape: str
    demand: dict[str, float]
    store_uri: str
    policy: Policy = Policy()
    stored: bool = True
    force: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request.

    Attributes:
        record: The job that the client is given; None if it was refused because too much waits.
        origin: How it came to be.
        retry_after: Seconds after which to come back, if it was refused.
    """

    record: JobRecord | None
    origin: JobOrigin = JobOrigin.STARTED
    retry_after: float = 0.0


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """How one start of a job ended, as its controller saw it. Exactly one of the two is given.

    Attributes:
        outcome: The worker's :class:`checkmaite_core.outcome.Outcome` as JSON text: it is settled in the store.
        failure: How it failed otherwise; its place in the store is still open.
        cause: What kind of failure that is to a retry; None where a retry cannot help.
        begun: False if no worker can have begun it, so that there is nothing to settle.
    """

    outcome: str | None = None
    failure: FailureRecord | None = None
    cause: Cause | None = None
    begun: bool = True


@dataclass(frozen=True, slots=True)
class Launch:
    """Hand a job to a controller, once its ``Started`` event is durable."""

    job_id: str
    attempt: int
    slot: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Tell a controller to stop a job."""

    job_id: str
    attempt: int
    slot: str


@dataclass(frozen=True, slots=True)
class Settle:
    """Have a controller find out in the store how a job ended; if it did not commit, it ends with this failure."""

    job_id: str
    slot: str
    failure: FailureRecord


Action = Launch | Cancel | Settle


@dataclass(frozen=True, slots=True)
class Change:
    """One event and the record that it led to."""

    event: Event
    record: JobRecord


@dataclass(frozen=True, slots=True)
class Decision:
    """What a command led to. The changes are in the directory already; nobody may see them before they are durable.

    Attributes:
        changes: In order. To be made durable, together or one after the other.
        actions: To be taken once all changes of this decision are durable.
    """

    changes: tuple[Change, ...] = ()
    actions: tuple[Action, ...] = ()


class Directory:
    """All jobs of one scope.

    Args:
        limits: How much it takes.
    """

    def __init__(self, limits: Limits = Limits()) -> None:
        raise NotImplementedError

    @property
    def jobs(self) -> Mapping[str, JobRecord]:
        """Every job by its id, in the order of acceptance."""
        raise NotImplementedError

    def restore(self, records: Iterable[JobRecord]) -> None:
        """Begin with records of a snapshot, in the order of their positions. Before any other call."""
        raise NotImplementedError

    def apply(self, event: Event) -> JobRecord:
        """Replay one event; returns the record it led to."""
        raise NotImplementedError

    def reign(self, *, same_cluster: bool, now: float) -> Decision:
        """Replay is done, this directory decides from now on.

        Args:
            same_cluster: Whether the incarnation before served the cluster that this one serves; then jobs that had
                been started may still run there, and wait for their controllers' answers
                (:meth:`controller_up`, :meth:`controller_down`). Otherwise every unfinished job is treated as its
                policy says: ``fail`` settles it as lost (at once if it was never started), ``resubmit`` queues it.
            now: POSIX seconds.
        """
        raise NotImplementedError

    def submit(self, requests: Sequence[Request], *, now: float) -> tuple[Decision, list[Answer]]:
        """Accept, adopt, reuse or refuse. Idempotent by ``job_id``."""
        raise NotImplementedError

    def cancel(self, job_ids: Sequence[str], *, client: str, now: float) -> tuple[Decision, list[bool | None]]:
        """Ask for jobs to be stopped. For each: True if recorded, False if it had ended, None if it is not known.

        A job that no worker can have begun ends CANCELLED at once; for others the controller is told.
        """
        raise NotImplementedError

    def dispatch(self, *, now: float) -> Decision:
        """Hand out what can be handed out now: starts within the windows, settlements, spread over the controllers."""
        raise NotImplementedError

    def began(self, job_id: str, attempt: int, *, at: float, place: str) -> Decision:
        """A worker has begun. Nothing if that start is not the latest, or the job has ended."""
        raise NotImplementedError

    def attempt_ended(self, job_id: str, attempt: int, end: AttemptEnd, *, now: float) -> Decision:
        """One start has ended: the job ends, is queued again, or is to be settled. Idempotent; stale starts are ignored."""
        raise NotImplementedError

    def settled(self, job_id: str, outcome: str, *, now: float) -> Decision:
        """A settlement has found out how the job ended (an Outcome as JSON text). Idempotent."""
        raise NotImplementedError

    def controller_up(
        self, slot: str, incarnation: str, holding: Collection[tuple[str, int]], *, now: float
    ) -> Decision:
        """A controller is there, and says which starts it has (running, or ended and not yet acknowledged).

        Jobs whose latest start was given to another incarnation of this slot are started again (cause CONTROLLER).
        Jobs given to this very incarnation that it does not have were never handed over: a Launch is asked for again,
        or, if they are being cancelled, a settlement. Cancellations that it may have missed are asked for again.
        """
        raise NotImplementedError

    def controller_down(self, slot: str, incarnation: str, *, now: float) -> Decision:
        """A controller's process has ended, and its tasks with it; its jobs are started again (cause CONTROLLER).

        Without effect if that incarnation is not the one that is up.
        """
        raise NotImplementedError

    def waiting(self) -> Mapping[str, int]:
        """How many jobs are queued, by shape."""
        raise NotImplementedError

    @property
    def unfinished(self) -> int:
        """How many jobs have not ended."""
        raise NotImplementedError

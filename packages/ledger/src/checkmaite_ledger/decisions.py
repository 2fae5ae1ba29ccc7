"""What the job directory is asked, and what it decides, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
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
        spread_after: Jobs that one controller is given before the next gets any; 1 spreads them evenly.
    """

    queued: int = 100_000
    window: int = 64
    retry_after: float = 1.0
    spread_after: int = 1


@dataclass(frozen=True, slots=True)
class Request:
    """One submission. Fields as in :class:`checkmaite_ledger.events.Accepted`.

    Attributes:
        reuse: Whether a job of equal work that has completed may be given again.
        reason: Why no other job may be given, as far as the client knows; empty if there is no such reason.
    """

    job_id: str
    name: str
    capability_id: str
    run_key: str | None
    client: str
    submitted_at: float
    shape: str
    demand: dict[str, float]
    store_uri: str
    policy: Policy = field(default_factory=Policy)
    stored: bool = True
    force: bool = False
    recovers: str = ""
    reuse: bool = True
    reason: str = ""


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
    """Hand a job to a controller. May be asked for twice: a controller takes each start of a job once."""

    job_id: str
    attempt: int
    slot: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Tell a controller to stop a job; nothing if that start has ended. May be asked for twice."""

    job_id: str
    attempt: int
    slot: str


@dataclass(frozen=True, slots=True)
class Settle:
    """Have a controller find out in the store how a job ended; if it did not commit, it ends with this failure.

    May be asked for twice: the store answers both the same. Where it does not answer, the controller says so
    (:meth:`checkmaite_ledger.directory.Directory.unsettled`).

    Attributes:
        job_id: The job.
        slot: The controller.
        failure: How it ends, should nothing be stored.
        since: Since when the store has been asked in vain (POSIX seconds); None if it has not.
    """

    job_id: str
    slot: str
    failure: FailureRecord
    since: float | None = None


Action = Launch | Cancel | Settle


@dataclass(frozen=True, slots=True)
class Change:
    """One event and the record that it led to."""

    event: Event
    record: JobRecord


@dataclass(frozen=True, slots=True)
class Decision:
    """What a command led to. The changes are in the directory already; nobody may see them before they are durable.

    A decision rests on all that came before it. So its actions are taken, and the answers that came with it are
    given, only when the changes of *every* decision up to and with this one are durable, also where it has none of
    its own: a submission that is sent again is answered from a record whose event may still be on its way.

    Attributes:
        changes: In order. To be made durable, together or one after the other.
        actions: To be taken then, in order, if :meth:`Directory.wants` still says so.
    """

    changes: tuple[Change, ...] = ()
    actions: tuple[Action, ...] = ()

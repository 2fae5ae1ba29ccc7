"""What happens to jobs, as values: the entries of the ledger, in the order in which they were decided."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from checkmaite_core.job import JobStatus

__all__ = [
    "Accepted",
    "Adopted",
    "AttemptFailed",
    "Began",
    "CancelRequested",
    "Ended",
    "Event",
    "Policy",
    "Started",
    "Waiting",
    "decode",
    "encode",
]


@dataclass(frozen=True, slots=True)
class Policy:
    """How one job is to be treated; given at its submission.

    Attributes:
        max_retries: How many times it is started again after its worker was lost.
        oom_retries: How many times it is started again after its worker was killed for memory.
        exception_retries: How many times it is started again after its code raised one of ``retry_exceptions``.
        retry_exceptions: Names of exception classes (``ConnectionError``, ``package.module.Error``).
        cancel_grace_seconds: How long it may take to stop by itself once it is cancelled.
        on_cluster_loss: ``fail`` or ``resubmit``.
    """

    max_retries: int = 2
    oom_retries: int = 1
    exception_retries: int = 2
    retry_exceptions: tuple[str, ...] = ()
    cancel_grace_seconds: float = 5.0
    on_cluster_loss: str = "fail"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job was accepted.

    Attributes:
        job_id: The job.
        at: When (POSIX seconds, the registry's clock).
        name: A name for people.
        capability_id: What it runs.
        run_key: Equal for equal work; None if it can neither be adopted nor reused.
        client: Who submitted it, for people: ``user@host``.
        submitted_at: When (POSIX seconds, the client's clock).
        shape: What it asks for and its overlay, as text; equal for jobs that are interchangeable to a scheduler.
        demand: What it asks for, by Ray's names of resources.
        store_uri: Where its results go.
        policy: How it is to be treated.
        stored: Whether its payload is in the ledger, so that it can be started by another registry.
        force: Whether equal work was to be ignored.
        recovers: The job whose staged outputs it commits, instead of running anything; empty for all others.
        reason: Why a job of its own was started, for people; empty if there was no equal one, None if not recorded.
        more: What a newer version has written into it besides; None for nothing.
    """

    job_id: str
    at: float
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
    recovers: str = ""
    reason: str | None = None
    more: dict[str, Any] | None = None
    kind: ClassVar[str] = "accepted"


@dataclass(frozen=True, slots=True)
class Adopted:
    """Another submission of equal work was given this job.

    Attributes:
        job_id: The job that was adopted or reused.
        at: When (POSIX seconds, the registry's clock).
        client: Who submitted it.
        request_id: The job id that the client had made for the submission.
        more: What a newer version has written into it besides; None for nothing.
    """

    job_id: str
    at: float
    client: str
    request_id: str
    more: dict[str, Any] | None = None
    kind: ClassVar[str] = "adopted"


@dataclass(frozen=True, slots=True)
class Started:
    """A job is about to be handed to a controller; nothing is before this is durable.

    Attributes:
        job_id: The job.
        at: When (POSIX seconds, the registry's clock).
        attempt: Which start of it, from 1.
        slot: The controller's name.
        incarnation: The controller's process.
        cause: Why it is started again (see :class:`checkmaite_ledger.directory.Cause`); empty for the first start.
        more: What a newer version has written into it besides; None for nothing.
    """

    job_id: str
    at: float
    attempt: int
    slot: str
    incarnation: str
    cause: str = ""
    more: dict[str, Any] | None = None
    kind: ClassVar[str] = "started"


@dataclass(frozen=True, slots=True)
class Began:
    """A worker said that it has begun. Informative: it is written along with other events, and may be missing.

    Attributes:
        job_id: The job.
        at: When (POSIX seconds, the worker's clock).
        attempt: Which start of it.
        place: Process and node, for people.
        more: What a newer version has written into it besides; None for nothing.
    """

    job_id: str
    at: float
    attempt: int
    place: str = ""
    more: dict[str, Any] | None = None
    kind: ClassVar[str] = "began"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something keeps a job that has begun from going on, or does so no more. Informative, as :class:`Began`.

    Attributes:
        job_id: The job.
        at: When (POSIX seconds, the registry's clock).
        attempt: Which start of it.
        reason: What it waits for, since when and why; empty once it goes on.
        more: What a newer version has written into it besides; None for nothing.
    """

    job_id: str
    at: float
    attempt: int
    reason: str = ""
    more: dict[str, Any] | None = None
    kind: ClassVar[str] = "waiting"


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """One start of a job is over, and the job has not ended with it. Exactly one of the last two is given.

    Attributes:
        job_id: The job.
        at: When (POSIX seconds, the registry's clock).
        attempt: Which start of it.
        cause: Why it is started again (see :class:`checkmaite_ledger.directory.Cause`).
        failure: What it is settled with otherwise: a :class:`checkmaite_core.failure.FailureRecord` as JSON text.
        more: What a newer version has written into it besides; None for nothing.
    """

    job_id: str
    at: float
    attempt: int
    cause: str = ""
    failure: str = ""
    more: dict[str, Any] | None = None
    kind: ClassVar[str] = "attempt_failed"


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Somebody asked for a job that may be running to be stopped.

    Attributes:
        job_id: The job.
        at: When (POSIX seconds, the registry's clock).
        client: Who asked.
        more: What a newer version has written into it besides; None for nothing.
    """

    job_id: str
    at: float
    client: str = ""
    more: dict[str, Any] | None = None
    kind: ClassVar[str] = "cancel"


@dataclass(frozen=True, slots=True)
class Ended:
    """A job has ended, for good.

    Attributes:
        job_id: The job.
        at: When (POSIX seconds, the registry's clock).
        status: A terminal :class:`checkmaite_core.JobStatus`.
        outcome: A :class:`checkmaite_core.outcome.Outcome` as JSON text.
        more: What a newer version has written into it besides; None for nothing.
    """

    job_id: str
    at: float
    status: str
    outcome: str
    more: dict[str, Any] | None = None
    kind: ClassVar[str] = "ended"


Event = Accepted | Adopted | Started | Began | Waiting | AttemptFailed | CancelRequested | Ended
_KINDS: dict[str, type[Any]] = {
    one.kind: one for one in (Accepted, Adopted, Started, Began, Waiting, AttemptFailed, CancelRequested, Ended)
}
_FIELDS: dict[type[Any], tuple[str, ...]] = {
    one: tuple(f.name for f in fields(one) if f.name != "more") for one in _KINDS.values()
}
_POLICY = tuple(f.name for f in fields(Policy))
_STATUSES = frozenset(str(status) for status in JobStatus)


def encode(event: Event) -> bytes:
    """One event as a JSON object, with what a newer version had written into it.

    Raises:
        ValueError: It could not be read back as it is.
    """
    values: dict[str, Any] = {"kind": event.kind}
    for name in _FIELDS[type(event)]:  # not asdict, which copies all that it meets and takes most of an append's time
        values[name] = getattr(event, name)
    if isinstance(event, Accepted):
        if not all(type(name) is str for name in event.demand):
            raise ValueError(f"a demand of job {event.job_id} is not named by a text: {event.demand!r}")
    elif isinstance(event, Ended) and event.status not in _STATUSES:
        raise ValueError(f"{event.status!r} is no status in which job {event.job_id} can have ended")
    if event.more:
        more = dict(event.more)
        if "policy" in more:
            values["policy"] = asdict(values["policy"]) | more.pop("policy")
        values |= more
    return json.dumps(values, separators=(",", ":"), default=asdict, allow_nan=False).encode()


def decode(data: bytes) -> Event:
    """The event of one JSON object; what this version does not know of its fields is kept.

    Raises:
        ValueError: It is of a kind or a status that this version does not know.
    """
    found = json.loads(data)
    kind = found.pop("kind", None)
    if kind not in _KINDS:
        raise ValueError(f"an event of the kind {kind!r}, which this version does not know")
    if kind == Ended.kind and found["status"] not in _STATUSES:
        raise ValueError(f"the status {found['status']!r}, which this version does not know")
    known = _FIELDS[_KINDS[kind]]
    more = {name: found.pop(name) for name in [*found] if name not in known}
    if kind == Accepted.kind:
        policy = found["policy"]
        beyond = {name: policy.pop(name) for name in [*policy] if name not in _POLICY}
        if beyond:
            more["policy"] = beyond
        found["policy"] = Policy(**policy | {"retry_exceptions": tuple(policy["retry_exceptions"])})
    event: Event = _KINDS[kind](**found, more=more or None)
    return event

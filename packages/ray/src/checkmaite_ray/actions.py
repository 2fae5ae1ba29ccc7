"""What the job directory has decided, carried out once it is durable: starting jobs, stopping and settling them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from checkmaite_core.errors import CheckmaiteError, PayloadError
from checkmaite_core.failure import FailureKind, FailureRecord
from checkmaite_core.location import place_of
from checkmaite_core.outcome import Unsettled
from checkmaite_core.provenance import utc_now
from checkmaite_core.settling import waits_for
from checkmaite_ledger import JobRecord
from checkmaite_ledger.directory import Action, AttemptEnd, Cancel, Cause, Decision, Directory, Launch, Settle
from checkmaite_ray.background import Background
from checkmaite_ray.launching import Item
from checkmaite_ray.protocol import Blob, with_storage_options
from checkmaite_ray.roster import Roster, by_slot
from checkmaite_ray.submissions import Submissions

__all__ = ["Actions"]


class Actions:
    """Hands actions to the controllers that they are for. Used on one event loop.

    Args:
        directory: What decided them; an action that it does not want any more is left out.
        submissions: What jobs need to be started.
        roster: The controllers.
        options: Storage options by place (:func:`checkmaite_core.location.place_of`),
            as clients have given them; they are looked up anew each time.
        decided: Called with what follows where an action cannot be carried out.
        unsettled: Called with the jobs that cannot be settled now, and what each waits for.
        work: What waits for submissions to be read back.
    """

    def __init__(
        self,
        directory: Directory,
        submissions: Submissions,
        roster: Roster,
        options: Mapping[str, dict[str, Any]],
        decided: Callable[[Decision], None],
        unsettled: Callable[[Mapping[str, str]], None],
        work: Background,
    ) -> None:
        self._directory = directory
        self._submissions = submissions
        self._roster = roster
        self._options = options
        self._decided = decided
        self._unsettled = unsettled
        self._work = work

    def take(self, actions: Sequence[Action]) -> None:
        """Carry them out."""
        launches, cancels, settles = [], [], []
        for action in actions:
            if isinstance(action, Cancel):
                cancels.append((action.slot, (action.job_id, action.attempt)))
                continue
            if not self._directory.wants(action):
                continue  # its controller has gone since it was decided
            data = self._submissions.at_hand(action.job_id)
            if data is None:
                self._work.spawn(self._later(action))
            elif isinstance(action, Launch):
                launches.append((action.slot, self._item(action, data)))
            else:
                settles.append((action.slot, self._settlement(action, data)))
        for slot, items in by_slot(launches).items():
            self._roster.launch(slot, [item for item in items if item is not None])
        for slot, jobs in by_slot(cancels).items():
            self._roster.cancel(slot, jobs)
        for slot, jobs in by_slot(settles).items():
            self._roster.settle(slot, jobs)

    async def _later(self, action: Launch | Settle) -> None:
        try:
            data = await self._submissions.get(action.job_id)
        except CheckmaiteError as error:
            if self._directory.wants(action):
                self._unreadable(action, error)
            return
        if not self._directory.wants(action):
            return
        if isinstance(action, Launch):
            item = self._item(action, data)
            if item is not None:
                self._roster.launch(action.slot, [item])
        else:
            self._roster.settle(action.slot, [self._settlement(action, data)])

    def _unreadable(self, action: Launch | Settle, error: CheckmaiteError) -> None:
        record, now = self._directory.jobs[action.job_id], time.time()
        if isinstance(action, Settle):
            since = utc_now() if action.since is None else datetime.fromtimestamp(action.since, UTC)
            reason = waits_for("the ledger, where what it ran is kept", since, error)
            self._unsettled({action.job_id: reason})
        else:
            failure = FailureRecord.from_exception(error, FailureKind.LOST, attempts=record.attempt)
            end = AttemptEnd(failure=failure, begun=record.attempt > 1)
            self._decided(self._directory.attempt_ended(action.job_id, record.attempt, end, now=now))

    def _item(self, action: Launch, data: bytes) -> Item | None:
        record = self._directory.jobs[action.job_id]
        if record.ended or record.attempt != action.attempt:
            return None
        blob = Blob.unpack(data)
        if not blob.payload:
            self._unreadable(
                action,
                PayloadError(
                    f"what job {record.job_id} ({record.name}) needs to be started was not kept "
                    "(store_submissions=False), and its registry had to start anew.",
                    hint="Submit it again; with store_submissions=True waiting jobs survive their registry.",
                ),
            )
            return None
        return Item(
            job_id=record.job_id,
            attempt=record.attempt,
            order=self.complete(blob.order, record.store_uri),
            overlay=blob.overlay,
            demand=record.demand,
            cancel_grace_seconds=record.policy.cancel_grace_seconds,
            retry_exceptions=_retried(record),
            payload=blob.payload,
        )

    def _settlement(self, action: Settle, data: bytes) -> tuple[str, str, str, str]:
        record = self._directory.jobs[action.job_id]
        blob = Blob.unpack(data)
        order = self.complete(blob.order, record.store_uri)
        since = None if action.since is None else datetime.fromtimestamp(action.since, UTC)
        return (record.job_id, order, blob.overlay, Unsettled(failure=action.failure, since=since).model_dump_json())

    def complete(self, order: str, store_uri: str) -> str:
        """A work order with the storage options of its store."""
        return with_storage_options(order, self._options.get(place_of(store_uri), {}))


def _retried(record: JobRecord) -> tuple[str, ...]:
    """The exceptions after which the job would be run again; none once it has been, as often as it may."""
    left = record.policy.exception_retries - Counter(record.causes)[Cause.RAISED]
    return record.policy.retry_exceptions if left > 0 else ()

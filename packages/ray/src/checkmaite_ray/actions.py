"""What the job directory has decided, carried out once it is durable: starting jobs, stopping and settling them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from checkmaite_core.errors import CheckmaiteError, PayloadError
from checkmaite_core.failure import FailureKind, FailureRecord
from checkmaite_ledger import JobRecord
from checkmaite_ledger.directory import Action, AttemptEnd, Cancel, Cause, Decision, Directory, Launch, Settle
from checkmaite_ray.background import Background
from checkmaite_ray.launching import Item
from checkmaite_ray.protocol import Blob, with_storage_options
from checkmaite_ray.roster import Roster, by_slot
from checkmaite_ray.settlement import unsettled
from checkmaite_ray.starts import Starts
from checkmaite_ray.submissions import Submissions

__all__ = ["Actions"]


class Actions:
    """Hands actions to the controllers that they are for. Used on one event loop.

    Args:
        directory: What decided them; an action that it does not want any more is left out.
        submissions: What jobs need to be started.
        roster: The controllers.
        options: Storage options by store URI, as clients have given them; they are looked up anew each time.
        decided: Called with what follows where an action cannot be carried out.
        work: What waits for submissions to be read back.
        failed: Called with what went wrong in a way that nobody foresaw.
    """

    def __init__(
        self,
        directory: Directory,
        submissions: Submissions,
        roster: Roster,
        options: Mapping[str, dict[str, Any]],
        decided: Callable[[Decision], None],
        work: Background,
        failed: Callable[[Exception], None],
    ) -> None:
        self._directory = directory
        self._submissions = submissions
        self._roster = roster
        self._options = options
        self._decided = decided
        self._work = work
        self._starts = Starts(directory.load, self._launch, failed)

    def take(self, actions: Sequence[Action]) -> None:
        """Carry them out."""
        cancels, settles = [], []
        self._starts.add([action for action in actions if isinstance(action, Launch)])
        for action in actions:
            if isinstance(action, Cancel):
                cancels.append((action.slot, (action.job_id, action.attempt)))
            elif isinstance(action, Settle):
                data = self._at_hand(action)
                if data is not None:
                    settles.append((action.slot, self._settlement(action, data)))
        self._starts.flush({slot for slot, _ in cancels})  # what is to be stopped must not come after its end
        for slot, jobs in by_slot(cancels).items():
            self._roster.cancel(slot, jobs)
        for slot, jobs in by_slot(settles).items():
            self._roster.settle(slot, jobs)

    @property
    def gathered(self) -> list[str]:
        """Jobs whose start waits for others."""
        return self._starts.jobs

    def hurry(self) -> None:
        """Let no start wait any more."""
        self._starts.flush()

    def stop(self) -> None:
        """Carry out nothing more."""
        self._starts.stop()

    def _launch(self, slot: str, launches: Sequence[Launch]) -> None:
        ready = [(launch, self._at_hand(launch)) for launch in launches]
        items = [self._item(launch, data) for launch, data in ready if data is not None]
        wanted = [item for item in items if item is not None]
        if wanted:
            self._roster.launch(slot, wanted)

    def _at_hand(self, action: Launch | Settle) -> bytes | None:
        """What the action needs; None if it is not wanted any more, or is done once that has been read back."""
        if not self._directory.wants(action):
            return None  # its controller has gone since it was decided
        data = self._submissions.at_hand(action.job_id)
        if data is None:
            self._work.spawn(self._later(action))
        return data

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
            outcome = unsettled(action.job_id, action.failure, error)
            self._decided(self._directory.settled(action.job_id, outcome, now=now))
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
        return (record.job_id, order, blob.overlay, action.failure.model_dump_json())

    def complete(self, order: str, store_uri: str) -> str:
        """A work order with the storage options of its store."""
        return with_storage_options(order, self._options.get(store_uri, {}))


def _retried(record: JobRecord) -> tuple[str, ...]:
    """The exceptions after which the job would be run again; none once it has been, as often as it may."""
    left = record.policy.exception_retries - Counter(record.causes)[Cause.RAISED]
    return record.policy.retry_exceptions if left > 0 else ()

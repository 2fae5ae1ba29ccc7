"""The state of a ledger, folded from a snapshot and the objects after it."""

from __future__ import annotations

from collections.abc import Iterator

from checkmaite_core.errors import CorruptObjectError
from checkmaite_ledger._entries import Location, decode_batch
from checkmaite_ledger._snapshot import decode_snapshot
from checkmaite_ledger.events import Accepted, Ended
from checkmaite_ledger.records import JobRecord, accept, evolve
from checkmaite_storage import Batch, Contents

__all__ = ["State"]


class State:
    """All jobs, and where the submissions of unfinished ones lie.

    Attributes:
        records: In the order of acceptance.
        places: By job id.
        events: How many were applied since the snapshot.
        deciding: The last epoch that appended an event; 0 if none has.
        uri: Where the ledger lies.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.records: list[JobRecord] = []
        self.places: dict[str, Location] = {}
        self.events = 0
        self.deciding = 0
        self._positions: dict[str, int] = {}

    @classmethod
    def of(cls, uri: str, contents: Contents) -> State:
        """What the contents of the log add up to."""
        state = cls(uri)
        if contents.snapshot is not None:
            state.records, state.places = decode_snapshot(contents.snapshot, f"{uri}/snapshots")
            state._positions = {record.job_id: number for number, record in enumerate(state.records)}
        state.deciding = contents.snapshot_epoch  # it had appended something, or would have had nothing to write
        for batch in contents.batches:
            state.apply(batch)
        return state

    def get(self, job_id: str) -> JobRecord | None:
        """One job, if it is known."""
        position = self._positions.get(job_id)
        return None if position is None else self.records[position]

    def newest_first(self) -> Iterator[JobRecord]:
        """The jobs, the one accepted last first."""
        return reversed(self.records)

    def apply(self, batch: Batch) -> None:
        """Fold one more object.

        Raises:
            CorruptObjectError: Its events do not fit what came before.
            StoreFormatError: A newer version wrote it.
        """
        uri = f"{self.uri}/log/{batch.number:016}"
        events, places = decode_batch(batch, uri)
        self.events += len(events)
        self.deciding = batch.epoch if events else self.deciding
        self.places |= places
        for event in events:
            position = self._positions.get(event.job_id)
            if isinstance(event, Accepted) and position is None:
                self._positions[event.job_id] = len(self.records)
                self.records.append(accept(event, len(self.records)))
            elif isinstance(event, Accepted) or position is None:
                what = "accepted before" if isinstance(event, Accepted) else "never accepted"
                raise CorruptObjectError(
                    f"{uri} holds the event {event.kind!r} of job {event.job_id}, which was {what}.",
                    hint="Objects of two ledgers were mixed; restore all of this one from a copy.",
                    uri=uri,
                )
            else:
                self.records[position] = evolve(self.records[position], event)
                if isinstance(event, Ended):
                    self.places.pop(event.job_id, None)

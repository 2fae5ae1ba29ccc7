"""The one who writes the ledger of a scope: a registry."""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from checkmaite_core.errors import PayloadError
from checkmaite_ledger._entries import InLog, Location, OwnObject, encode_batch, without_submissions
from checkmaite_ledger._layout import prefix_of
from checkmaite_ledger._replay import State
from checkmaite_ledger._snapshot import encode_snapshot
from checkmaite_ledger._submissions import OwnObjects
from checkmaite_ledger.directory import Change
from checkmaite_ledger.events import Accepted, Ended
from checkmaite_ledger.records import JobRecord
from checkmaite_ledger.settings import LedgerSettings
from checkmaite_storage import CommitLog, Contents, Epoch, LogWriter, ObjectStore, open_object_store

__all__ = ["LedgerWriter", "latest_epoch", "open_ledger"]


def open_ledger(uri: str, storage_options: Mapping[str, Any] | None = None) -> ObjectStore:
    """Where the ledgers of a location lie; nothing is created.

    Raises:
        PluginError: What opens such a location is not installed.
        ConfigurationError: It is no location, or an option is unknown.
    """
    return open_object_store(uri, storage_options)


def latest_epoch(objects: ObjectStore, scope: str) -> Epoch | None:
    """The latest incarnation that claimed a scope, whether or not it is alive; None before the first.

    Raises:
        ConfigurationError: ``scope`` cannot name a scope.
    """
    return CommitLog(objects, prefix_of(scope)).latest_epoch()


class LedgerWriter:
    """Makes changes durable until a later incarnation takes the scope over; made by :meth:`claim`.

    Every call may block on the store. One thread at a time calls :meth:`append`; :meth:`check`, :meth:`submission` and
    :meth:`maintain` (one at a time) may run beside it.

    Attributes:
        uri: Where the ledger lies.
        epoch: Which incarnation this is.
        deciding: The last incarnation that appended an event, None if none has: whoever claimed since has done nothing
            of what a change of cluster asks for.
        records: All jobs as they were when this incarnation began, in the order of acceptance.
    """

    def __init__(
        self,
        objects: ObjectStore,
        scope: str,
        log: CommitLog,
        writer: LogWriter,
        settings: LedgerSettings,
        known: State | None = None,
    ) -> None:
        prefix = prefix_of(scope)
        self.uri = f"{objects.uri}/{prefix.rstrip('/')}"
        self.epoch = writer.epoch
        self._settings = settings
        # Jobs start in the order in which they came, so one object of the log is asked for again and again.
        self._read = functools.lru_cache(maxsize=1)(log.get)
        self._writer = writer
        self._own = OwnObjects(objects, prefix, self.epoch.number)
        self._lock = threading.Lock()
        self._swept = False
        self._since: deque[tuple[int, int, int]] = deque()
        self._places: dict[str, Location] = {}
        self._jobs = 0
        self._snapshot_size = 0
        state = self._restore(writer.contents, known)
        self.records: list[JobRecord] = state.records
        self.deciding = log.epoch(state.deciding) if state.deciding else None
        writer.contents = Contents()

    @classmethod
    def claim(
        cls,
        objects: ObjectStore,
        scope: str,
        who: Mapping[str, Any],
        *,
        after: int,
        settings: LedgerSettings | None = None,
    ) -> LedgerWriter:
        """Become the writer of a scope, seal whoever was it before, and replay what happened.

        Args:
            objects: Where the ledger lies.
            scope: The scope.
            who: Who this is, for those who come later: plain JSON values.
            after: The number of the latest epoch that the caller has seen; 0 for none.
            settings: How to keep it; the defaults if left out.

        Raises:
            ConfigurationError: ``scope`` cannot name a scope.
            EpochTakenError: Another incarnation claimed it since; look at who it is, and decide again.
            SealedError: Another incarnation claimed it after this one, and is the writer.
            CorruptObjectError: The ledger is damaged; the error names the object.
            StoreFormatError: A newer version wrote it.
        """
        log = CommitLog(objects, prefix_of(scope))
        uri = f"{objects.uri}/{prefix_of(scope).rstrip('/')}"
        read: list[tuple[int, State]] = []

        def check(contents: Contents) -> None:
            read.append((contents.next_number, State.of(uri, contents)))

        writer = log.claim(who, after=after, keep=without_submissions, check=check)
        number, state = read[0]
        # With nothing more than its own seal behind what was read, that need not be replayed again.
        known = state if writer.contents.next_number == number + 1 else None
        return cls(objects, scope, log, writer, settings or LedgerSettings(), known)

    @property
    def number(self) -> int:
        """The last object of the log: at first its own seal, then what :meth:`append` returned last."""
        return self._writer.next_number - 1

    def forget_records(self) -> None:
        """Free the memory of :attr:`records`, once a directory has them."""
        self.records = []

    def append(self, changes: Sequence[Change], submissions: Mapping[str, bytes]) -> int:
        """Make changes durable, all or none, in one object of the log.

        After an error other than :class:`SealedError` nobody knows whether they are. Call it again with the same
        arguments to try again, or claim the scope anew.

        Args:
            changes: In the order in which they were decided.
            submissions: What a start of each job needs, by job id: for the accepted ones whose event says ``stored``;
                for others what there is to be kept of it.

        Returns:
            The object's number.

        Raises:
            SealedError: A later incarnation has the scope. Nothing was written, and nothing ever will be.
            StorageError: The store failed, or an earlier append did and its fate has not been settled.
            ValueError: Changes and submissions do not fit.
        """
        events = [change.event for change in changes]
        accepted = {event.job_id: event.stored for event in events if isinstance(event, Accepted)}
        if not {job_id for job_id, stored in accepted.items() if stored} <= submissions.keys() <= accepted.keys():
            raise ValueError("submissions must be of accepted jobs, and of all that say that theirs is stored")
        small, large = self._sorted(submissions)
        places = self._own.put(large)
        entries = encode_batch(events, small, places)
        number = self._writer.append(entries)
        with self._lock:
            self._places |= {job_id: InLog(number, 1 + len(events) + index) for index, job_id in enumerate(small)}
            self._places |= places
            ended = [(e.job_id, self._places.pop(e.job_id, None)) for e in events if isinstance(e, Ended)]
            self._jobs += sum(isinstance(event, Accepted) for event in events)
            self._since.append((number, len(events), sum(map(len, entries))))
        for job_id, place in ended:
            if isinstance(place, OwnObject):
                self._own.ended(job_id, place)
        return number

    def submission(self, job_id: str) -> bytes:
        """What a start of an unfinished job needs, as it was given to :meth:`append`.

        Raises:
            PayloadError: It was not stored, or the job has ended.
        """
        with self._lock:
            place = self._places.get(job_id)
        if isinstance(place, InLog):
            return self._read(place.number).entries[place.index]
        if place is not None:
            return self._own.get(place)
        raise PayloadError(
            f"{self.uri} does not hold the submission of job {job_id}: it was submitted with "
            "store_submissions=False, or the job has ended.",
            hint="Submit the work again from the client.",
        )

    def check(self) -> None:
        """Look whether somebody has taken the scope over, as an append would find out.

        Raises:
            SealedError: A later incarnation has it.
            StorageError: The store cannot be asked.
        """
        self._writer.check_seal()

    @property
    def maintenance_due(self) -> bool:
        """Whether :meth:`maintain` has something to do. Asks nothing of the store."""
        return not self._swept or self._own.released > 0 or self._snapshot_due()

    def maintain(self, records: Sequence[JobRecord], number: int) -> None:
        """Write a snapshot if one is due, and delete what is no longer needed.

        Args:
            records: All jobs, in the order of acceptance, as they are after object ``number`` of the log.
            number: The last object whose changes are in ``records``; of this incarnation.

        Raises:
            SealedError: A later incarnation has the scope.
        """
        if self._snapshot_due():
            with self._lock:
                places = dict(self._places)
            unfinished = {record.job_id for record in records if not record.ended}
            data = encode_snapshot(records, {job: place for job, place in places.items() if job in unfinished})
            self._writer.write_snapshot(number, data)
            with self._lock:
                self._since = deque(one for one in self._since if one[0] > number)
                self._snapshot_size = len(data)
        with self._lock:
            retain = {place.number for place in self._places.values() if isinstance(place, InLog)}
        self._writer.reclaim(retain=retain, grace=self._settings.grace_seconds)
        self._own.delete_released()
        if not self._swept:
            self._own.delete_left_behind()
            self._swept = True

    def _snapshot_due(self) -> bool:
        settings = self._settings
        with self._lock:
            events = sum(one[1] for one in self._since)
            size = sum(one[2] for one in self._since)
        return events >= max(settings.snapshot_events, settings.snapshot_ratio * self._jobs) or size >= max(
            settings.snapshot_bytes, self._snapshot_size
        )

    def _sorted(self, submissions: Mapping[str, bytes]) -> tuple[dict[str, bytes], dict[str, bytes]]:
        small: dict[str, bytes] = {}
        large: dict[str, bytes] = {}
        room = self._settings.batch_limit
        for job_id, data in submissions.items():
            if len(data) <= min(room, self._settings.inline_limit):
                small[job_id] = data
                room -= len(data)
            else:
                large[job_id] = data
        return small, large

    def _restore(self, contents: Contents, known: State | None) -> State:
        state = known or State.of(self.uri, contents)
        with self._lock:
            self._places = state.places
            self._jobs = len(state.records)
            self._since = deque([(contents.next_number - 1, state.events, 0)])
            self._snapshot_size = len(contents.snapshot or b"")
        self._own.restore(state.places)
        return state

"""A log of numbered objects with one writer at a time, on nothing but put-if-absent.

    <prefix>epochs/<n>       who the n-th incarnation of the writer is; never deleted
            log/<n>          the n-th object: a batch of entries, or the seal that begins an epoch
            snapshots/<n>    the state after object n

Why it is safe; each rule answers an interleaving that would lose data:

*One sequence of numbers.* Writers of all epochs compete for the same next number. Were there a sequence per epoch, a
stalled writer could append to its own while its successor reads, and the entry would be acknowledged and never seen.
Here the successor's seal takes the number that the stalled writer would append at: either the append is first, and
the successor reads it before it can place its seal, or the seal is, and the append fails.

*Seals are never deleted.* A writer may stall for days between two appends. Were the object at its next number
reclaimed by then, its append would succeed, at a place that nobody reads any more. What lies at the next number of a
sealed writer is always a seal.

*A claim looks at the snapshots after its seal.* A claimer that stalled while it read may put its seal where an
object has been reclaimed. Then there is a snapshot at or above that number, as the newest one is never deleted, and
the claimer reads again and seals further on. Its first seal lies below a snapshot, where nobody looks.

*A late claim of a lower epoch stops.* It meets an object or a snapshot of a higher epoch on its way to the end.

*A snapshot of a sealed writer is harmless.* It covers only what that writer had appended, so it is true, and its
number is below the successor's seal. Readers take the highest number, and the objects after it are still there.

*Deletion keeps two snapshots* and what comes after the older one, so that a damaged snapshot is not the end, and waits
for a grace period after the newer one, so that a reader can end what it began. A reader that is slower than that finds
something missing, sees that there is a newer snapshot, and begins again. With no newer one, it is damage.

*A lost answer is no lost race.* If the number is taken, the writer reads what is there, and its own bytes are success.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any

from checkmaite_core.errors import CorruptObjectError, EpochTakenError, ObjectExistsError, ObjectNotFoundError
from checkmaite_storage._commit_log_format import Batch, Epoch, decode_epoch, encode
from checkmaite_storage._commit_log_reader import Contents, Keep, LogReader
from checkmaite_storage._commit_log_writer import LogWriter, sealed
from checkmaite_storage._interface import ObjectStore

__all__ = ["CommitLog"]


class CommitLog:
    """A log of numbered objects with one writer at a time. Making one asks nothing of the store.

    Args:
        objects: Where it lies.
        prefix: What its keys begin with: empty, or a folder and ``/``.

    Raises:
        StorageError: No key can begin with ``prefix``.

    Example:
        >>> import tempfile
        >>> from checkmaite_storage import CommitLog, open_object_store
        >>> log = CommitLog(open_object_store(tempfile.mkdtemp()), "history/")
        >>> writer = log.claim({"host": "here"}, after=0)
        >>> writer.append([b"first", b"second"])
        2
        >>> [batch.entries for batch in log.read().batches]
        [(), (b'first', b'second')]
    """

    def __init__(self, objects: ObjectStore, prefix: str = "") -> None:
        self._reader = LogReader(objects, prefix)

    def latest_epoch(self) -> Epoch | None:
        """The latest incarnation that claimed the log, whether or not it is alive; None before the first."""
        numbers = self._reader.numbers("epochs")
        return self._reader.epoch(numbers[-1]) if numbers else None

    def epoch(self, number: int) -> Epoch:
        """One incarnation that claimed the log.

        Raises:
            ObjectNotFoundError: There is none of this number.
        """
        return self._reader.epoch(number)

    def epochs(self) -> list[Epoch]:
        """All incarnations that ever claimed the log, the first one first."""
        return [self._reader.epoch(number) for number in self._reader.numbers("epochs")]

    def read(self, keep: Keep = lambda batch: batch) -> Contents:
        """The newest snapshot and everything after it. Needs only the rights to get and list.

        Args:
            keep: What to keep of each batch, so that entries which are not needed take no memory. Called in the
                order of the log on local disk, elsewhere from several threads.

        Raises:
            CorruptObjectError: An object is damaged or missing; the error names it.
        """
        return self._reader.read(keep)

    def get(self, number: int) -> Batch:
        """Read one object.

        Raises:
            ObjectNotFoundError: It was never written, or has been reclaimed.
            CorruptObjectError: It is damaged.
        """
        return self._reader.batch(number)

    def claim(
        self,
        who: Mapping[str, Any],
        *,
        after: int,
        keep: Keep = lambda batch: batch,
        check: Callable[[Contents], object] = lambda contents: None,
    ) -> LogWriter:
        """Become the writer, and seal whoever was it before.

        Args:
            who: Who this is, for those who come later: plain JSON values.
            after: The number of the latest epoch that the caller has seen; 0 for none.
            keep: As for :meth:`read`.
            check: Called with what is there before anything is written; what it raises ends the claim. So a version
                that cannot read the log does not seal the one that can.

        Raises:
            EpochTakenError: Another incarnation claimed it since; look at who it is, and decide again.
            SealedError: Another incarnation claimed it after this one, and is the writer.
            ValueError: There is no epoch ``after``.
        """
        reader = self._reader
        if after:
            try:
                reader.epoch(after)
            except ObjectNotFoundError as error:
                raise ValueError(f"the log has no epoch {after}") from error
        epoch = Epoch(after + 1, secrets.token_hex(16), dict(who))
        contents = reader.read(keep)
        check(contents)
        self._announce(epoch)
        while True:
            if contents.epoch > epoch.number:
                raise sealed(reader, contents.epoch, epoch.number)
            placed, problem = None, None
            try:
                placed = self._seal(epoch, contents, keep)
            except (ObjectNotFoundError, CorruptObjectError) as error:
                problem = error
            newest = reader.newest_snapshot()
            if placed is not None and newest < placed.next_number - 1:
                return LogWriter(reader, epoch, placed)
            if problem is not None and newest < contents.next_number:
                raise problem
            contents = reader.read(keep)  # what we built on has been reclaimed

    def _announce(self, epoch: Epoch) -> None:
        key = self._reader.epoch_key(epoch.number)
        try:
            self._reader.objects.put_if_absent(key, encode(epoch))
        except ObjectExistsError:
            there = decode_epoch(self._reader.objects.get(key), epoch.number, self._reader.uri(key))
            if there.incarnation != epoch.incarnation:
                raise EpochTakenError(
                    f"epoch {epoch.number} of {self._reader.uri(self._reader.prefix.rstrip('/'))} was claimed "
                    "by another incarnation.",
                    hint="Read latest_epoch() to see who it is, and decide again.",
                    uri=self._reader.uri(key),
                    epoch=epoch.number,
                ) from None

    def _seal(self, epoch: Epoch, contents: Contents, keep: Keep) -> Contents:
        """Put the seal at the first free number, and return everything up to and with it."""
        reader = self._reader
        while True:
            number = contents.next_number
            seal = Batch(number, epoch.number, epoch.incarnation, seal=True)
            try:
                reader.objects.put_if_absent(reader.batch_key(number), encode(seal))
            except ObjectExistsError:
                there = reader.batch(number)
                if there != seal:
                    contents = reader.extended(contents, [keep(there)])
                    if contents.epoch > epoch.number:
                        raise sealed(reader, contents.epoch, epoch.number) from None
                    continue
            return reader.extended(contents, [seal])

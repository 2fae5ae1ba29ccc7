"""One incarnation of a commit log's writer."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Sequence

from checkmaite_core.errors import ObjectExistsError, ObjectNotFoundError, SealedError, StorageError
from checkmaite_storage._at_once import for_each
from checkmaite_storage._commit_log_format import Batch, Epoch, Snapshot, decode_batch, encode
from checkmaite_storage._commit_log_reader import Contents, Keep, LogReader

__all__ = ["LogWriter", "sealed"]


class LogWriter:
    """Appends to a log until a later incarnation seals it; made by :meth:`checkmaite_storage.CommitLog.claim`.

    Safe to use from several threads; appends take their turns.

    Attributes:
        epoch: Which incarnation this is.
        contents: Everything up to and with its own seal. Set it to ``Contents()`` when it is no longer needed.
    """

    def __init__(
        self, reader: LogReader, epoch: Epoch, contents: Contents, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.epoch = epoch
        self.contents = contents
        self._reader = reader
        self._clock = clock
        self._seals = contents.seals
        self._next = contents.next_number
        self._sealed: SealedError | None = None
        self._doubt: tuple[bytes, ...] | None = None
        self._turn = threading.Lock()
        self._seen: dict[int, float] = {}
        self._see(reader.numbers("snapshots"))

    @property
    def next_number(self) -> int:
        """The number that the next object will have."""
        return self._next

    def append(self, entries: Sequence[bytes]) -> int:
        """Add one object that holds ``entries``; durable when this returns.

        After an error other than :class:`SealedError` nobody knows whether the entries are in the log. Call it
        again with the same entries to try again (they are in the log once), or :meth:`recover` to find out.

        Returns:
            The object's number.

        Raises:
            SealedError: A later incarnation writes the log. Nothing was added, and nothing ever will be.
            StorageError: The object store failed, or an earlier append did and its fate has not been settled.
        """
        wanted = tuple(entries)
        with self._turn:
            self._check()
            if self._doubt is not None and self._doubt != wanted:
                raise StorageError(
                    f"{self._reader.uri(self._reader.batch_key(self._next))} may or may not have been written.",
                    hint="Append the same entries again, or call recover() to settle it and read what is there.",
                    uri=self._reader.uri(self._reader.batch_key(self._next)),
                )
            self._doubt = wanted  # before the request: an interrupt may leave it on its way
            while not self._put(wanted):
                pass  # a filler of ours took the number
            self._doubt = None
            return self._next - 1

    def recover(self, keep: Keep = lambda batch: batch) -> Contents:
        """Settle what became of an append that failed, and read everything, as :meth:`CommitLog.read` does.

        A request that is still on its way could arrive at any time; so its number is taken by an empty object,
        unless it has arrived.

        Raises:
            SealedError: A later incarnation writes the log.
        """
        with self._turn:
            self._check()
            if self._doubt is not None:
                self._put(())
                self._doubt = None
            contents = self._reader.read(keep)
            if contents.epoch != self.epoch.number:
                self._seal_by(contents.epoch)
            return contents

    def write_snapshot(self, number: int, data: bytes) -> None:
        """Keep the state after all objects up to ``number``, so that nobody needs to read those again.

        Args:
            number: An object of this incarnation: its seal or a later one.
            data: The state.

        Raises:
            SealedError: This incarnation is known to be sealed. (If it is not known yet, no harm is done.)
            ValueError: ``number`` is not of this incarnation.
        """
        self._check()
        if not self._seals[-1] <= number < self._next:
            raise ValueError(f"object {number} was not written by this incarnation")
        snapshot = Snapshot(number, self.epoch.number, self.epoch.incarnation, self._seals, data)
        with contextlib.suppress(ObjectExistsError):  # of ours: no other incarnation has written this number
            self._reader.objects.put_if_absent(self._reader.snapshot_key(number), encode(snapshot))
        self._see([number])

    def reclaim(self, *, retain: Collection[int] = (), grace: float) -> int:
        """Delete what snapshots stand in for: the log up to the second newest one, and older snapshots.

        A snapshot counts once it has been known here for ``grace`` seconds, so that who began to read before it
        can end. Seals stay for good, and so do the two newest snapshots.

        Args:
            retain: Numbers of objects that are still needed.
            grace: Seconds, of this process's own clock.

        Returns:
            How many objects were deleted.

        Raises:
            SealedError: A later incarnation writes the log; nothing was deleted.
        """
        now = self._clock()
        aged = sorted(number for number, seen in self._seen.items() if seen <= now - grace)
        if len(aged) < 2:
            return 0
        self.check_seal()
        limit = aged[-2]
        kept = {*self._seals, *retain}
        reader = self._reader
        keys = [reader.batch_key(one) for one in reader.numbers("log") if one <= limit and one not in kept]
        keys += [reader.snapshot_key(one) for one in reader.numbers("snapshots") if one < limit]
        for_each(reader.objects, reader.objects.delete, keys)
        for number in [one for one in self._seen if one < limit]:
            del self._seen[number]
        return len(keys)

    def _put(self, entries: tuple[bytes, ...]) -> bool:
        """Take the next number, for these entries if True; if False, an object of ours with others has it."""
        number, key = self._next, self._reader.batch_key(self._next)
        data = encode(Batch(number, self.epoch.number, self.epoch.incarnation, entries))
        try:
            self._reader.objects.put_if_absent(key, data)
        except ObjectExistsError:
            there = self._reader.objects.get(key)
            if there != data:
                batch = decode_batch(there, number, self._reader.uri(key))
                if batch.incarnation != self.epoch.incarnation:
                    self._seal_by(batch.epoch)
                self._next = number + 1
                return False
        self._next = number + 1
        return True

    def check_seal(self) -> None:
        """Look whether the next number is taken; what a successor puts there is its seal, which is never deleted.

        Raises:
            SealedError: A later incarnation writes the log.
        """
        self._check()
        with self._turn:
            try:
                batch = self._reader.batch(self._next)
            except ObjectNotFoundError:
                return
            if batch.incarnation != self.epoch.incarnation:
                self._seal_by(batch.epoch)

    def _see(self, snapshots: Collection[int]) -> None:
        now = self._clock()
        for number in snapshots:
            self._seen.setdefault(number, now)

    def _check(self) -> None:
        if self._sealed is not None:
            raise sealed(self._reader, self._sealed.epoch, self.epoch.number)

    def _seal_by(self, epoch: int) -> None:
        self._sealed = sealed(self._reader, epoch, self.epoch.number)
        raise self._sealed


def sealed(reader: LogReader, by: int, ours: int) -> SealedError:
    """The error for an incarnation that is no longer the writer."""
    uri = reader.uri(reader.epoch_key(by))
    return SealedError(
        f"epoch {ours} of {reader.uri(reader.prefix.rstrip('/'))} is sealed: epoch {by} writes it now.",
        hint=f"Stop this writer; {uri} says who took over.",
        uri=uri,
        epoch=by,
    )

"""Reading a commit log, beside writers that append, write snapshots and reclaim."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from checkmaite_core.errors import CorruptObjectError, ObjectNotFoundError
from checkmaite_storage._at_once import for_each
from checkmaite_storage._commit_log_format import Batch, Epoch, Snapshot, decode_batch, decode_epoch, decode_snapshot
from checkmaite_storage._interface import ObjectStore
from checkmaite_storage._keys import check_prefix

__all__ = ["Contents", "Keep", "LogReader"]

Keep = Callable[[Batch], Batch]
"""What to keep in memory of each batch as it is read: the same batch, or one with other entries."""

_WIDTH = 16


@dataclass(frozen=True, slots=True)
class Contents:
    """What a log holds.

    Attributes:
        snapshot: The newest snapshot's state; None if there is none.
        snapshot_number: The last object that it covers; 0 if there is none.
        snapshot_epoch: The epoch that wrote it; 0 if there is none.
        batches: The objects after it, in order.
        epoch: The epoch in force at the end; 0 for an empty log.
        incarnation: Its incarnation.
        seals: The numbers of all seals.
        next_number: The number of the object that comes next.
    """

    snapshot: bytes | None = None
    snapshot_number: int = 0
    batches: tuple[Batch, ...] = ()
    epoch: int = 0
    incarnation: str = ""
    seals: tuple[int, ...] = ()
    next_number: int = 1
    snapshot_epoch: int = 0


class LogReader:
    """Keys and objects of one log.

    Args:
        objects: Where it lies.
        prefix: What its keys begin with: empty, or a folder and ``/``.
    """

    def __init__(self, objects: ObjectStore, prefix: str) -> None:
        self.objects = objects
        self.prefix = check_prefix(prefix)

    def batch_key(self, number: int) -> str:
        """The key of one object of the log."""
        return f"{self.prefix}log/{number:0{_WIDTH}}"

    def snapshot_key(self, number: int) -> str:
        """The key of a snapshot."""
        return f"{self.prefix}snapshots/{number:0{_WIDTH}}"

    def epoch_key(self, number: int) -> str:
        """The key of an epoch."""
        return f"{self.prefix}epochs/{number:0{_WIDTH}}"

    def uri(self, key: str) -> str:
        """The URI of one of the keys."""
        return f"{self.objects.uri}/{key}"

    def batch(self, number: int) -> Batch:
        """Read one object of the log."""
        key = self.batch_key(number)
        return decode_batch(self.objects.get(key), number, self.uri(key))

    def snapshot(self, number: int) -> Snapshot:
        """Read one snapshot."""
        key = self.snapshot_key(number)
        return decode_snapshot(self.objects.get(key), number, self.uri(key))

    def epoch(self, number: int) -> Epoch:
        """Read one epoch."""
        key = self.epoch_key(number)
        return decode_epoch(self.objects.get(key), number, self.uri(key))

    def numbers(self, folder: str) -> list[int]:
        """The numbers of the objects in ``log``, ``snapshots`` or ``epochs``, ascending."""
        prefix = f"{self.prefix}{folder}/"
        names = (info.key.removeprefix(prefix) for info in self.objects.list(prefix))
        return [int(name) for name in names if len(name) == _WIDTH and name.isdecimal()]

    def newest_snapshot(self) -> int:
        """The number of the newest snapshot; 0 if there is none."""
        return max(self.numbers("snapshots"), default=0)

    def read(self, keep: Keep) -> Contents:
        """Everything; see :meth:`checkmaite_storage.CommitLog.read`."""
        newest = self.newest_snapshot()
        while True:
            contents, problem = None, None
            try:
                contents = self._read_from(newest, keep)
            except (ObjectNotFoundError, CorruptObjectError) as error:
                problem = error
            # Looked up after all was read: whatever had been reclaimed by then, this or a newer one had reclaimed it.
            later = self.newest_snapshot()
            if contents is not None and later < contents.next_number:
                return contents
            if later > newest:
                newest = later
            elif isinstance(problem, ObjectNotFoundError):
                raise CorruptObjectError(
                    f"{problem.uri} is missing, and no later snapshot stands in for it.",
                    hint="Restore this object from a copy; nothing of checkmaite deletes it.",
                    uri=problem.uri,
                ) from problem
            else:
                assert problem is not None
                raise problem

    def _read_from(self, newest: int, keep: Keep) -> Contents:
        contents = Contents()
        if newest:
            found = self.snapshot(newest)
            contents = Contents(
                found.data, newest, (), found.epoch, found.incarnation, found.seals, newest + 1, found.epoch
            )
        # Of objects that appear while it is made, a listing may show some and not others; the numbers tell.
        last = max(self.numbers("log"), default=0)
        numbers = range(newest + 1, last + 1)
        batches = for_each(self.objects, lambda number: keep(self.batch(number)), numbers)
        return self.extended(contents, batches)

    def extended(self, contents: Contents, batches: Sequence[Batch]) -> Contents:
        """Contents with the objects that come next.

        Raises:
            CorruptObjectError: They are not what a log can hold there.
        """
        in_force, seals = (contents.epoch, contents.incarnation), list(contents.seals)
        for batch in batches:
            theirs = (batch.epoch, batch.incarnation)
            if batch.seal and batch.epoch > in_force[0]:
                in_force = theirs
                seals.append(batch.number)
            elif batch.seal or theirs != in_force:
                uri = self.uri(self.batch_key(batch.number))
                raise CorruptObjectError(
                    f"{uri} is of epoch {batch.epoch}, but epoch {in_force[0]} was in force there.",
                    hint="Somebody copied or deleted single objects of this log; restore all of it from one copy.",
                    uri=uri,
                )
        return replace(
            contents,
            batches=(*contents.batches, *batches),
            epoch=in_force[0],
            incarnation=in_force[1],
            seals=tuple(seals),
            next_number=contents.next_number + len(batches),
        )

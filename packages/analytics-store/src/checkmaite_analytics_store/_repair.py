"""Mending the store's own metadata: a newest manifest, or a segment of its index, that cannot be read any more.

A repair publishes the next manifest, built from what is sound, and never changes an object. It loses no event: inbox
objects are deleted only when two manifests in a row list them, so what only the damaged one listed is still there.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Sequence

from checkmaite_analytics_store._bundle import Abandoned
from checkmaite_analytics_store._folded import FoldedReader
from checkmaite_analytics_store._inbox import Inbox, why
from checkmaite_analytics_store._index import EventIndex, EventState, SegmentEntry, encode_segment
from checkmaite_analytics_store._layout import INBOX, event_of_key, index_key, manifest_key
from checkmaite_analytics_store._manifest import Manifest, ManifestReader
from checkmaite_analytics_store._segments import SegmentWriter
from checkmaite_core.errors import CorruptObjectError, ObjectNotFoundError
from checkmaite_storage import ObjectStore

__all__ = ["Repairer"]


class Repairer:
    """Finds and mends damage of manifests and of the index."""

    def __init__(
        self,
        objects: ObjectStore,
        inbox: Inbox,
        manifests: ManifestReader,
        segments: SegmentWriter,
        reader: FoldedReader,
    ) -> None:
        self._objects = objects
        self._inbox = inbox
        self._manifests = manifests
        self._segments = segments
        self._reader = reader

    def replacement(self) -> tuple[Manifest | None, tuple[str, ...]]:
        """What to publish next in place of a damaged newest manifest or index, and the keys of what is damaged.

        Returns:
            None and no keys if neither is damaged.

        Raises:
            CorruptObjectError: The damage cannot be made good without losing something; it is named.
        """
        number = self._manifests.newest_number()
        if number == 0:
            return None, ()
        base, damaged = self._base(number)
        segments, unreadable = self._readable(base.segments)
        if not damaged and not unreadable:
            return None, ()
        writer = secrets.token_hex(16)
        if unreadable:
            before = number - 1 - len(damaged)
            states = self._rebuilt(base, before, segments, unreadable)
            segments = [*segments, self._segments.write(states, index_key(f"{number + 1:010d}-{writer}"))]
        keys = (*damaged, *(entry.key for entry in unreadable))
        update = {"number": number + 1, "writer": writer, "segments": tuple(segments)}
        return base.model_copy(update=update), keys

    def _base(self, number: int) -> tuple[Manifest, tuple[str, ...]]:
        """The newest manifest, or in its place the one before, with the keys of those that are damaged."""
        try:
            return self._manifests.read(number), ()
        except CorruptObjectError as error:
            damage = error
        key = manifest_key(number)
        if number == 1:
            return Manifest(number=1, writer="", tables={}, segments=()), (key,)
        try:
            return self._manifests.read(number - 1), (key,)
        except CorruptObjectError as error:
            raise CorruptObjectError(
                f"the two newest manifests of {self._objects.uri} are both corrupt: {key} ({why(damage)}) and "
                f"{manifest_key(number - 1)} ({why(error)}).",
                hint="Restore one of the two from a copy or an earlier version of the object, then fold again. The "
                "runs are still there: do not delete anything.",
                uri=f"{self._objects.uri}/{key}",
            ) from error

    def _readable(self, entries: Iterable[SegmentEntry]) -> tuple[list[SegmentEntry], list[SegmentEntry]]:
        sound, unreadable = [], []
        for entry in entries:
            try:
                self._manifests.segments.read(entry)
                sound.append(entry)
            except CorruptObjectError:
                unreadable.append(entry)
        return sound, unreadable

    def _rebuilt(
        self, base: Manifest, before: int, sound: Sequence[SegmentEntry], lost: Sequence[SegmentEntry]
    ) -> dict[str, EventState]:
        """The events of the lost segments.

        Folded ones stand in the table ``runs``. A settled one has its marker in the inbox until two manifests in a
        row list it. So with the index of the manifest before, or if there is none, nothing is missing. Without it,
        what was found must give the very bytes that were lost.
        """
        known = self._manifests.segments.index(sound)
        states: dict[str, EventState] = {}
        for entry in base.runs:
            for event_id in self._reader.read(entry, ["event_id"])["event_id"].to_pylist():
                if event_id not in known:
                    states[event_id] = EventState.FOLDED
        folded = dict(states)
        for event_id in self._markers():
            if event_id not in known:
                states.setdefault(event_id, EventState.ABANDONED)
        earlier = self._index_of(before)
        if earlier is not None:
            for segment in earlier.segments:
                for event_id, state in segment.items():
                    if event_id not in known:
                        states.setdefault(event_id, state)
            return states
        if len(lost) == 1:
            for found in (states, folded):
                if hashlib.sha256(encode_segment(found)).hexdigest() == lost[0].sha256:
                    return found
        key = lost[0].key
        raise CorruptObjectError(
            f"{self._objects.uri}/{key} is corrupt: the {sum(entry.count for entry in lost)} events that it listed "
            "cannot be told from elsewhere with certainty.",
            hint="Restore it from a copy or an earlier version of the object, then fold again: without it a late "
            "worker could store the results of a job that was settled as not completed.",
            uri=f"{self._objects.uri}/{key}",
        )

    def _markers(self) -> Iterator[str]:
        """The events whose markers lie in the inbox."""
        for info in self._objects.list(INBOX):
            event_id = event_of_key(info.key)
            try:
                if event_id is not None and isinstance(self._inbox.read(event_id), Abandoned):
                    yield event_id
            except (CorruptObjectError, ObjectNotFoundError):
                continue  # the fold will say of a damaged one that it is, and whatever it was it stays there

    def _index_of(self, number: int) -> EventIndex | None:
        """The whole index of a manifest; empty before the first one, None if it cannot be read."""
        if number < 1:
            return EventIndex()
        try:
            return self._manifests.index(self._manifests.read(number))
        except CorruptObjectError:
            return None

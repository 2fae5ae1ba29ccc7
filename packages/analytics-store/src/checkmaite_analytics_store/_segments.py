"""Writing the index: one new segment per fold, merged with the last ones of about its size."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from checkmaite_analytics_store._index import EventState, Segment, SegmentEntry, SegmentReader, encode_segment
from checkmaite_analytics_store._layout import index_key
from checkmaite_analytics_store._tiers import last_to_merge
from checkmaite_storage import ObjectStore

__all__ = ["SegmentWriter"]


class SegmentWriter:
    """Adds events to an index."""

    def __init__(self, objects: ObjectStore, reader: SegmentReader) -> None:
        self._objects = objects
        self._reader = reader

    def add(
        self, before: Sequence[SegmentEntry], events: Mapping[str, EventState], fold: str
    ) -> tuple[SegmentEntry, ...]:
        """The segments of an index with the events of ``before`` and ``events``.

        Raises:
            CorruptObjectError: A segment that is to be merged is damaged.
        """
        if not events:
            return tuple(before)
        count = last_to_merge([segment.count for segment in before], len(events))
        states = Segment(events)
        for segment in before[len(before) - count :]:
            found = self._reader.read(segment)
            states.update(found)
            states.more.update(found.more)
        return (*before[: len(before) - count], self.write(states, index_key(fold)))

    def write(self, states: Mapping[str, EventState], key: str) -> SegmentEntry:
        """Put one segment."""
        data = encode_segment(states)
        self._objects.put_if_absent(key, data)
        return SegmentEntry(key=key, size=len(data), sha256=hashlib.sha256(data).hexdigest(), count=len(states))

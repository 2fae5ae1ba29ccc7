"""The index of events that have left the inbox: sorted segments, each an object of its own.

A segment is text: a first line ``checkmaite-index 1``, then one line per event, sorted: the event id, a space,
and ``F`` (folded) or ``A`` (abandoned). Reading it takes no library. A fold adds one segment, and merges it with
earlier ones of about its size, so that n events lie in about log(n) segments.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from checkmaite_analytics_store._layout import INDEX
from checkmaite_analytics_store._sealed import corrupt
from checkmaite_core.errors import ObjectNotFoundError, StorageError
from checkmaite_storage import ObjectStore, check_key

__all__ = ["EventIndex", "EventState", "SegmentEntry", "SegmentReader", "encode_segment"]

_FIRST_LINE = b"checkmaite-index 1\n"


class EventState(Enum):
    """What became of an event; the value is its letter in a segment."""

    FOLDED = "F"
    ABANDONED = "A"


def _segment_key(key: str) -> str:
    if not key.startswith(INDEX):
        raise ValueError("the key is not one of an index segment")
    try:
        return check_key(key)
    except StorageError as error:
        raise ValueError(error.message) from error


class SegmentEntry(BaseModel):
    """One index segment, as a manifest names it.

    Attributes:
        key: Where it lies.
        size: Bytes.
        sha256: Digest in hex.
        count: Number of events.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: Annotated[str, AfterValidator(_segment_key)]
    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    count: Annotated[int, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class EventIndex:
    """All events of some segments."""

    segments: tuple[Mapping[str, EventState], ...] = ()

    def state(self, event_id: str) -> EventState | None:
        """What became of the event; None if it never left the inbox."""
        for segment in self.segments:
            if event_id in segment:
                return segment[event_id]
        return None

    def __contains__(self, event_id: object) -> bool:
        return any(event_id in segment for segment in self.segments)

    def __len__(self) -> int:
        return sum(map(len, self.segments))


def encode_segment(events: Mapping[str, EventState]) -> bytes:
    """The bytes of a segment."""
    return _FIRST_LINE + "".join(f"{event} {events[event].value}\n" for event in sorted(events)).encode()


def decode_segment(data: bytes, entry: SegmentEntry, uri: str) -> dict[str, EventState]:
    """Read back what :func:`encode_segment` made.

    Raises:
        CorruptObjectError: The bytes are not those that the manifest names.
    """
    if len(data) != entry.size or hashlib.sha256(data).hexdigest() != entry.sha256:
        raise corrupt(uri, "its size or checksum is not the one that the manifest names")
    letters = {state.value: state for state in EventState}
    try:
        lines = data.removeprefix(_FIRST_LINE).decode("ascii").splitlines()
        events = {event: letters[letter] for event, _, letter in (line.partition(" ") for line in lines)}
    except (UnicodeDecodeError, KeyError) as error:
        raise corrupt(uri, f"it is not an index segment ({error})") from error
    if len(events) != entry.count:
        raise corrupt(uri, f"it has {len(events)} events where the manifest says {entry.count}")
    return events


class SegmentReader:
    """Reads segments, once each: they never change."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._lock = threading.Lock()
        self._known: dict[str, Mapping[str, EventState]] = {}

    def index(self, entries: Iterable[SegmentEntry]) -> EventIndex:
        """The index that ``entries`` make.

        Raises:
            CorruptObjectError: One of them is damaged or gone.
        """
        return EventIndex(tuple(self.read(entry) for entry in entries))

    def read(self, entry: SegmentEntry) -> Mapping[str, EventState]:
        """One segment."""
        with self._lock:
            known = self._known.get(entry.sha256)
        if known is not None:
            return known
        uri = f"{self._objects.uri}/{entry.key}"
        try:
            data = self._objects.get(entry.key)
        except ObjectNotFoundError as error:
            raise corrupt(uri, "it is gone, but a manifest names it") from error
        events = decode_segment(data, entry, uri)
        with self._lock:
            while len(self._known) >= 64:
                self._known.pop(next(iter(self._known)))
            self._known[entry.sha256] = events
        return events

"""The index of events that have left the inbox: sorted segments, each an object of its own.

A segment is text: a first line ``checkmaite-index 1``, then one line per event, sorted: the event id, a space,
and ``F`` (folded) or ``A`` (abandoned); what a newer version writes after another space is kept. Reading it takes no
library. A fold adds one segment, and merges it with earlier ones of about its size, so that n events lie in about
log(n) segments.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Annotated

from pydantic import AfterValidator, Field

from checkmaite_analytics_store._layout import INDEX
from checkmaite_analytics_store._sealed import corrupt, newer, unknown_version
from checkmaite_core.errors import ObjectNotFoundError, RunContractError, StorageError
from checkmaite_core.evolving import Evolving
from checkmaite_core.naming import check_event_id
from checkmaite_storage import ObjectStore, check_key

__all__ = ["EventIndex", "EventState", "Segment", "SegmentEntry", "SegmentReader", "encode_segment"]

_VERSION = 1
_FIRST_LINE = b"checkmaite-index %d\n" % _VERSION
_ANY_FIRST_LINE = re.compile(rb"checkmaite-index ([^\n]{1,20})\n")


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


class SegmentEntry(Evolving):
    """One index segment, as a manifest names it.

    Attributes:
        key: Where it lies.
        size: Bytes.
        sha256: Digest in hex.
        count: Number of events.
    """

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


class Segment(dict[str, EventState]):
    """The events of one segment.

    Attributes:
        more: What a newer version has written behind an event's letter, by event.
    """

    def __init__(self, events: Mapping[str, EventState] = MappingProxyType({}), more: Mapping[str, str] | None = None):
        super().__init__(events)
        self.more: dict[str, str] = {**getattr(events, "more", {}), **(more or {})}


def encode_segment(events: Mapping[str, EventState]) -> bytes:
    """The bytes of a segment.

    Raises:
        RunContractError: An event's id is none that an index can hold.
    """
    more: Mapping[str, str] = getattr(events, "more", {})
    for event in events:
        check_event_id(event)
    lines = (" ".join((event, events[event].value, *filter(None, [more.get(event)]))) for event in sorted(events))
    return _FIRST_LINE + "".join(f"{line}\n" for line in lines).encode()


def decode_segment(data: bytes, entry: SegmentEntry, uri: str) -> Segment:
    """Read back what :func:`encode_segment` made.

    Raises:
        CorruptObjectError: The bytes are not those that the manifest names.
        StoreFormatError: They are, and a newer version wrote them.
    """
    if len(data) != entry.size or hashlib.sha256(data).hexdigest() != entry.sha256:
        raise corrupt(uri, "its size or checksum is not the one that the manifest names")
    first = _ANY_FIRST_LINE.match(data)
    if first is None:
        raise corrupt(uri, "it is not an index segment")
    if first[0] != _FIRST_LINE:
        raise unknown_version(uri, first[1].decode("ascii", "replace"), _VERSION)
    letters = {state.value: state for state in EventState}
    found = Segment()
    try:
        for line in data[first.end() :].decode("utf-8").split("\n")[:-1]:
            event, _, rest = line.partition(" ")
            letter, _, more = rest.partition(" ")
            check_event_id(event)
            if letter not in letters:
                raise newer(uri, f"an event in the state {letter!r}")
            found[event] = letters[letter]
            if more:
                found.more[event] = more
    except (UnicodeDecodeError, RunContractError) as error:
        raise corrupt(uri, f"it is not an index segment ({error})") from error
    if len(found) != entry.count:
        raise corrupt(uri, f"it has {len(found)} events where the manifest says {entry.count}")
    return found


class SegmentReader:
    """Reads segments, once each: they never change."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._lock = threading.Lock()
        self._known: dict[str, Segment] = {}

    def index(self, entries: Iterable[SegmentEntry]) -> EventIndex:
        """The index that ``entries`` make.

        Raises:
            CorruptObjectError: One of them is damaged or gone.
        """
        return EventIndex(tuple(self.read(entry) for entry in entries))

    def read(self, entry: SegmentEntry) -> Segment:
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

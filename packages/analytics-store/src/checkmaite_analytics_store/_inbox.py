"""The inbox: reading single events, and the whole of it beside a manifest as one consistent moment."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from checkmaite_analytics_store._bundle import Abandoned, StoredRun, decode
from checkmaite_analytics_store._index import EventIndex
from checkmaite_analytics_store._layout import INBOX, event_of_key, inbox_key
from checkmaite_analytics_store._manifest import Manifest, ManifestReader, QuarantineEntry
from checkmaite_analytics_store._schemas import SchemaRegistry
from checkmaite_analytics_store._sealed import corrupt
from checkmaite_core.errors import CorruptObjectError, ObjectNotFoundError
from checkmaite_core.record import ScalarType
from checkmaite_storage import ObjectInfo, ObjectStore, for_each

__all__ = ["Identity", "Inbox", "Snapshot", "TailEvent", "TailListing", "why"]


Identity = tuple[int, tuple[tuple[str, datetime], ...]]
"""Number of the manifest, and the events beside it."""


@dataclass(frozen=True, slots=True)
class TailEvent:
    """One event that is not folded yet.

    Attributes:
        event_id: The event.
        committed_at: When its object was made, by the server's clock.
        content: Its bundle, or the marker of an abandoned one.
    """

    event_id: str
    committed_at: datetime
    content: StoredRun | Abandoned


@dataclass(frozen=True, slots=True)
class TailListing:
    """What the inbox held that the newest manifest had not.

    Attributes:
        manifest: The newest manifest, read after the inbox was listed; None if there is none.
        index: Its index; empty where the inbox was.
        tail: Inbox objects of events that the index does not have.
        stale: Inbox objects of events that it has: folded ones that wait for their deletion, and stragglers.
    """

    manifest: Manifest | None
    index: EventIndex
    tail: tuple[ObjectInfo, ...]
    stale: tuple[ObjectInfo, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The store's content at one moment.

    Attributes:
        manifest: The folded part; None if nothing is folded.
        tail: Runs that are not folded yet, by event id.
        quarantined: Objects that answers have to leave out.
    """

    manifest: Manifest | None
    tail: tuple[TailEvent, ...]
    quarantined: tuple[QuarantineEntry, ...]

    @property
    def identity(self) -> Identity:
        """Equal for two snapshots of one store only if they hold the same."""
        number = self.manifest.number if self.manifest else 0
        return number, tuple((event.event_id, event.committed_at) for event in self.tail)


class Inbox:
    """Reads events; remembers those that are not folded yet, since they never change. Safe for several threads."""

    def __init__(self, objects: ObjectStore, manifests: ManifestReader, schemas: SchemaRegistry) -> None:
        self._objects = objects
        self._manifests = manifests
        self._schemas = schemas
        self._lock = threading.Lock()
        self._known: dict[str, tuple[ObjectInfo, StoredRun | Abandoned]] = {}
        self._latest: Manifest | None = None
        self._sound: set[tuple[str, tuple[tuple[str, ScalarType], ...]]] = set()

    def uri_of(self, event_id: str) -> str:
        """Where an event's object lies."""
        return f"{self._objects.uri}/{inbox_key(event_id)}"

    def read(self, event_id: str) -> StoredRun | Abandoned:
        """What lies at an event's key.

        Raises:
            ObjectNotFoundError: Nothing.
            CorruptObjectError: Neither a bundle nor a marker of this event.
        """
        return decode(self._objects.get(inbox_key(event_id)), event_id, self.uri_of(event_id))

    def list_tail(self) -> TailListing:
        """List the inbox first and read the newest manifest then.

        In the other order an event that is folded and deleted between the two would be in neither.
        """
        listed = [info for info in self._objects.list(INBOX) if event_of_key(info.key) is not None]
        if listed:
            manifest, index = self._manifests.newest_with_index()
        else:  # nothing to look up, so the index is not read
            manifest, index = self._manifests.newest(), EventIndex()
        self.trust(manifest)
        tail: list[ObjectInfo] = []
        stale: list[ObjectInfo] = []
        for info in listed:
            (stale if event_of_key(info.key) in index else tail).append(info)
        return TailListing(manifest, index, tuple(tail), tuple(stale))

    def trust(self, manifest: Manifest | None) -> None:
        """Take the types of columns whose registrations are damaged from the files of this manifest from now on."""
        self._latest = manifest

    def load(self, info: ObjectInfo, *, remember: bool = True) -> TailEvent:
        """Read one listed event, checked against the registered column types.

        Args:
            info: Its entry in the listing.
            remember: Keep it in memory for the next time, as long as it is not folded.

        Raises:
            ObjectNotFoundError: It is gone.
            CorruptObjectError: It cannot be used.
        """
        event_id = event_of_key(info.key)
        assert event_id is not None
        with self._lock:
            known = self._known.get(event_id)
        if known is not None and known[0] == info:
            return TailEvent(event_id, info.last_modified, known[1])
        content = self.read(event_id)
        if isinstance(content, StoredRun):
            self._check_types(content)
        if remember:
            with self._lock:
                self._known[event_id] = info, content
        return TailEvent(event_id, info.last_modified, content)

    def snapshot(self) -> Snapshot:
        """The store's content at one moment.

        Raises:
            CorruptObjectError: An object that is not quarantined cannot be read.
        """
        while True:
            listing = self.list_tail()
            quarantined = listing.manifest.quarantined if listing.manifest else ()
            left_out = {entry.key for entry in quarantined}
            try:
                wanted = [info for info in listing.tail if info.key not in left_out]
                events = for_each(self._objects, self.load, wanted)
            except ObjectNotFoundError as error:
                if self.moved_since(listing.manifest):
                    continue  # it was folded and deleted while we read: look again
                raise corrupt(error.uri, "it was listed, but is gone") from error
            self._forget_all_but(events)
            return Snapshot(listing.manifest, tuple(events), quarantined)

    def load_what_can_be(self, listed: Sequence[ObjectInfo]) -> list[TailEvent | CorruptObjectError | None]:
        """For each of these its event, what is wrong with it, or None if it is gone; nothing is remembered."""

        def attempt(info: ObjectInfo) -> TailEvent | CorruptObjectError | None:
            try:
                return self.load(info, remember=False)
            except CorruptObjectError as error:
                return error
            except ObjectNotFoundError:
                return None

        return for_each(self._objects, attempt, listed)

    def moved_since(self, manifest: Manifest | None) -> bool:
        """Whether there is a newer manifest: then objects that ``manifest`` speaks of may be gone by right."""
        return self._manifests.newest_number() != (manifest.number if manifest else 0)

    def _check_types(self, run: StoredRun) -> None:
        """A writer that skipped the registry must not give a column two types."""
        for table in run.tables:
            shape = table.name, tuple(table.columns.items())
            if shape in self._sound:
                continue
            for name, kind in table.columns.items():
                registered = self._type_of(run.event_id, table.name, name)
                if registered is not kind:  # its content holds, not the size that a listing tells
                    with contextlib.suppress(CorruptObjectError):
                        registered = self._schemas.type_of(table.name, name)
                if registered is not kind:
                    raise corrupt(
                        self.uri_of(run.event_id),
                        f"table {table.name!r}, column {name!r} is {kind}, but is registered as {registered}",
                    )
            self._sound.add(shape)  # registrations never change

    def _type_of(self, event_id: str, table: str, column: str) -> ScalarType | None:
        try:
            return self._schemas.listed_type_of(table, column)
        except CorruptObjectError as error:
            # Folded rows were checked against the registration when it could still be read.
            for entry in self._latest.files(table) if self._latest else ():
                kind = dict(entry.columns).get(column)
                if kind is not None:
                    return kind
            raise corrupt(
                self.uri_of(event_id),
                f"the type of its table {table!r}, column {column!r} is not known, as {error.message.rstrip('.')}",
            ) from error

    def _forget_all_but(self, events: list[TailEvent]) -> None:
        keep = {event.event_id for event in events}
        with self._lock:
            for event_id in [known for known in self._known if known not in keep]:
                del self._known[event_id]


def why(error: CorruptObjectError) -> str:
    """The reason in an error of :func:`corrupt`, without the object's name."""
    return error.message.partition(" is corrupt: ")[2].rstrip(".") or error.message

"""The submissions that are objects of their own: who needs which, and which may go."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Mapping

from checkmaite_core.errors import CorruptObjectError, ObjectExistsError
from checkmaite_ledger._entries import Location, OwnObject
from checkmaite_ledger._layout import PAYLOADS, payload_epoch, payload_key
from checkmaite_storage import ObjectStore, for_each

__all__ = ["OwnObjects"]


class OwnObjects:
    """Keeps equal submissions once, and deletes one when the last job that needs it has ended.

    Args:
        objects: Where they lie.
        prefix: What the keys of the ledger begin with.
        epoch: The epoch of the writer.
    """

    def __init__(self, objects: ObjectStore, prefix: str, epoch: int) -> None:
        self._objects = objects
        self._prefix = prefix
        self._epoch = epoch
        self._lock = threading.Lock()
        self._made = 0
        self._current: dict[str, OwnObject] = {}
        self._users: dict[OwnObject, set[str]] = {}
        self._released: set[OwnObject] = set()

    def put(self, submissions: Mapping[str, bytes]) -> dict[str, OwnObject]:
        """Make submissions durable, by job id. A repeat with the same ones changes nothing."""
        places: dict[str, OwnObject] = {}
        contents: dict[OwnObject, bytes] = {}
        with self._lock:
            for job_id, data in submissions.items():
                digest = hashlib.sha256(data).hexdigest()
                place = self._current.get(digest)
                if place is None:
                    # A number of its own: were the key used again, a deletion that arrives late could hit it.
                    self._made += 1
                    place = self._current[digest] = OwnObject(payload_key(self._epoch, digest, self._made), digest)
                self._users.setdefault(place, set()).add(job_id)  # before it is there, so that nobody deletes it
                places[job_id] = place
                contents[place] = data
        for_each(self._objects, self._put, contents.items())
        return places

    def _put(self, item: tuple[OwnObject, bytes]) -> None:
        place, data = item
        try:
            self._objects.put_if_absent(self._prefix + place.key, data)
        except ObjectExistsError:
            self.get(place)  # ours, of an earlier try or another job: the name says what it holds

    def get(self, place: OwnObject) -> bytes:
        """Read one.

        Raises:
            CorruptObjectError: It is damaged.
        """
        key = self._prefix + place.key
        data = self._objects.get(key)
        if hashlib.sha256(data).hexdigest() != place.sha256:
            uri = f"{self._objects.uri}/{key}"
            raise CorruptObjectError(
                f"{uri} is corrupt: its checksum does not fit.",
                hint="Submit the job again with force=True; the client still has what it submitted.",
                uri=uri,
            )
        return data

    def restore(self, places: Mapping[str, Location]) -> None:
        """Begin, or begin again after a failure, with where submissions lie by job id."""
        with self._lock:
            known = set(self._users)
            self._users = {}
            for job_id, place in places.items():
                if isinstance(place, OwnObject):
                    self._users.setdefault(place, set()).add(job_id)
            for place in known - set(self._users):
                self._release(place)

    def ended(self, job_id: str, place: OwnObject) -> None:
        """A job that needed one has ended, durably."""
        with self._lock:
            users = self._users.get(place, set())
            users.discard(job_id)
            if not users and self._users.pop(place, None) is not None:
                self._release(place)

    def _release(self, place: OwnObject) -> None:
        if self._current.get(place.sha256) == place:
            del self._current[place.sha256]
        self._released.add(place)

    @property
    def released(self) -> int:
        """How many may be deleted."""
        return len(self._released)

    def delete_released(self) -> None:
        """Delete those that no job needs any more."""
        with self._lock:
            places = list(self._released)
        self._delete(place.key for place in places)
        with self._lock:
            self._released.difference_update(places)

    def delete_left_behind(self) -> None:
        """Delete what earlier epochs left and no job needs. They are sealed, so none of it can be needed later."""
        found = (info.key.removeprefix(self._prefix) for info in self._objects.list(self._prefix + PAYLOADS))
        earlier = [key for key in found if (payload_epoch(key) or self._epoch) < self._epoch]
        with self._lock:
            needed = {place.key for place in self._users}
        self._delete(key for key in earlier if key not in needed)

    def _delete(self, keys: Iterable[str]) -> None:
        for_each(self._objects, lambda key: self._objects.delete(self._prefix + key), keys)

"""The store's first object: what marks a location as a store, and which format it has."""

from __future__ import annotations

import threading

from checkmaite_analytics_store._layout import FORMAT_KEY, FORMAT_VERSION, LEDGERS, PROBES
from checkmaite_analytics_store._sealed import check_format, seal, unseal
from checkmaite_core.errors import CorruptObjectError, ObjectExistsError, ObjectNotFoundError, StoreFormatError
from checkmaite_storage import ObjectStore

__all__ = ["StoreFormat"]


class StoreFormat:
    """Checks the format once per process, and founds the store at the first write. Safe for several threads."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._lock = threading.Lock()
        self._founded = False

    def exists(self) -> bool:
        """Whether there is a store that this version can read; nothing is created.

        Raises:
            StoreFormatError: Something else lies there, or a store of another format.
        """
        with self._lock:
            return self._check()

    def found(self) -> None:
        """Make sure that there is a store to write to, proving first that the location can hold one.

        A damaged ``store.json`` stops readers and no writer: there is a store, and what is put says its own version.

        Raises:
            StoreFormatError: As above.
            ConditionalPutError: The location does not honour put-if-absent.
        """
        with self._lock:
            try:
                if self._check():
                    return
            except CorruptObjectError:
                return
            self._objects.probe()
            body = {"format": FORMAT_VERSION, "probe": "put-if-absent was refused for an object that existed"}
            try:
                self._objects.put_if_absent(FORMAT_KEY, seal("store", body))
            except ObjectExistsError:
                self._check()  # another writer founded it in the meantime
            self._founded = True

    def _check(self) -> bool:
        if self._founded or self._read():
            self._founded = True
            return True
        foreign = next((info.key for info in self._objects.list() if not info.key.startswith((PROBES, LEDGERS))), None)
        if foreign is None:
            return False
        if self._read():  # founded between the two looks: store.json is written before everything else
            self._founded = True
            return True
        raise StoreFormatError(
            f"{self._objects.uri} is not an analytics store: it holds {foreign!r} but no {FORMAT_KEY}.",
            hint="Pass the location of a store, or an empty or new one; if this was a store, restore its "
            f"{FORMAT_KEY} from a copy.",
        )

    def _read(self) -> bool:
        uri = f"{self._objects.uri}/{FORMAT_KEY}"
        try:
            data = self._objects.get(FORMAT_KEY)
        except ObjectNotFoundError:
            return False
        check_format(unseal("store", data, uri), uri, FORMAT_VERSION)
        return True

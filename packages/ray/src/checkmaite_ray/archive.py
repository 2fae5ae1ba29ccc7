"""The packages of overlays, kept beside the ledger while unfinished jobs need them: for a cluster that has lost them.

An object's key names the epoch of the registry that put it, as with large submissions: a registry that was sealed
without knowing it deletes only its own, and its successor, which has made copies of what it needs, loses nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from typing import TYPE_CHECKING

from checkmaite_core.errors import ObjectExistsError
from checkmaite_ledger import prefix_of
from checkmaite_ray_simple.overlay import packages

if TYPE_CHECKING:
    from checkmaite_storage import ObjectStore

__all__ = ["PackageArchive"]


class PackageArchive:
    """Packages of one scope. Every call blocks on the store and the cluster.

    Args:
        objects: Where the ledger lies.
        scope: Whose it is.
        epoch: The registry's.
    """

    def __init__(self, objects: ObjectStore, scope: str, epoch: int) -> None:
        self._objects = objects
        self._all = f"{prefix_of(scope)}packages/"
        self._own = f"{self._all}e{epoch:010d}/"
        self._saved: set[str] = set()

    def save(self, uri: str) -> None:
        """Keep a package that the cluster has."""
        if uri in self._saved:
            return
        data = packages.fetch(uri)
        if data is not None:
            with contextlib.suppress(ObjectExistsError):  # its name is its content
                self._objects.put_if_absent(self._own + _name(uri), data)
            self._saved.add(uri)

    def put_back(self, uri: str) -> bool:
        """Give the cluster a package that it lacks; False if it is nowhere."""
        key = next((one.key for one in self._objects.list(self._all) if one.key.endswith(f"/{_name(uri)}")), None)
        if key is None:
            return False
        packages.put(uri, self._objects.get(key))
        return True

    def remove(self, uri: str) -> None:
        """Nothing needs it any more."""
        self._saved.discard(uri)
        self._objects.delete(self._own + _name(uri))

    def sweep(self, needed: Collection[str]) -> None:
        """Remove what earlier registries kept, apart from what is needed and not kept by this one yet."""
        names = {_name(uri) for uri in needed if uri not in self._saved}
        for one in list(self._objects.list(self._all)):
            if not one.key.startswith(self._own) and one.key.rpartition("/")[2] not in names:
                self._objects.delete(one.key)


def _name(uri: str) -> str:
    return uri.removeprefix("gcs://").replace("/", "_")

"""Removing inbox objects whose events have been in the manifests for longer than the grace period."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from checkmaite_analytics_store._layout import MANIFESTS, event_of_key, manifest_number
from checkmaite_analytics_store._manifest import ManifestReader
from checkmaite_core.errors import CorruptObjectError
from checkmaite_storage import ObjectInfo, ObjectStore, for_each

__all__ = ["Reclaimed", "reclaim"]


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """What a removal came to.

    Attributes:
        deleted: Objects removed.
        unwitnessed: Objects that could have gone, if a second manifest listed their events.
    """

    deleted: int = 0
    unwitnessed: int = 0


def reclaim(
    objects: ObjectStore, manifests: ManifestReader, candidates: Sequence[ObjectInfo], grace: float
) -> Reclaimed:
    """Delete those candidates that may go.

    What licenses a deletion is never a listing of the inbox, nor that some fold was ours: it is that a manifest
    older than ``grace`` (seconds, both times taken from the store's server) lists the event, and that the two newest
    manifests, read again now, still do. Two, because one of them may be damaged one day: the other then still tells
    of everything that has left the inbox. Whatever else lies at the event's key by now is a straggler's, and changes
    nothing.
    """
    if not candidates:
        return Reclaimed()
    now = objects.probe().last_modified
    listed = {number: info for info in objects.list(MANIFESTS) if (number := manifest_number(info.key))}
    ripe = [number for number, info in listed.items() if now - info.last_modified >= timedelta(seconds=grace)]
    if not ripe:
        return Reclaimed()
    try:
        old = manifests.index(manifests.read(max(ripe)))
    except CorruptObjectError:
        return Reclaimed()  # damaged, or a stub by now: a younger one will be old enough
    newest, index = manifests.newest_with_index()
    assert newest is not None
    licensed = [info for info in candidates if event_of_key(info.key) in old and event_of_key(info.key) in index]
    try:
        witness = manifests.index(manifests.read(newest.number - 1)) if newest.number > 1 else manifests.index(None)
    except CorruptObjectError:
        return Reclaimed(unwitnessed=len(licensed))  # the next manifest will be the second
    going = [info.key for info in licensed if event_of_key(info.key) in witness]
    for_each(objects, objects.delete, going)
    return Reclaimed(len(going), len(licensed) - len(going))

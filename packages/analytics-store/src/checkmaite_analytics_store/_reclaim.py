"""Removing inbox objects whose events have been in a manifest for longer than the grace period."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from checkmaite_analytics_store._layout import MANIFESTS, event_of_key, manifest_number
from checkmaite_analytics_store._manifest import ManifestReader
from checkmaite_storage import ObjectInfo, ObjectStore

__all__ = ["reclaim"]


def reclaim(objects: ObjectStore, manifests: ManifestReader, candidates: Sequence[ObjectInfo], grace: float) -> int:
    """Delete those candidates that may go; returns their number.

    What licenses a deletion is never a listing of the inbox, nor that some fold was ours: it is that a manifest
    older than ``grace`` (seconds, both times taken from the store's server) lists the event, and that the newest
    manifest, read again now, still does. Whatever else lies at the event's key by now is a straggler's, and
    changes nothing.
    """
    if not candidates:
        return 0
    now = objects.probe().last_modified
    ripe = [
        number
        for info in objects.list(MANIFESTS)
        if (number := manifest_number(info.key)) and now - info.last_modified >= timedelta(seconds=grace)
    ]
    if not ripe:
        return 0
    old = manifests.index(manifests.read(max(ripe)))
    newest = manifests.index(manifests.newest())
    deleted = 0
    for info in candidates:
        event_id = event_of_key(info.key)
        if event_id in old and event_id in newest:
            objects.delete(info.key)
            deleted += 1
    return deleted

"""Publishing: the one put by which the folded part of a store changes."""

from __future__ import annotations

import secrets

from checkmaite_analytics_store._layout import manifest_key
from checkmaite_analytics_store._manifest import Manifest, ManifestReader
from checkmaite_core.errors import CorruptObjectError, ObjectExistsError
from checkmaite_storage import ObjectStore

__all__ = ["publish", "publish_again"]


def publish(objects: ObjectStore, manifests: ManifestReader, manifest: Manifest) -> bool:
    """Put a manifest; False if another process took its number."""
    try:
        objects.put_if_absent(manifest_key(manifest.number), manifest.encode())
    except ObjectExistsError:
        try:
            # A connector may have retried a put whose answer got lost: then what is there is ours.
            return manifests.read(manifest.number).writer == manifest.writer
        except CorruptObjectError:
            return False  # a stub by now, or damaged: whoever looks for the newest one finds out
    return True


def publish_again(objects: ObjectStore, manifests: ManifestReader) -> None:
    """Let one more manifest say what the newest says, or find that another process has published meanwhile.

    Raises:
        CorruptObjectError: The newest manifest is damaged.
    """
    newest = manifests.newest()
    number, writer = newest.number + 1 if newest else 1, secrets.token_hex(16)
    empty = Manifest(number=1, writer=writer, tables={}, segments=())
    again = newest.model_copy(update={"number": number, "writer": writer}) if newest else empty
    publish(objects, manifests, again)

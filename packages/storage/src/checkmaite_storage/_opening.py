"""From a URI to an object store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checkmaite_core.location import canonical_uri, scheme_of
from checkmaite_core.plugins import STORAGE, load_plugin
from checkmaite_storage._interface import Connector, ObjectStore

__all__ = ["open_object_store"]


def open_object_store(uri: str, storage_options: Mapping[str, Any] | None = None) -> ObjectStore:
    """Open the object store at ``uri``; nothing is created before the first write.

    Args:
        uri: A path, a ``file://`` URI, or a URI whose scheme an installed connector has. Other spellings of one
            place open the same (:func:`checkmaite_core.location.canonical_uri`), and the store says it in one.
        storage_options: Passed on to the connector; never logged, stored or shown.

    Raises:
        PluginNotFoundError: No installed connector has the scheme; the hint names what to install.
        PluginBrokenError: The connector cannot be loaded.
        UnknownOptionError: The connector does not have one of the options.
        ConfigurationError: The URI cannot be a location.
    """
    location = canonical_uri(uri)
    connector: Connector = load_plugin(STORAGE, scheme_of(location))
    return connector(location, dict(storage_options or {}))

"""From a URI to an object store."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from checkmaite_core.errors import ConfigurationError
from checkmaite_core.plugins import STORAGE, load_plugin
from checkmaite_storage._interface import Connector, ObjectStore

__all__ = ["open_object_store"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?")


def open_object_store(uri: str, storage_options: Mapping[str, Any] | None = None) -> ObjectStore:
    """Open the object store at ``uri``; nothing is created before the first write.

    Args:
        uri: A path, a ``file://`` URI, or a URI whose scheme an installed connector has.
        storage_options: Passed on to the connector; never logged, stored or shown.

    Raises:
        PluginNotFoundError: No installed connector has the scheme; the hint names what to install.
        PluginBrokenError: The connector cannot be loaded.
        UnknownOptionError: The connector does not have one of the options.
        ConfigurationError: The URI cannot be a location.
    """
    if not uri.strip() or "\0" in uri:
        raise ConfigurationError(  # not shown: it may hold credentials
            "the location is empty or holds a NUL character.", hint="Pass a folder such as './store', or a URI."
        )
    scheme = _SCHEME.match(uri)
    if scheme is not None and scheme[2] is None and scheme[1].lower() != "file":
        scheme = None  # a path that happens to hold a colon
    connector: Connector = load_plugin(STORAGE, scheme[1].lower() if scheme else "file")
    return connector(uri, dict(storage_options or {}))

"""What the errors of a store or a location mean to the one who has to mend them."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit

from checkmaite_core.defects import explained
from checkmaite_core.errors import (
    AccessDeniedError,
    CheckmaiteError,
    ConditionalPutError,
    ConfigurationError,
    ContainerNotFoundError,
    ObjectNotFoundError,
    PluginError,
    StorageFullError,
    StorageUnreachableError,
    StoreFormatError,
    UnauthenticatedError,
)
from checkmaite_core.preflight.checks import Mender
from checkmaite_core.preflight.libraries import Trouble, missing_library

__all__ = ["explain_storage", "explain_store", "is_local", "path_of", "shown", "size_text"]

_SECRET = re.compile(r"(key|sig|signature|token|secret|password|pwd)=", re.IGNORECASE)

_MENDERS: tuple[tuple[type[CheckmaiteError], Mender, str], ...] = (
    (PluginError, "image", "it takes what is not installed there"),
    (ConfigurationError, "client", "it cannot be used as it is written"),
    (UnauthenticatedError, "cluster", "there are no credentials that count"),
    (AccessDeniedError, "storage", "the credentials are known, but not allowed to do it"),
    (ContainerNotFoundError, "storage", "there is no such bucket, container or folder"),
    (ObjectNotFoundError, "client", "nothing is there"),
    (StorageUnreachableError, "cluster", "the storage does not answer"),
    (StorageFullError, "storage", "there is no room left"),
    (ConditionalPutError, "storage", "it cannot hold results safely"),
    (StoreFormatError, "client", "something else lies there"),
)
"""By the most special class first: who mends it, and what it comes to."""


def explain_storage(error: BaseException, *, on_client: bool = False) -> Trouble:
    """Say what an error of a store, a connector or an object means, and who mends it.

    Args:
        error: What was raised.
        on_client: Whether it was raised by the client, and not by a worker.
    """
    library = missing_library(str(error))
    if library is not None:
        return library
    for kind, mender, meaning in _MENDERS:
        if isinstance(error, kind):
            own = on_client and mender in ("image", "cluster")
            return Trouble(f"{meaning}: {error.message}", "client" if own else mender, error.hint)
    if isinstance(error, CheckmaiteError):
        return Trouble(error.message, "storage", error.hint)
    found = f"it cannot be used: {type(error).__name__}: {error}"
    return Trouble(found, "storage", "look at the storage, and at what is installed there to reach it")


def explain_store(error: BaseException, backend: str, *, on_client: bool = False) -> Trouble:
    """Say what an error of a result store means: as :func:`explain_storage`, or that the plugin has a defect.

    Args:
        error: What was raised.
        backend: The store's name.
        on_client: As for :func:`explain_storage`.
    """
    if isinstance(error, CheckmaiteError | OSError | ImportError):
        return explain_storage(error, on_client=on_client)
    found = explained(error, "trying it", owner=f"the result store {backend!r}")
    return Trouble(found.message, "checkmaite", found.hint)


def is_local(location: str) -> bool:
    """Whether a location is a path on a file system."""
    return location.startswith("file:") or not (urlsplit(location).scheme and _has_scheme(location))


def path_of(location: str) -> str:
    """The path that a local location stands for."""
    if location.startswith("file:"):
        location = unquote(location.removeprefix("file:").removeprefix("//"))
    return os.path.expanduser(location)


def _has_scheme(location: str) -> bool:
    scheme, _, rest = location.partition(":")
    # One letter is a drive; "a/b:c" and "a b:c" are paths that happen to hold a colon.
    return len(scheme) > 1 and scheme.replace("+", "").replace("-", "").replace(".", "").isalnum() and bool(rest)


def shown(location: str) -> str:
    """A location without what may be a secret in it: user and password, the query, and all of a connection string."""
    if "://" not in location:
        secret = _SECRET.search(location)
        return location if secret is None else f"{location[: secret.start()]}..."
    scheme, _, rest = location.partition("://")
    rest = rest.partition("?")[0].partition("#")[0]
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}" + ("?..." if "?" in location else "")


def size_text(size: float) -> str:
    """Such as ``23 MB``."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"

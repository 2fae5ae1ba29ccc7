"""Where a store lies, in one spelling: what run keys, scopes, ledgers, options and messages compare and show.

``s3://b/p/``, ``s3a://b//p`` and ``S3://b/./p`` are one place; so are ``./x``, ``/home/me/x`` and a link to it.
:func:`canonical_uri` makes one text of them, and never one text of two places. It is applied where a location enters
(:class:`checkmaite_core.AnalyticsStoreConfig` and its like, the opening of a store, the command line); whoever compares
two texts that may be older uses :func:`same_place`.
"""

from __future__ import annotations

import os
import re
from typing import NewType
from urllib.parse import quote_from_bytes, unquote_to_bytes

from checkmaite_core._paths import absolute_path, resolved_path
from checkmaite_core.errors import ConfigurationError

__all__ = ["StoreUri", "canonical_uri", "local_path", "place_of", "same_place", "scheme_of"]

StoreUri = NewType("StoreUri", str)
"""A location as :func:`canonical_uri` spells it."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_FILE = re.compile(r"[Ff][Ii][Ll][Ee]:")
_FAMILIES = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "abfss": "az"}
_COLLAPSED = re.compile(rf"(?:{'|'.join(_FAMILIES)}|https?):/", re.IGNORECASE)
_AZURE_HOST = re.compile(r"([a-z0-9]+)\.(?:dfs|blob)\.(.+)\Z")


def canonical_uri(uri: str, *, resolve: bool = True) -> StoreUri:
    """The one spelling of a store's location.

    Args:
        uri: A path, a ``file:`` URI, or another URI.
        resolve: Follow symbolic links of a local path, as far as it exists on this machine. Without it an absolute
            path without ``..`` is taken at its word, as is right for one that another machine has resolved.

    Returns:
        A local folder is its absolute path without links, ``.`` and ``..``, in the spelling that the disk has; as a
        percent-encoded ``file://`` URI if it holds what is no printable text. An object store is
        ``s3://bucket/prefix``, ``gs://bucket/prefix``, ``az://container/prefix`` or, where the account is named,
        ``abfss://container@account.dfs.core.windows.net/prefix``, without empty, ``.`` and ``..`` steps in the prefix
        (no store of ours can lie at a key that has them). Names are not percent-decoded, and keep their case.

    Raises:
        ConfigurationError: It can be no location. What may be a secret is not shown.
    """
    if not uri.strip() or "\0" in uri:
        raise ConfigurationError(
            "the location is empty or holds a NUL character.", hint="Pass a folder such as './store', or a URI."
        )
    path = _path_in(uri)
    if path is not None:
        absolute = absolute_path(path)
        if resolve or ".." in absolute.split("/") or not os.path.isabs(path):
            absolute = resolved_path(absolute)
        return StoreUri(_spelled(absolute))
    if any(ord(character) < 32 or ord(character) == 127 for character in uri):
        raise ConfigurationError("the URI holds a control character.", hint="Leave it out.")
    scheme, _, rest = uri.partition("://")
    family = _FAMILIES.get(scheme.lower())
    if family is None:  # of somebody else's connector, which alone knows more
        return StoreUri(f"{scheme.lower()}://{rest.rstrip('/')}")
    return StoreUri(_object_store(family, rest))


def same_place(one: str, other: str) -> bool:
    """Whether two locations are the same; texts from a ledger or another process may have an older spelling."""
    return place_of(one) == place_of(other)


def place_of(uri: str) -> str:
    """The canonical spelling of what a ledger or another process wrote, and the text itself where it is no location.

    No link is followed: what was written elsewhere need not mean a path of this machine.
    """
    try:
        return canonical_uri(uri, resolve=False)
    except ConfigurationError:
        return uri


def scheme_of(uri: str) -> str:
    """``file`` for a path; else the scheme in its canonical spelling: ``s3``, ``gs``, ``az`` ..."""
    match = _SCHEME.match(uri)
    if match is None or _FILE.match(uri):
        return "file"
    scheme = match[1].lower()
    return _FAMILIES.get(scheme, scheme)


def local_path(uri: str) -> str | None:
    """The absolute path of a location on a file system; None if it lies elsewhere.

    Links and ``..`` stay as they are.

    Raises:
        ConfigurationError: It is a ``file:`` URI that names no path, or its home folder is unknown.
    """
    path = _path_in(uri)
    return None if path is None else absolute_path(path)


def _path_in(uri: str) -> str | None:
    """The path that a local location names, as given; None where it is not local."""
    if _FILE.match(uri):
        return _path_of_file_uri(uri)
    if _SCHEME.match(uri):
        return None
    if _SCHEME.match(uri.strip()) or _FILE.match(uri.strip()):
        raise ConfigurationError("the URI has spaces around it.", hint="Leave them out.")
    if _COLLAPSED.match(uri):
        raise ConfigurationError(
            "the location begins like a URI, but has one slash where two belong; it would be a folder of that name.",
            hint="Pass the URI as text, such as 's3://bucket/prefix' (pathlib.Path takes a slash away). A folder that "
            "is really called so is './s3:/...'.",
        )
    return uri


def _path_of_file_uri(uri: str) -> str:
    path = uri[5:]
    host = ""
    if path.startswith("//"):
        host, slash, path = path[2:].partition("/")
        path = slash + path
    # A tab or line end in a URI is left out by some programs and not by others.
    wrong = host.lower() not in ("", "localhost") or not path.startswith("/") or re.search(r"[?#\t\r\n]", path)
    decoded = unquote_to_bytes(os.fsencode(path))
    if wrong or b"\0" in decoded:
        raise ConfigurationError(
            "a file URI must hold an absolute path and no host, query or fragment.",
            hint="Write file:///absolute/path (three slashes; %23 for '#', %3F for '?'), or pass a plain path.",
        )
    return os.fsdecode(decoded)


def _spelled(path: str) -> str:
    try:
        path.encode()
    except UnicodeEncodeError:  # of another encoding than UTF-8: no JSON and no message can hold it as it is
        return "file://" + quote_from_bytes(os.fsencode(path), safe="/")
    return path if path.isprintable() else "file://" + quote_from_bytes(path.encode(), safe="/")


def _object_store(family: str, rest: str) -> str:
    container, _, path = rest.partition("/")
    if "?" in rest or "#" in rest:
        raise ConfigurationError(
            "the URI holds a query or a fragment, which may carry credentials (not shown).",
            hint="Leave it out, and put credentials into storage_options (such as token) or the environment.",
        )
    steps: list[str] = []
    for step in path.split("/"):
        if step == "..":
            if not steps:
                raise ConfigurationError(
                    "the URI's '..' leads out of its bucket or container.", hint="Write the location without '..'."
                )
            steps.pop()
        elif step not in ("", "."):
            steps.append(step)
    scheme = family
    if family == "az" and "@" in container:
        scheme = "abfss"  # what Spark, polars and DuckDB read as well
        name, _, host = container.partition("@")
        known = _AZURE_HOST.match(host.lower())
        container = f"{name}@{known[1]}.dfs.{known[2]}" if known else f"{name}@{host.lower()}"
    return f"{scheme}://{'/'.join((container, *steps))}"

"""Which version of its content a reference names, where that can be told without loading it."""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from checkmaite_core.code.finding import find_module

if TYPE_CHECKING:
    from checkmaite_core.inputs import InputRef

__all__ = ["NotVersionedError", "shown_uri", "version_of"]

_READ_MOST_BYTES = 64 * 2**20
"""Files that are this large together, or less, are known by their content; others by size and times."""
_MOST_FILES = 10_000
_HOOK = "version_of"
_LONGEST_SHOWN = 120


class NotVersionedError(Exception):
    """It cannot be told whether what a reference names is what it was before; the text says why."""


def version_of(reference: InputRef) -> str:
    """A text that changes with what is behind a reference.

    In this order: what its loader's ``version_of(uri)`` says (an attribute of the loader, or a function beside it in
    its module), and of a local file or folder its content, or sizes and times where that is much.

    Raises:
        NotVersionedError: There is none.
    """
    hook = _hook(reference.loader)
    if hook is not None:
        try:
            said = hook(reference.uri)
        except Exception as error:  # the user's code; its message stays out, for it may hold the URI's password
            raise NotVersionedError(f"its loader's version_of raised {type(error).__name__}") from error
        if isinstance(said, str) and said:
            return said
        raise NotVersionedError("its loader's version_of does not know the version")
    path = _local_path(reference.uri)
    if path is None:
        raise NotVersionedError("its uri has no version")
    return _of_path(path)


def shown_uri(uri: str) -> str:
    """A URI for people: without user, password, query and fragment, which may be secrets."""
    if "://" in uri:
        parts = urlsplit(uri)
        azure = parts.scheme.lower() in ("abfs", "abfss", "az") and ":" not in parts.netloc.partition("@")[0]
        shown = f"{parts.scheme}://{parts.netloc if azure else parts.netloc.rpartition('@')[2]}{parts.path}"
    else:
        shown = uri.partition("?")[0].rpartition("@")[2]
    return shown if len(shown) <= _LONGEST_SHOWN else f"...{shown[-_LONGEST_SHOWN:]}"


def _hook(loader: Any) -> Callable[[str], Any] | None:
    if not isinstance(loader, str):
        found = getattr(loader, _HOOK, None)
        return found if callable(found) else None
    name, _, function = loader.partition(":")
    module = sys.modules.get(name)
    if module is None:
        # Imported only where it has such a hook: it may be large, or be meant for workers alone.
        found = find_module(name)
        source = found.read() if found is not None and found.kind == "source" else None
        if source is None or _HOOK.encode() not in source:
            return None
        try:
            module = importlib.import_module(name)
        except Exception as error:  # the user's code
            raise NotVersionedError(f"its loader's module raised {type(error).__name__} when imported") from error
    for hook in (getattr(getattr(module, function, None), _HOOK, None), getattr(module, _HOOK, None)):
        if callable(hook):
            return hook  # type: ignore[no-any-return]
    return None


def _local_path(uri: str) -> str | None:
    if uri.lower().startswith("file:"):
        return unquote(urlsplit(uri).path)
    return None if "://" in uri else uri


def _of_path(path: str) -> str:
    try:
        files = list(_files(path))
        if not files:
            raise NotVersionedError("it is an empty folder on this machine")
        if sum(status.st_size for _, _, status in files) <= _READ_MOST_BYTES:
            facts = [(name, _digest_of(file)) for name, file, _ in files]
            return f"sha256:{_joined(facts)}"
        return f"state:{_joined([(name, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for name, _, s in files])}"
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise NotVersionedError("its uri is no path of this machine and has no version") from error
    except OSError as error:
        raise NotVersionedError(f"its files cannot be read here ({error.strerror})") from error


def _files(path: str) -> Iterator[tuple[str, str, os.stat_result]]:
    """Relative name, path and state of each file, sorted."""
    path = os.path.expanduser(path)
    status = os.stat(path)
    if not os.path.isdir(path):
        if not os.path.isfile(path):
            raise NotVersionedError("it is neither a file nor a folder")
        yield "", path, status
        return
    count = 0
    for here, folders, names in os.walk(path, onerror=_raise, followlinks=True):
        folders.sort()
        for name in sorted(names):
            count += 1
            if count > _MOST_FILES:
                raise NotVersionedError(f"it is a folder of more than {_MOST_FILES} files")
            file = os.path.join(here, name)
            yield os.path.relpath(file, path), file, os.stat(file)


def _raise(error: OSError) -> None:
    raise error


def _digest_of(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _joined(facts: list[Any]) -> str:
    return hashlib.sha256(repr(facts).encode("utf-8", "surrogateescape")).hexdigest()

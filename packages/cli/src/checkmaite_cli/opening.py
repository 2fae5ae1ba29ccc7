"""Opening the store that a command names."""

from __future__ import annotations

import contextlib
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from checkmaite_cli.console import make_console, plain
from checkmaite_core.errors import AccessDeniedError, StoreFormatError
from checkmaite_core.location import canonical_uri, local_path

if TYPE_CHECKING:
    from checkmaite_analytics_store import AnalyticsStore

__all__ = ["local_folder", "opened"]

STORE_FILE = "store.json"
"""What makes a folder an analytics store."""


def local_folder(uri: str) -> Path | None:
    """The folder that a store's location names, absolute and without links; None if it lies elsewhere.

    Raises:
        ConfigurationError: It can be no location.
    """
    path = local_path(canonical_uri(uri))
    return None if path is None else Path(path)


def _holds_store(folder: Path) -> bool:
    try:
        # Not is_file(), which from Python 3.14 on takes a folder that is closed to us for one without a store.
        return stat.S_ISREG((folder / STORE_FILE).stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        what = f"whether there is an analytics store at {folder} cannot be seen: {error.strerror}."
        if isinstance(error, PermissionError):
            hint = "Ask its owner for permission to read it, or check --store."
            raise AccessDeniedError(what, hint=hint, uri=canonical_uri(str(folder))) from error
        raise StoreFormatError(what, hint="Check --store, and the file system under it.") from error


@contextlib.contextmanager
def opened(uri: str) -> Iterator[AnalyticsStore]:
    """Open an existing store; a name that was mistyped must not look like a store without results.

    The store's warnings, such as one on damaged objects that an answer leaves out, go to stderr.

    Raises:
        StoreFormatError: Nothing is there.
        AccessDeniedError: Its folder is closed to this user.
        StoreError: It cannot be read.
    """
    folder = local_folder(uri)
    if folder is not None and not _holds_store(folder):
        what = "it holds something else, or nothing" if folder.is_dir() else "there is no such folder"
        raise StoreFormatError(
            f"there is no analytics store at {folder}: {what}.",
            hint='Check --store. A store comes into being with its first result, for instance by "checkmaite demo".',
        )
    from checkmaite_analytics_store import AnalyticsStore, QuarantinedObjectWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", QuarantinedObjectWarning)
        with contextlib.closing(AnalyticsStore(uri if folder is None else str(folder))) as store:
            yield store
    console = make_console(stderr=True)
    for warning in caught:
        text = Text.assemble(("warning: ", "bold yellow"), plain(warning.message, keep="\n"))
        console.print(text, soft_wrap=True)

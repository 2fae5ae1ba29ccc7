"""Opening the store that a command names."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from checkmaite_cli.console import make_console, plain
from checkmaite_core.errors import StoreFormatError

if TYPE_CHECKING:
    from checkmaite_analytics_store import AnalyticsStore

__all__ = ["local_folder", "opened"]

STORE_FILE = "store.json"
"""What makes a folder an analytics store."""


def local_folder(uri: str) -> Path | None:
    """The folder that a store's location names, absolute; None if it lies elsewhere."""
    if uri.startswith("file://"):
        return Path(uri.removeprefix("file://"))
    return None if "://" in uri else Path(uri).expanduser().absolute()


@contextlib.contextmanager
def opened(uri: str) -> Iterator[AnalyticsStore]:
    """Open an existing store; a name that was mistyped must not look like a store without results.

    The store's warnings, such as one on damaged objects that an answer leaves out, go to stderr.

    Raises:
        StoreFormatError: Nothing is there.
        StoreError: It cannot be read.
    """
    folder = local_folder(uri)
    if folder is not None and not (folder / STORE_FILE).is_file():
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

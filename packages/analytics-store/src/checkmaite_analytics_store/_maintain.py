"""Folding by itself: when it is time, and in the background of a process that writes many runs."""

from __future__ import annotations

import itertools
import threading
import warnings
from collections.abc import Callable

from checkmaite_analytics_store._layout import INBOX, event_of_key
from checkmaite_analytics_store._manifest import ManifestReader
from checkmaite_core.defects import explained
from checkmaite_core.errors import CorruptObjectError
from checkmaite_core.store import maintenance_warning
from checkmaite_storage import ObjectStore

__all__ = ["VACUUM_EVERY", "Upkeep", "fold_is_due"]

VACUUM_EVERY = 20
"""After so many manifests the maintenance that published the last of them also vacuums."""


def fold_is_due(objects: ObjectStore, manifests: ManifestReader, at_least: int) -> bool:
    """Whether so many events wait to be folded. The inbox is listed no further than it takes to know.

    The manifest is read first, so an event that is folded meanwhile may be counted: the fold finds out. It is due
    also where the newest manifest or its index is damaged, whatever waits: the fold mends that first.
    """
    try:
        manifest, index = manifests.newest_with_index()
    except CorruptObjectError:
        return True
    # A fold cannot move these. It tries them again, but they must not be what makes every shutdown fold.
    left_out = {entry.key for entry in manifest.quarantined} if manifest else set()
    waiting = (
        info
        for info in objects.list(INBOX)
        if (event := event_of_key(info.key)) is not None and event not in index and info.key not in left_out
    )
    return sum(1 for _ in itertools.islice(waiting, max(1, at_least))) >= max(1, at_least)


class Upkeep:
    """Counts what one store object writes directly, and has the store folded now and then. Safe for several threads.

    In a thread, so that no write waits for it; and not a daemon: Python waits for its end before it takes apart what
    Arrow needs. What goes wrong in it is told by the next write or close, or when the store object goes.

    Args:
        uri: The store's location, for messages.
        fold_after: How many writes are followed by a fold; 0 for never.
    """

    def __init__(self, uri: str, fold_after: int) -> None:
        self._uri = uri
        self._fold_after = fold_after
        self._lock = threading.Lock()
        self._written = 0
        self._thread: threading.Thread | None = None
        self._failure: str | None = None

    def wrote(self, maintain: Callable[[], None]) -> None:
        """One more run has been written; begin ``maintain()`` if it is time and none is at work."""
        with self._lock:
            self._written += 1
            at_work = self._thread is not None and self._thread.is_alive()
            if at_work or not self._fold_after or self._written < self._fold_after:
                return
            self._written = 0
            thread = threading.Thread(target=self._run, args=(maintain,), name="checkmaite-fold")
            try:
                thread.start()
            except RuntimeError as error:  # Python is ending; the run has been written all the same
                self._failure = str(error)
            else:
                self._thread = thread

    def finish(self, maintain: Callable[[], None]) -> None:
        """Wait for the fold that is at work; call ``maintain()`` if anything was written since; tell what failed."""
        thread = self._thread
        if thread is not None:
            thread.join()
        with self._lock:
            written, self._written = self._written, 0
        if written and self._fold_after:
            self._run(maintain)
        self.tell()

    def tell(self) -> None:
        """Warn once of what has failed."""
        with self._lock:
            failure, self._failure = self._failure, None
        if failure is not None:
            warnings.warn(maintenance_warning(self._uri, failure), stacklevel=3)

    def _run(self, maintain: Callable[[], None]) -> None:
        try:
            maintain()
        except Exception as error:  # the boundary of a thread, and of a service that nobody called: told as a warning
            failure: str | None = str(explained(error, "putting the store in order"))
        else:
            failure = None
        with self._lock:
            self._failure = failure

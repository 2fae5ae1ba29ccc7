"""Folding by itself: when it is time, and in the background of a process that writes many runs."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable
from datetime import timedelta

from checkmaite_analytics_store._layout import (
    INBOX,
    INDEX,
    MANIFESTS,
    TABLES,
    event_of_key,
    is_fold_file,
    manifest_number,
)
from checkmaite_analytics_store._manifest import ManifestReader, is_stub
from checkmaite_analytics_store._vacuum import KEPT_MANIFESTS
from checkmaite_core.defects import explained
from checkmaite_core.errors import CorruptObjectError
from checkmaite_core.notices import warn
from checkmaite_core.store import maintenance_warning
from checkmaite_storage import ObjectStore

__all__ = ["Upkeep", "fold_is_due", "vacuum_is_worth"]

_WORTH_OBJECTS = 100
_WORTH_BYTES = 64 * 1024 * 1024
"""A vacuum costs some listings and a manifest: it has to remove so many objects, or bytes."""


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


def vacuum_is_worth(objects: ObjectStore, manifests: ManifestReader, age: float) -> bool:
    """Whether a vacuum would remove so much that it is worth its costs. Three listings and at most two reads tell.

    What is counted are files and segments that were replaced, or never published, and manifests that can shrink. The
    newest manifest's time stands for now, which is never later; and of all manifests whose files must stay, the oldest
    and the newest stand for those between them. So it may err by what was published in between.

    Args:
        objects: The store.
        manifests: Reads its manifests.
        age: Seconds for which everything stays that nothing refers to.
    """
    newest = manifests.newest()
    if newest is None:
        return False
    listed = sorted((number, info) for info in objects.list(MANIFESTS) if (number := manifest_number(info.key)))
    until = listed[-1][1].last_modified - timedelta(seconds=age)
    before = [number for number, info in listed if info.last_modified <= until]
    named = newest.names()
    if before:
        with contextlib.suppress(CorruptObjectError):  # a stub, or damaged: the newest one tells enough
            named |= manifests.read(before[-1]).names()
    shrinking = (
        info
        for (_, info), (_, after) in itertools.pairwise(listed[: -KEPT_MANIFESTS + 1])
        if not is_stub(info) and after.last_modified <= until
    )
    unused = (
        info
        for prefix in (TABLES, INDEX)
        for info in objects.list(prefix)
        if info.last_modified <= until and is_fold_file(info.key) and info.key not in named
    )
    count = size = 0
    for info in itertools.chain(shrinking, unused):
        count += 1
        size += info.size
    return count >= _WORTH_OBJECTS or size >= _WORTH_BYTES


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
            warn(maintenance_warning(self._uri, failure), stacklevel=3)

    def _run(self, maintain: Callable[[], None]) -> None:
        try:
            maintain()
        except Exception as error:  # the boundary of a thread, and of a service that nobody called: told as a warning
            failure: str | None = str(explained(error, "putting the store in order"))
        else:
            failure = None
        with self._lock:
            self._failure = failure

"""A store's world under control: what its puts have decided, and where its processes stop or die."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest import mock

from faulty import Crash, Process, Server

from checkmaite_analytics_store import AnalyticsStore, StoreSettings
from checkmaite_analytics_store._bundle import StoredRun, decode
from checkmaite_analytics_store._layout import column_of_key, event_of_key
from checkmaite_analytics_store._schemas import registration
from checkmaite_core.errors import ObjectExistsError
from checkmaite_core.record import ScalarType
from checkmaite_core.reference import CapabilityRunRef
from checkmaite_storage import ObjectInfo

SHARED = ("inbox/", "manifests/", "reports/", "schemas/")
"""Where two processes can put an object at the same key."""


@dataclass(frozen=True)
class Committed:
    """An event: its reference, what orders it among those of its run, and its rows."""

    reference: CapabilityRunRef
    order: tuple[datetime, str, int, str]
    rows: list[dict[str, Any]]


class World(Server):
    """What every process shares. The first put at an event's key decides what the event is, for ever.

    Elapsed time is measured by the server's clock too, so that a test can let it pass.

    Args:
        root: Where the store lies.
        local: Whether processes may open its files by path.
        settings: With which every process opens it.

    Attributes:
        rows: The rows that each reference was committed with, by its time; noted before the commit.
        removed: Events whose objects have left the inbox at some time.
    """

    def __init__(self, root: Path, local: bool, settings: StoreSettings) -> None:
        super().__init__(root)
        self.local = local
        self._settings = settings
        self.committed: dict[str, Committed] = {}
        self.abandoned: set[str] = set()
        self.types: dict[tuple[str, str], ScalarType] = {}
        self.rows: dict[datetime, list[dict[str, Any]]] = {}
        self.removed: set[str] = set()

    def elapsed(self) -> float:
        return self.now.timestamp()

    def process(self) -> tuple[AnalyticsStore, Watched]:
        """A new one: it knows nothing yet."""
        objects = Watched(self)
        with mock.patch("checkmaite_analytics_store._store.open_object_store", return_value=objects):
            store = AnalyticsStore(self.root, settings=self._settings)
        store._folder._clock = self.elapsed
        return store, objects

    def note(self, method: str, key: str) -> None:
        """Note what a call has done."""
        event, column = event_of_key(key), column_of_key(key) if key.startswith("schemas/") else None
        if method == "delete" and event is not None:
            self.removed.add(event)
        if method != "put":
            return
        data = (self.root / key).read_bytes()
        if column is not None and column not in self.types:
            [self.types[column]] = [kind for kind in ScalarType if data == registration(*column, kind)]
        elif event is not None and event not in self.committed and event not in self.abandoned:
            found = decode(data, event, key)
            if isinstance(found, StoredRun):
                order = self.now, found.stamp.writer, found.stamp.sequence, event
                self.committed[event] = Committed(found.reference, order, self.rows[found.reference.created_at])
            else:
                self.abandoned.add(event)

    def manifests(self) -> list[Path]:
        return sorted((self.root / "manifests").glob("v*.json"))

    def quarantined(self) -> set[str]:
        """Keys that the newest manifest leaves out."""
        found = self.manifests()
        return {entry["key"] for entry in json.loads(found[-1].read_bytes())["body"]["quarantined"]} if found else set()


class Watched(Process):
    """The store as one process sees it.

    Attributes:
        dies_at: Number of the call around which it dies, counted twice: before and after.
        loses_answer_to: Number of the put, at a key that others use too, whose answer gets lost, so that its
            connector repeats it and finds the key taken. (Elsewhere a connector must find out that it was itself.)
        stepped: Stops it before each call.
    """

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._world = world
        self.dies_at: int | None = None
        self.loses_answer_to: int | None = None
        self.stepped: Stepped | None = None
        self.before = self._before
        self.after = self._after

    @property
    def is_local(self) -> bool:
        return self._world.local

    def probe(self) -> ObjectInfo:
        """Stops before it, not in its midst: after a day there, a vacuum has removed the probe, which it reports."""
        stepped, self.stepped = self.stepped, None
        try:
            if stepped is not None:
                stepped.pause("probe")
            return super().probe()
        finally:
            self.stepped = stepped

    def _before(self, method: str, key: str) -> None:
        if self.stepped is not None:
            self.stepped.pause(f"{method} {key}")
        self._maybe_die()

    def _after(self, method: str, key: str) -> None:
        self._world.note(method, key)
        self._maybe_die()
        if method == "put" and self.loses_answer_to is not None and key.startswith(SHARED):
            self.loses_answer_to -= 1
            if self.loses_answer_to < 0:
                self.loses_answer_to = None
                raise ObjectExistsError(f"{key} exists.", hint="none", uri=key)

    def _maybe_die(self) -> None:
        if self.dies_at is not None:
            self.dies_at -= 1
            if self.dies_at < 0:
                raise Crash


class Stepped:
    """An operation of a process of its own that stands still before each call to the store, until it is let on."""

    def __init__(self, world: World, action: Callable[[AnalyticsStore], None]) -> None:
        self._store, self._objects = world.process()
        self._go, self._stands = threading.Semaphore(0), threading.Semaphore(0)
        self._error: BaseException | None = None
        self._next = ""
        self.done = False
        self._thread = threading.Thread(target=self._run, args=(action,))
        self._objects.stepped = self
        self._thread.start()
        self._stands.acquire()

    def _run(self, action: Callable[[AnalyticsStore], None]) -> None:
        try:
            action(self._store)
        except BaseException as error:  # the boundary of a thread: raised again in the one that waits
            self._error = error
        finally:
            self.done = True
            self._stands.release()

    def pause(self, call: str) -> None:
        if threading.current_thread() is self._thread:  # what it asks in several threads at once, it asks at once
            self._next = call
            self._stands.release()
            self._go.acquire()

    def go_on(self, to: int | str | None) -> None:
        """Let it make so many calls, or go on to the next one that begins so, or to its end.

        An error of its action is raised here.
        """
        made = 0
        while not self.done and made != to and not (isinstance(to, str) and made and self._next.startswith(to)):
            made += 1
            self._go.release()
            self._stands.acquire()
        if self.done:
            self._thread.join()
            self._store.close()
            if self._error is not None:
                raise self._error

    def end(self) -> None:
        """Let it die where it stands."""
        self._objects.dies_at = 0
        with contextlib.suppress(Crash):
            self.go_on(None)

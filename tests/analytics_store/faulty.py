"""A store's server whose clock a test moves, and processes that stop or die at any call to it."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from checkmaite_analytics_store import AnalyticsStore, StoreSettings
from checkmaite_core.errors import AccessDeniedError
from checkmaite_storage import LocalObjectStore, ObjectInfo

PATIENCE = 60
"""Seconds after which a process that should have come to a call, or to its end, has gone astray."""


class Crash(BaseException):
    """Ends a process where a kill would; not an Exception, so that nobody handles it."""


class Server:
    """Objects on disk with whole-second times of a clock that stands still until it is moved."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def wait(self, *, hours: float) -> None:
        self.now += timedelta(hours=hours)

    def open(self, **settings: float) -> tuple[AnalyticsStore, Process]:
        """A new process: it knows nothing yet."""
        objects = Process(self)
        with mock.patch("checkmaite_analytics_store._store.open_object_store", return_value=objects):
            return AnalyticsStore(self.root, settings=StoreSettings(**settings)), objects  # type: ignore[arg-type]

    def store(self, **settings: float) -> AnalyticsStore:
        return self.open(**settings)[0]

    def damage(self, key: str, data: bytes = b"damaged") -> None:
        """Change an object's bytes as a failing disk does, so that its time stays."""
        path = self.root / key
        made = path.stat().st_mtime
        path.write_bytes(data)
        os.utime(path, (made, made))


def copy_of(server: Server, root: Path) -> Server:
    """Another server with the same objects and time."""
    shutil.copytree(server.root, root, copy_function=os.link)  # objects never change
    copy = Server(root)
    copy.now = server.now
    return copy


def telling(calls: list[str]) -> list[int]:
    """Of many calls the first, the middle one and the last of each kind, by number."""
    kinds: dict[str, list[int]] = {}
    for number, call in enumerate(calls):
        kinds.setdefault(call.partition("/")[0], []).append(number)
    return sorted({number for found in kinds.values() for number in (found[0], found[len(found) // 2], found[-1])})


class Process(LocalObjectStore):
    """The store as one process sees it; hooks around its calls say where it stops.

    Attributes:
        calls: What it has asked of the server: method and key.
        before: Called with method and key before each call.
        after: The same after it.
        may_delete: Whether it has the right to.
    """

    def __init__(self, server: Server) -> None:
        super().__init__(server.root)
        self._server = server
        self.calls: list[str] = []
        self.before: Callable[[str, str], None] = lambda _method, _key: None
        self.after: Callable[[str, str], None] = lambda _method, _key: None
        self.may_delete = True

    def _around(self, method: str, key: str, call: Callable[[], Any]) -> Any:
        self.calls.append(f"{method} {key}")
        self.before(method, key)
        try:
            return call()
        finally:  # also when the answer is an error
            self.after(method, key)

    def get(self, key: str) -> bytes:
        return self._around("get", key, lambda: super(Process, self).get(key))  # type: ignore[no-any-return]

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        return iter(self._around("list", prefix, lambda: list(super(Process, self).list(prefix))))

    def put_if_absent(self, key: str, data: bytes) -> None:
        def put() -> None:
            super(Process, self).put_if_absent(key, data)
            os.utime(self.path(key), (self._server.now.timestamp(),) * 2)

        self._around("put", key, put)

    def delete(self, key: str) -> None:
        def delete() -> None:
            if not self.may_delete:
                raise AccessDeniedError(f"{key} may not be deleted.", hint="none", uri=key)
            super(Process, self).delete(key)

        self._around("delete", key, delete)

    def dies(self, call: int, when: str) -> None:
        """Let the process die at its call of this number."""

        def crash(_method: str, _key: str) -> None:
            if len(self.calls) == call + 1:
                raise Crash

        setattr(self, when, crash)


class Parked:
    """A process that stands still before or after the first call that ``at`` picks, until it is let on.

    Args:
        objects: The store as the process sees it.
        action: What the process does.
        at: Whether to stop, by method and key.
        when: ``before`` or ``after`` the call.
    """

    def __init__(
        self, objects: Process, action: Callable[[], Any], at: Callable[[str, str], bool], when: str = "before"
    ) -> None:
        self._at = at
        self._stands, self._go = threading.Event(), threading.Event()
        self._answer: Any = None
        self._error: BaseException | None = None
        setattr(objects, when, self._maybe_park)
        self._thread = threading.Thread(target=self._run, args=(action,), daemon=True)
        self._thread.start()
        assert self._stands.wait(PATIENCE)
        assert self._thread.is_alive(), f"it never came there: {objects.calls}, {self._error!r}"

    def _run(self, action: Callable[[], Any]) -> None:
        try:
            self._answer = action()
        except BaseException as error:  # whatever it was, the test sees it when it asks for the answer
            self._error = error
        finally:
            self._stands.set()

    def _maybe_park(self, method: str, key: str) -> None:
        if threading.current_thread() is self._thread and not self._stands.is_set() and self._at(method, key):
            self._stands.set()
            assert self._go.wait(PATIENCE)

    def go_on(self) -> Any:
        """Let it work to its end; returns its answer or raises its error."""
        self._go.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error
        return self._answer

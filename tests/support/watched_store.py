"""An object store as one process sees it: a test may stop, fail or end the process at any call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from checkmaite_storage import LocalObjectStore, ObjectInfo

PATIENCE = 60
"""Seconds after which a process that should have come to a call, or to its end, has gone astray."""

AnswerT = TypeVar("AnswerT")


class Crash(BaseException):
    """Ends a process where a kill would; not an Exception, so that nobody handles it."""


class WatchedStore(LocalObjectStore):
    """Objects on disk, with hooks around each call.

    Attributes:
        calls: What was asked: method and key.
        before: Called with method and key before each call.
        after: The same after it, also if it failed.
    """

    def __init__(self, root: Any) -> None:
        super().__init__(root)
        self.calls: list[tuple[str, str]] = []
        self.before: Callable[[str, str], None] = lambda _method, _key: None
        self.after: Callable[[str, str], None] = lambda _method, _key: None

    def raises(self, error: BaseException, at: int, when: str) -> None:
        """Raise ``error`` once, ``before`` or ``after`` the call of this number from now, from 0."""
        wanted = len(self.calls) + at + 1

        def hook(_method: str, _key: str) -> None:
            if len(self.calls) == wanted:
                setattr(self, when, lambda _method, _key: None)
                raise error

        setattr(self, when, hook)

    def _around(self, method: str, key: str, call: Callable[[], AnswerT]) -> AnswerT:
        self.calls.append((method, key))
        self.before(method, key)
        try:
            return call()
        finally:
            self.after(method, key)

    def get(self, key: str) -> bytes:
        return self._around("get", key, lambda: super(WatchedStore, self).get(key))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        return iter(self._around("list", prefix, lambda: [*super(WatchedStore, self).list(prefix)]))

    def put_if_absent(self, key: str, data: bytes) -> None:
        self._around("put", key, lambda: super(WatchedStore, self).put_if_absent(key, data))

    def delete(self, key: str) -> None:
        self._around("delete", key, lambda: super(WatchedStore, self).delete(key))


class Parked:
    """A process that stands still before its call of one number, from 0, until it is let on."""

    def __init__(self, objects: WatchedStore, at: int, action: Callable[[], Any]) -> None:
        self._wanted = len(objects.calls) + at + 1
        self._objects = objects
        self._stands, self._go = threading.Event(), threading.Event()
        self._answer: Any = None
        self._error: BaseException | None = None
        objects.before = self._maybe_park
        self._thread = threading.Thread(target=self._run, args=(action,), daemon=True)
        self._thread.start()
        assert self._stands.wait(PATIENCE)
        self.parked = self._thread.is_alive() and not self._go.is_set()

    def _run(self, action: Callable[[], Any]) -> None:
        try:
            self._answer = action()
        except BaseException as error:  # whatever it was, the test sees it when it asks for the answer
            self._error = error
        finally:
            self._go.set()
            self._stands.set()

    def _maybe_park(self, _method: str, _key: str) -> None:
        if len(self._objects.calls) == self._wanted and not self._stands.is_set():
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

"""An object store as one process sees it: a test may stop, fail or end the process at any call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from checkmaite_storage import LocalObjectStore, ObjectInfo

AnswerT = TypeVar("AnswerT")


class Crash(BaseException):
    """Ends a process where a kill would; not an Exception, so that nobody handles it."""


class WatchedStore(LocalObjectStore):
    """Objects on disk, with hooks around each call.

    Attributes:
        calls: What was asked: method and key.
        before: Called with method and key before each call.
        after: The same after it, also if it failed.
        latest_put: Key and data of the latest put, which may still be on its way when a process dies.
    """

    def __init__(self, root: Any) -> None:
        super().__init__(root)
        self.latest_put = ("", b"")
        self.calls: list[tuple[str, str]] = []
        self.before: Callable[[str, str], None] = lambda _method, _key: None
        self.after: Callable[[str, str], None] = lambda _method, _key: None

    def once(
        self, wanted: Callable[[str, str], bool] | int, action: Callable[[], object], when: str = "before"
    ) -> None:
        """Do something ``before`` or ``after`` one call: the first that is wanted, or that of this number from now.

        What another process does while this one stands still there, or an error that it raises.
        """
        number = len(self.calls) + wanted + 1 if isinstance(wanted, int) else None

        def hook(method: str, key: str) -> None:
            if len(self.calls) == number or (callable(wanted) and wanted(method, key)):
                setattr(self, when, lambda _method, _key: None)
                action()

        setattr(self, when, hook)

    def calm(self) -> None:
        """Forget what was to be done before a call that never came."""
        self.before = lambda _method, _key: None

    def raises(self, error: BaseException, at: int, when: str) -> None:
        """Raise ``error`` once, ``before`` or ``after`` the call of this number from now, from 0."""

        def fail() -> None:
            raise error

        self.once(at, fail, when)

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
        self.latest_put = (key, data)
        self._around("put", key, lambda: super(WatchedStore, self).put_if_absent(key, data))

    def delete(self, key: str) -> None:
        self._around("delete", key, lambda: super(WatchedStore, self).delete(key))

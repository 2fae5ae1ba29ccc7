"""A result store that goes away when a test says so, for tests of backends: the real one, behind files as switches."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checkmaite_core.errors import StorageUnreachableError
from checkmaite_core.plugins import RESULT_STORES, load_plugin
from checkmaite_core.store import AnalyticsStoreConfig, CommitReceipt, RunBundle

__all__ = ["FAULTY_PLUGIN", "FAULTY_STORE", "Switches"]

FAULTY_PLUGIN: Mapping[str, Mapping[str, str]] = {
    RESULT_STORES.group: {"faulty": "checkmaite_core.testing._faulty_store:FAULTY_STORE"}
}
"""The entry point of the store ``faulty``; workers must find it too."""


@dataclass(frozen=True)
class Switches:
    """What the store does, by files in a folder that every process sees.

    Attributes:
        folder: The folder; it is an option of the store.
    """

    folder: Path

    def config(self, store: AnalyticsStoreConfig, name: str) -> AnalyticsStoreConfig:
        """A store like this one, at another place, that these switches are for."""
        options: dict[str, Any] = {
            "backend": store.backend,
            "folder": str(self.folder),
            "options": store.storage_options,
        }
        return AnalyticsStoreConfig(backend="faulty", uri=f"{store.uri}-{name}", storage_options=options)

    def go_away(self) -> None:
        """From now on nothing is answered."""
        (self.folder / "away").touch()

    def come_back(self) -> None:
        """Everything is answered again."""
        for name in ("lose", "die", "away"):
            (self.folder / name).unlink(missing_ok=True)

    def lose_the_next_answer(self) -> None:
        """The next commit is applied, its answer is lost, and then the store is away."""
        (self.folder / "lose").touch()

    def kill_who_commits_next(self) -> None:
        """The next commit is applied, its process is killed, and then the store is away."""
        (self.folder / "die").touch()

    def is_away(self) -> bool:
        """Whether nothing is answered."""
        return (self.folder / "away").exists()


class _FaultyStore:
    """The store behind the switches; everything that is not a commit goes to it as it is."""

    def __init__(self, store: Any, switches: Switches) -> None:
        self._store = store
        self._switches = switches

    def _check(self) -> None:
        if self._switches.is_away():
            raise StorageUnreachableError(
                f"{self._store.uri} does not answer: connection refused.", hint="Wait.", uri=self._store.uri
            )

    def commit(self, bundle: RunBundle) -> CommitReceipt:
        """Commit, unless the store is away, or goes away with it."""
        self._check()
        receipt: CommitReceipt = self._store.commit(bundle)
        folder = self._switches.folder
        if (folder / "die").exists():
            self._switches.go_away()
            (folder / "die").unlink()
            os._exit(9)
        if (folder / "lose").exists():
            self._switches.go_away()
            (folder / "lose").unlink()
            self._check()
        return receipt

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name in ("uri", "close") or not callable(found):
            return found
        return self._guarded(found)

    def _guarded(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self._check()
            return method(*args, **kwargs)

        return call


class _FaultyPlugin:
    """Opens them."""

    def open(self, uri: str, storage_options: Mapping[str, Any]) -> Any:
        """The store that ``backend`` among the options names, behind the switches in ``folder``."""
        store = load_plugin(RESULT_STORES, storage_options["backend"]).open(uri, storage_options["options"])
        return _FaultyStore(store, Switches(Path(storage_options["folder"])))


FAULTY_STORE = _FaultyPlugin()

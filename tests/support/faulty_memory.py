"""A store in memory that fails where it is told to, and the plugin that opens it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from checkmaite_core import InlineTextReport
from checkmaite_core.report import ArtifactReport
from checkmaite_core.store import CommitReceipt, RunBundle
from checkmaite_core.testing import MemoryResultStore


class FaultyStore(MemoryResultStore):
    """Raises where it was told to, before or after it did what it was asked for."""

    faults: ClassVar[dict[str, BaseException]] = {}
    late = False

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self.maintained: list[int] = []

    def _do(self, name: str, action: Callable[[], Any]) -> Any:
        fault = self.faults.get(name)
        result = action() if self.late or fault is None else None
        if fault is not None:
            raise fault
        return result

    def commit(self, bundle: RunBundle) -> CommitReceipt:
        receipt: CommitReceipt = self._do("commit", lambda: super(FaultyStore, self).commit(bundle))
        return receipt

    def settle(self, event_id: str) -> Any:
        return self._do("settle", lambda: super(FaultyStore, self).settle(event_id))

    def put_report(self, event_id: str, report: InlineTextReport) -> ArtifactReport:
        artifact: ArtifactReport = self._do("report", lambda: super(FaultyStore, self).put_report(event_id, report))
        return artifact

    def maintain(self, *, at_least: int = 1) -> None:
        self._do("maintain", lambda: self.maintained.append(at_least))


class FaultyPlugin:
    """Opens faulty stores."""

    def __init__(self) -> None:
        self.opened: dict[str, FaultyStore] = {}

    def open(self, uri: str, storage_options: Mapping[str, Any]) -> FaultyStore:
        if "open" in FaultyStore.faults:
            raise FaultyStore.faults["open"]
        return self.opened.setdefault(uri, FaultyStore(uri))

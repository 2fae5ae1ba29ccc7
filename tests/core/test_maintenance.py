"""A backend has its store put in order."""

from __future__ import annotations

import uuid

import pytest

from checkmaite_core import AnalyticsStoreConfig, StoreMaintenanceWarning
from checkmaite_core.errors import StoreError
from checkmaite_core.testing import MemoryResultStore, ThreadBackend
from checkmaite_core.testing._workloads import Data, Write, WriteConfig


@pytest.mark.usefixtures("fakes")
def test_a_backend_of_threads_maintains_the_store_at_its_end_once_and_tells_what_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    def maintain(self: MemoryResultStore, *, at_least: int = 1) -> None:
        asked.append(at_least)
        if len(asked) > 1:
            raise StoreError("it is full.", hint="Make room.")

    monkeypatch.setattr(MemoryResultStore, "maintain", maintain)
    store = AnalyticsStoreConfig(backend="memory", uri=f"memory://{uuid.uuid4()}")
    with ThreadBackend(store) as backend:
        backend.submit(Write(), datasets=[Data("data")], config=WriteConfig()).result(60)
    backend.shutdown()
    assert asked == [1]
    backend = ThreadBackend(store)
    backend.submit(Write(), datasets=[Data("data")], config=WriteConfig()).result(60)
    with pytest.warns(StoreMaintenanceWarning, match=f"{store.uri}(.|\\n)*it is full"):
        backend.shutdown()

from __future__ import annotations

import pytest

from checkmaite_storage import LocalObjectStore, ObjectStore
from checkmaite_storage.testing import ObjectStoreSuite


class TestLocal(ObjectStoreSuite):
    @pytest.fixture
    def store(self, store: LocalObjectStore) -> ObjectStore:
        return store

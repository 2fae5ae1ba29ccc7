from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from checkmaite_storage import ObjectStore, open_object_store
from checkmaite_storage.testing import ObjectStoreSuite, StorePromises

if TYPE_CHECKING:
    from conftest import Gcs


class TestGcs(ObjectStoreSuite):
    """The emulator ignores the condition, so what stands in for it here loses races."""

    promises = StorePromises(is_atomic=False, travels=False)

    @pytest.fixture
    def store(self, gcs: Gcs, bucket: str) -> ObjectStore:
        return open_object_store(f"gs://{bucket}/some/prefix", gcs.options())

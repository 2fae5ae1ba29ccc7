from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from checkmaite_storage import ObjectStore, open_object_store
from checkmaite_storage.testing import ObjectStoreSuite, StorePromises

if TYPE_CHECKING:
    from conftest import Azure


class TestAzure(ObjectStoreSuite):
    promises = StorePromises(travels=False)

    @pytest.fixture
    def store(self, azure: Azure, container: str) -> ObjectStore:
        return open_object_store(f"az://{container}/some/prefix", azure.connection())

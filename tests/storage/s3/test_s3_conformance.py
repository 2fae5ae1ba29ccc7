"""S3 keeps the contract of object stores, as far as moto shows it: moto checks the condition, and then writes."""

from __future__ import annotations

import pytest

from checkmaite_storage import ObjectStore
from checkmaite_storage._remote import RemoteObjectStore
from checkmaite_storage.testing import ObjectStoreSuite, StorePromises


class TestS3(ObjectStoreSuite):
    promises = StorePromises(is_atomic=False, travels=False)

    @pytest.fixture
    def store(self, store: RemoteObjectStore) -> ObjectStore:
        return store

"""A conformance suite for those who write storage connectors, and a proxy that makes their requests go wrong.

Needs ``pip install "checkmaite-core[testing]"`` (pytest and hypothesis).
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("checkmaite_storage.testing._suite")

from checkmaite_storage.testing._proxy import Fault, FaultProxy, ProxiedRequest, fault_proxy  # noqa: E402
from checkmaite_storage.testing._suite import ObjectStoreSuite, StorePromises  # noqa: E402

__all__ = ["Fault", "FaultProxy", "ObjectStoreSuite", "ProxiedRequest", "StorePromises", "fault_proxy"]

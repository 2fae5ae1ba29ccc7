"""The suite that every result store passes, whoever wrote it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from checkmaite_core import AnalyticsStoreConfig
from checkmaite_core.testing import ResultStoreSuite, StorePromises

if TYPE_CHECKING:
    from pathlib import Path


class TestAnalyticsStore(ResultStoreSuite):
    promises = StorePromises(has_sql=True, is_durable=True)

    @pytest.fixture
    def store_config(self, tmp_path: Path) -> AnalyticsStoreConfig:
        return AnalyticsStoreConfig(uri=str(tmp_path / "store"))

"""The fakes that we ship pass the suites that we ship."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import pytest

from checkmaite_core import AnalyticsStoreConfig
from checkmaite_core.testing import BackendPromises, JobBackendSuite, ResultStoreSuite, StorePromises

pytestmark = pytest.mark.usefixtures("fakes")


def _somewhere() -> AnalyticsStoreConfig:
    return AnalyticsStoreConfig(backend="memory", uri=f"memory://{uuid.uuid4()}")


class TestMemoryResultStore(ResultStoreSuite):
    promises = StorePromises(has_sql=False, is_durable=False)

    @pytest.fixture
    def store_config(self) -> AnalyticsStoreConfig:
        return _somewhere()


class TestThreadBackend(JobBackendSuite):
    kind = "threads"
    promises = BackendPromises(
        has_reattach=False,
        jobs_outlive_client=False,
        has_dedupe=False,
        has_live_status=True,
        has_live_progress=True,
        stops_running_code=False,
        isolates_jobs=False,
        checks_resources=False,
        slots=3,
        bounds_queue=True,
        retries_exceptions=True,
    )

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls) -> Mapping[str, Any]:
        return {"slots": 3}

    @pytest.fixture(scope="class")
    @classmethod
    def store_config(cls, fakes: None) -> AnalyticsStoreConfig:
        return _somewhere()

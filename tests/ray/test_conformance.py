"""The standard tests of every job backend, on a local Ray."""

from __future__ import annotations

import pytest
from ray_promises import PROMISES

from checkmaite_core import AnalyticsStoreConfig
from checkmaite_core.testing import JobBackendSuite


class TestRay(JobBackendSuite):
    kind = "ray"
    promises = PROMISES

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls):
        return {
            "address": "local",
            "num_cpus": 2,
            "max_retries": 1,
            "cancel_grace_seconds": 1.0,
            "idempotency_scope": "conformance",
        }

    @pytest.fixture(scope="class")
    @classmethod
    def small_queue(cls, options):
        return {**options, "idempotency_scope": "small-queue", "registry": {"max_unfinished": 2}}

    @pytest.fixture(scope="class")
    @classmethod
    def store_config(cls, tmp_path_factory):
        return AnalyticsStoreConfig(uri=str(tmp_path_factory.mktemp("store") / "store"))

    @classmethod
    def seeing(cls, options, folder):
        overlay = {"env_vars": {"PYTHONPATH": str(folder)}}
        ledger = {"uri": str(folder / "ledger")}  # which takes none of the store's options
        return {**options, "idempotency_scope": "faulty", "runtime_env": overlay, "ledger": ledger}

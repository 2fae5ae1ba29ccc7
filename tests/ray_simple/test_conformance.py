"""The standard tests of every job backend, on a local Ray."""

from __future__ import annotations

import pytest

from checkmaite_core import AnalyticsStoreConfig
from checkmaite_core.testing import BackendPromises, JobBackendSuite


class TestRaySimple(JobBackendSuite):
    kind = "ray-simple"
    promises = BackendPromises(
        has_reattach=False,
        jobs_outlive_client=False,
        has_dedupe=False,
        has_live_status=True,
        has_live_progress=True,
        stops_running_code=True,
        isolates_jobs=True,
        checks_resources=True,
        slots=2,
        bounds_queue=True,
        retries_exceptions=True,
        restores_processes=True,
    )

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls):
        return {"address": "local", "num_cpus": 2, "max_retries": 1, "cancel_grace_seconds": 1.0}

    @pytest.fixture(scope="class")
    @classmethod
    def store_config(cls, tmp_path_factory):
        return AnalyticsStoreConfig(uri=str(tmp_path_factory.mktemp("store") / "store"))

    @classmethod
    def seeing(cls, options, folder):
        return {**options, "runtime_env": {"env_vars": {"PYTHONPATH": str(folder)}}}

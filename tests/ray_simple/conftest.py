"""A local Ray for the tests of ray-simple."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ray_fixtures import cluster, own_folders, travelling_code, until, work

from checkmaite_core import JobBackend, configure_job_backend

__all__ = ["cluster", "own_folders", "travelling_code", "until", "work"]

GRACE = 1.0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {"backend": "parquet", "uri": str(tmp_path_factory.mktemp("results") / "store")}


@pytest.fixture(scope="module")
def local(store: dict[str, str]) -> Iterator[JobBackend]:
    with configure_job_backend(
        "ray-simple", analytics_store=store, address="local", num_cpus=2, cancel_grace_seconds=GRACE, max_retries=1
    ) as backend:
        yield backend

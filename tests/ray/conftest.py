"""Clients of the ray backend on a local Ray and on clusters; each test module has one Ray."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ray_fixtures import Cluster, cluster, own_folders, travelling_code, until, work

from checkmaite_core import JobBackend, configure_job_backend

__all__ = ["Cluster", "cluster", "own_folders", "travelling_code", "until", "work"]

GRACE = 1.0


@pytest.fixture
def scope() -> str:
    """A scope of the test's own."""
    return f"scope-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {"backend": "parquet", "uri": str(tmp_path_factory.mktemp("results") / "store")}


@pytest.fixture(scope="module")
def local(store: dict[str, str]) -> Iterator[JobBackend]:
    """A client with a local Ray of two CPUs."""
    with configure_job_backend(
        "ray",
        address="local",
        idempotency_scope="shared",
        analytics_store=store,
        num_cpus=2,
        cancel_grace_seconds=GRACE,
        max_retries=1,
    ) as backend:
        yield backend


@pytest.fixture
def connect(store: dict[str, str], scope: str) -> Iterator[Callable[..., JobBackend]]:
    """Open backends on the test's scope, and leave none behind."""
    opened: list[JobBackend] = []

    def connect(address: str, **options: Any) -> JobBackend:
        given = {"cancel_grace_seconds": GRACE, "max_retries": 1, "idempotency_scope": scope, **options}
        kept = given.pop("analytics_store", store)
        opened.append(configure_job_backend("ray", analytics_store=kept, address=address, **given))
        return opened[-1]

    yield connect
    for backend in opened:
        backend.shutdown(wait=False)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave to the soak what a class of standard tests does not name as ``quick``, where it names any."""
    for item in items:
        quick = getattr(getattr(item, "cls", None), "quick", None)
        if quick is not None and getattr(item, "originalname", None) not in quick:
            item.add_marker(pytest.mark.soak)

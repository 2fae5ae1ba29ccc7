"""A cluster of workers' environments, used from a client's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from deployment_unit import Unit, make_member
from ray_fixtures import Cluster, own_folders

__all__ = ["own_folders"]


@pytest.fixture(scope="module")
def unit(own_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unit]:
    folder = tmp_path_factory.mktemp("unit")
    worker = make_member(folder / "worker")
    client = make_member(folder / "client", client=True)
    cluster = Cluster(own_folders)
    # Many processes start in these environments: each but the first finds the bytecode.
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONDONTWRITEBYTECODE", "")
    try:
        cluster.start_head(ray=worker.ray)
        yield Unit(worker, client, cluster, folder)
    finally:
        cluster.stop()
        patch.undo()

"""Packages of an overlay that bring another version along than the one that was asked for."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

import pytest
from overlay_environments import tiny_wheel, tooled_environment
from ray_fixtures import Cluster

from checkmaite_core import VersionSkewError, configure_job_backend

pytestmark = pytest.mark.soak  # each node makes an environment


@pytest.fixture
def cluster(own_folders, monkeypatch):
    """A head whose environment has pip and virtualenv."""
    folder = Path(tempfile.mkdtemp(prefix="head-", dir=own_folders))
    cluster = Cluster(folder)
    try:
        cluster.start_head(ray=tooled_environment(folder / "environment").ray)
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
            monkeypatch.setenv(name, cluster.environment[name])
        yield cluster
    finally:
        cluster.stop()


def old_pydantic(folder):
    """A wheel that says it is a pydantic of long ago, so that no index is needed."""
    stem = "pydantic-1.10.2"
    files = {
        f"{stem}.dist-info/METADATA": "Metadata-Version: 2.1\nName: pydantic\nVersion: 1.10.2\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{stem}.dist-info/RECORD"
    files[record] = "".join(f"{name},,\n" for name in (*files, record))
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)


@pytest.mark.parametrize("kind", ["ray", "ray-simple"])
def test_a_package_that_drags_an_older_version_along_is_found_before_any_job(cluster, store, scope, tmp_path, kind):
    tiny_wheel(tmp_path, "1", requires="pydantic<2")
    old_pydantic(tmp_path)
    no_index = ["--no-index", "--find-links", str(tmp_path)]
    options = {"idempotency_scope": scope} if kind == "ray" else {}
    with pytest.raises(VersionSkewError, match=r"error +pydantic +2\.\S+ +1\.10\.2 "):
        configure_job_backend(
            kind,
            analytics_store=store,
            address=cluster.address,
            runtime_env={"pip": {"packages": ["tiny-overlay"], "pip_install_options": no_index}},
            **options,
        )

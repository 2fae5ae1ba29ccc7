"""``checkmaite deployment diff`` against a real cluster whose nodes have different images."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray_fixtures import Cluster, cluster, own_folders, until
from worker_environments import make_environment

__all__ = ["cluster", "own_folders", "until"]

pytestmark = pytest.mark.soak

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def two_images(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """The head runs in this environment; a node beside it in an image of the lock, in which one library is old."""
    image = make_environment(tmp_path_factory.mktemp("image") / "worker", backend="ray-simple")
    image.skew("pyarrow", "25.0.0")
    cluster.add_node(ray=image.ray)
    return cluster


def test_each_node_is_compared_and_nothing_is_left_behind(
    run: Run, until: Callable[..., Any], two_images: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "checkmaite.toml").write_text(
        f'[profiles.team-a]\nbackend = "ray"\nidempotency_scope = "team-a"\naddress = "{two_images.address}"\n'
        f'[profiles.team-a.analytics_store]\nuri = "{tmp_path}/store"\n'
    )

    def answered() -> subprocess.CompletedProcess[str] | None:
        done = run("deployment", "diff", "--profile", "team-a", folder=tmp_path, **two_images.environment)
        # The first worker of a node reads all of Ray from the disk, which on a busy machine takes longer than diff
        # waits; it says so, and is asked again.
        return None if "it has not answered within" in done.stdout else done

    done = until(answered, "an answer of both nodes")
    assert done.returncode == 1, done.stderr
    same, differs = sorted((line for line in done.stdout.splitlines() if not line.startswith(" ")), key=len)[::-1]
    assert same.endswith(": the same in all that matters")
    assert differs.endswith(": 1 warning:")
    assert [line.split()[:2] for line in done.stdout.splitlines() if "25.0.0" in line] == [["warning", "pyarrow"]]
    assert [path.name for path in tmp_path.iterdir()] == ["checkmaite.toml"]


def test_a_token_that_is_wrong_is_no_difference_between_environments(
    run: Run, two_images: Cluster, tmp_path: Path
) -> None:
    wrong = {**two_images.environment, "RAY_AUTH_TOKEN": "0" * 64}
    done = run("deployment", "diff", "--address", two_images.address, folder=tmp_path, **wrong)
    assert done.returncode == 2
    assert "token" in done.stderr

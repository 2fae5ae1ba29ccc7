"""The two ways to a new image while jobs run, as docs/platform/upgrading.md has them."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ray_fixtures import Cluster, own_folders
from worker_environments import ROOT, WorkerEnvironment, make_environment

from checkmaite_core.deployment.environment import OURS

__all__ = ["own_folders"]

pytestmark = pytest.mark.soak  # environments and clusters are made and started for each

CLIENT = """
import json, sys, warnings
from checkmaite_core import CheckmaiteError, configure_job_backend, submit_capability
from team_capability import WhereAmI

options = json.loads(sys.argv[1])
who, resources = options.pop("who"), options.pop("resources")
said = {"warned": []}
warnings.simplefilter("always")
warnings.showwarning = lambda message, category, *_, **__: said["warned"].append(f"{category.__name__}: {message}")
try:
    with configure_job_backend(**options) as backend:
        for name, demand in resources.items():
            config = WhereAmI.config_class(greeting=f"{who} on {name}")
            submit_capability(WhereAmI(), config=config, resources=demand).result(90)
        said["rows"] = backend.store.query("SELECT greeting, prefix FROM places").to_pylist()
except CheckmaiteError as error:
    said["error"], said["message"] = type(error).__name__, str(error)
print(json.dumps(said))
"""


@dataclass
class World:
    """Images, clients and clusters.

    Attributes:
        folder: Where they are made.
        rays: Where Rays keep their files.
        clusters: What has been started.
    """

    folder: Path
    rays: Path
    clusters: list[Cluster] = field(default_factory=list)

    def environment(self, name: str, *, client: bool = False, ours: str | None = None) -> WorkerEnvironment:
        """One from the lock, whose packages of ours say that they are of another version."""
        team = ROOT / "tests" / "support" / "team_capability"
        made = make_environment(self.folder / name, backend="ray", client=client, extra=(team,))
        lock = self.folder / f"{name.partition('-')[0]}.lock"
        lock.write_text(f"the lock of {name.partition('-')[0]}")
        for one in OURS if ours else ():
            if one in made.distributions():
                made.skew(one, ours or "")
        made.command("-m", "checkmaite_core.deployment", "stamp", "--lock", str(lock))
        return made

    def cluster(self, image: WorkerEnvironment) -> Cluster:
        """A head without CPUs out of this image."""
        self.clusters.append(Cluster(Path(tempfile.mkdtemp(prefix="head-", dir=self.rays))))
        self.clusters[-1].start_head(cpus=0, ray=image.ray)
        return self.clusters[-1]


@pytest.fixture
def world(own_folders: Path, tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, own_folders)
    try:
        yield world
    finally:
        for cluster in world.clusters:
            cluster.stop()


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def ask(client: WorkerEnvironment, cluster: Cluster, *resources: str, scope: str) -> dict[str, Any]:
        """Let a client run a job for each resource, on the node that has it."""
        options = {
            "kind": "ray",
            "address": cluster.address,
            "idempotency_scope": scope,
            "analytics_store": {"uri": str(tmp_path / "store")},
            "who": client.prefix.name,
            "resources": {name: {"num_cpus": 0, "custom": {name: 0.01}} for name in resources},
        }
        said = client.run(CLIENT, json.dumps(options), timeout=300, **cluster.environment)
        assert isinstance(said, dict)
        return said

    return ask


def places(said: dict[str, Any]) -> set[tuple[str, str]]:
    """Which job ran in which environment."""
    assert "rows" in said, said
    return {(row["greeting"], row["prefix"]) for row in said["rows"]}


@pytest.mark.timeout(600)
def test_a_patch_is_rolled_out_beside_the_old_image_in_one_cluster(
    world: World, ask: Callable[..., dict[str, Any]]
) -> None:
    old, new = world.environment("old-image"), world.environment("new-image", ours="0.1.7")
    clients = [
        world.environment("old-client", client=True),
        world.environment("new-client", client=True, ours="0.1.7"),
    ]
    cluster = world.cluster(old)
    cluster.add_node(resources='{"old": 1}', ray=old.ray)
    cluster.add_node(resources='{"new": 1}', ray=new.ray)
    for client in clients:
        said = ask(client, cluster, "old", "new", scope="patch")
        who = client.prefix.name
        assert places(said) >= {(f"{who} on old", str(old.prefix)), (f"{who} on new", str(new.prefix))}
        (warning,) = said["warned"]
        assert re.search(r"warning +\(lock\) .*client and image were made from two locks", warning)


@pytest.mark.timeout(600)
def test_a_minor_version_is_rolled_out_as_a_second_cluster_on_the_same_store(
    world: World, ask: Callable[..., dict[str, Any]]
) -> None:
    ends = {}
    for name, version in (("old", None), ("new", "0.2.0")):
        image = world.environment(f"{name}-image", ours=version)
        cluster = world.cluster(image)
        cluster.add_node(resources=f'{{"{name}": 1}}', ray=image.ray)
        ends[name] = (world.environment(f"{name}-client", client=True, ours=version), cluster, image)
    seen: set[tuple[str, str]] = set()
    for name, (client, cluster, image) in ends.items():
        said = ask(client, cluster, name, scope=f"minor-{name}")
        seen.add((f"{name}-client on {name}", str(image.prefix)))
        assert places(said) == seen
        assert said["warned"] == []
    crossed = ask(ends["old"][0], ends["new"][1], "new", scope="minor-new")
    assert crossed["error"] == "VersionSkewError"
    assert re.search(r"error +checkmaite-core +0\.1\.\S+ +0\.2\.0 ", crossed["message"])

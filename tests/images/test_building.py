"""The Containerfiles of the documentation, really built; a Ray node started from the file tree; a job on it."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray
from base_image import make_base
from container_building import Buildah, Layer, start_node
from deployment_unit import TEAM, Unit, make_member
from ray_fixtures import Cluster, own_folders
from worker_environments import ROOT, WorkerEnvironment

from image_layers import Choice, export_layers, write_layers

__all__ = ["own_folders"]

pytestmark = pytest.mark.soak

HOME = os.environ.get("HOME", "")
PATH = "/usr/local/bin:/usr/bin:/bin"
OURS = "50-checkmaite-packages.txt"
RAYLET = Path(ray.__file__).parent / "core" / "src" / "ray" / "raylet" / "raylet"


@dataclass(frozen=True)
class Built:
    """A worker image and a team's on it, and the copy of the workspace that they were made from."""

    buildah: Buildah
    workspace: Path
    folder: Path

    def worker(self) -> list[Layer]:
        """Build the worker image of the workspace as it is now."""
        write_layers(self.workspace, Choice("ray", ("s3",)), self.folder / "worker")
        self.buildah.build(self.folder / "worker", "worker", BASE="localhost/base", UV="localhost/uv")
        return self.buildah.layers("worker")

    def team(self) -> list[Layer]:
        """Build the team's image of its package as it is now."""
        context = self.folder / "team"
        shutil.rmtree(context / "wheels", ignore_errors=True)
        command = ["uv", "build", "--quiet", "--wheel", "--no-create-gitignore", "--out-dir", context / "wheels"]
        subprocess.run([*command, self.folder / "team-source"], check=True)
        (context / "requirements.txt").write_text("# The worker image has all that it needs.\n")
        shutil.copy(ROOT / "uv.lock", context)
        shutil.copy(ROOT / "docs" / "platform" / "Containerfile.capability", context / "Containerfile")
        self.buildah.build(context, "team", WORKER="localhost/worker", UV="localhost/uv")
        return self.buildah.layers("team")


@pytest.fixture(scope="module")
def built(own_folders: Path) -> Iterator[Built]:
    if shutil.which("buildah") is None or os.geteuid() != 0:
        pytest.skip("NO IMAGE WAS BUILT: that takes root and buildah (Debian: apt-get install buildah)")
    folder = Path(tempfile.mkdtemp(prefix="images-", dir=own_folders))
    buildah = Buildah(folder, _uv("cache", "dir"))
    _copy_workspace(folder / "workspace")
    shutil.copytree(TEAM, folder / "team-source")
    uv = _uv("run", "--no-project", "python", "-c", "import os; print(os.environ['UV'])")
    make_base(folder / "base" / "tree", uv, RAYLET)
    (folder / "uv").mkdir()
    shutil.copy(uv, folder / "uv" / "uv")
    for name, made in (("base", f"COPY tree/ /\nENV PATH={PATH}"), ("uv", "COPY uv /uv")):
        (folder / name / "Containerfile").write_text(f"FROM scratch\n{made}\n")
        buildah.build(folder / name, name)
    built = Built(buildah, folder / "workspace", folder)
    try:
        built.worker()
        built.team()
        yield built
    finally:
        buildah.close()


def _uv(*arguments: str) -> Path:
    """What uv answers, on this interpreter and with the home that the tests were started with."""
    given = {**os.environ, "HOME": HOME, "UV_PYTHON": sys.executable}
    result = subprocess.run(["uv", *arguments], check=True, capture_output=True, text=True, env=given)
    return Path(result.stdout.strip())


def _copy_workspace(copy: Path) -> None:
    ignore = shutil.ignore_patterns("__pycache__")
    for folder in ("packages", "docs/platform"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignore)
    for name in ("pyproject.toml", "uv.lock", "README.md"):
        shutil.copy(ROOT / name, copy)


def rebuilt(before: list[Layer], after: list[Layer]) -> list[str]:
    """Print both images' layers, and give the steps from the first layer that is new; all of those must be."""
    assert len(before) == len(after)
    print()
    for was, now in zip(before, after, strict=True):
        step = re.sub(r"^.*?/bin/sh -c |:[0-9a-f]{64}|--mount=\S+ +", "", now.step)
        print(f"  {was.digest[7:19]} {'kept        ' if was == now else now.digest[7:19]}  {step[:90]}")
    kept = [was.digest == now.digest for was, now in zip(before, after, strict=True)]
    assert kept == sorted(kept, reverse=True), "a kept layer lies above a new one"
    return [layer.step for layer in after[sum(kept) :]]


def test_a_change_of_our_code_builds_only_the_last_two_layers_again(built: Built) -> None:
    before = built.worker()
    with (built.workspace / "packages/core/src/checkmaite_core/errors.py").open("a") as code:
        code.write("\n# changed\n")
    copied, installed = rebuilt(before, built.worker())
    assert "COPY" in copied
    assert OURS in installed
    assert len(before) > 10


def test_a_change_of_a_team_s_code_builds_only_its_own_last_layers_again(built: Built) -> None:
    before = built.team()
    code = built.folder / "team-source" / "src" / "team_capability" / "__init__.py"
    code.write_text(code.read_text() + "\n# changed\n")
    new = rebuilt(before, built.team())
    assert new == [step for step in new if "COPY" in step or "wheels/*.whl" in step]
    assert "60-capability.txt" not in "".join(new)


@pytest.fixture(scope="module")
def tree(built: Built) -> Path:
    shutil.rmtree(built.folder / "team-source")
    shutil.copytree(TEAM, built.folder / "team-source")
    shutil.rmtree(built.workspace)
    _copy_workspace(built.workspace)
    built.worker()
    built.team()
    return built.buildah.mount("team")


def test_the_image_holds_the_layers_a_stamp_and_nothing_else(built: Built, tree: Path) -> None:
    layers = export_layers(ROOT, Choice("ray", ("s3",)))
    wanted = {name for layer in layers.requirements.values() for name in layer}
    installed = WorkerEnvironment(tree / "usr" / "local").distributions()
    ours = {f"checkmaite-{Path(member).name}" for member in layers.members}
    assert set(installed) == wanted | ours | {"team-capability"}
    assert (tree / "usr/local/share/checkmaite/deployment.json").is_file()
    assert not (tree / "usr/local/bin/uv").exists() or (tree / "usr/local/bin/uv").stat().st_size == 0
    assert not any((tree / "var/cache").rglob("*.whl"))


def test_its_processes_are_not_root_and_cannot_write_to_the_environment(built: Built, tree: Path) -> None:
    assert built.buildah.config("team")["User"] == "1000:1000"
    writable = [
        path
        for path in (tree / "usr").rglob("*")
        if not path.is_symlink() and (path.stat().st_uid != 0 or path.stat().st_mode & 0o022)
    ]
    assert writable == []


@pytest.fixture
def bucket() -> Iterator[dict[str, object]]:
    """A store that both sides reach, though the one has the machine's files and the other the image's."""
    server = ROOT / "tests" / "storage" / "servers" / "moto_server.py"
    with subprocess.Popen(
        [sys.executable, server], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = int(process.stdout.readline())
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("PUT", "/results")
        assert connection.getresponse().status == 200
        connection.close()
        options = {"key": "test-key-id", "secret": "test-secret-key", "endpoint_url": f"http://127.0.0.1:{port}"}
        yield {"uri": "s3://results/store", "storage_options": options}
        process.stdin.close()


def test_jobs_of_both_backends_run_on_a_node_that_was_started_from_the_image(
    built: Built, tree: Path, bucket: dict[str, object], own_folders: Path, tmp_path: Path
) -> None:
    client = make_member(tmp_path / "client", client=True, connectors=("s3",))
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="head-", dir=own_folders)))
    expected = {"prefix": "/usr/local", "greeting": "hello"}
    try:
        cluster.start_head(cpus=0, ray=client.ray)
        variables = {name: value for name, value in cluster.environment.items() if name != "RAY_TMPDIR"}
        join = (f"--address={cluster.address}", "--num-cpus=2", "--node-ip-address=127.0.0.1")
        ports = ("--min-worker-port=0", "--max-worker-port=0")
        with (tmp_path / "node.log").open("wb") as log:
            node = start_node(tree, built.buildah.config("team"), log, *join, *ports, **variables)
        try:
            unit = Unit(client, client, cluster, tmp_path)
            for kind in ("ray-simple", "ray"):
                said = unit.ask(kind, store=bucket)
                assert said["rows"] == [expected]
                assert [one for one in said["warned"] if "Skew" in one] == []
        finally:
            cluster.kill(node)
    finally:
        cluster.stop()

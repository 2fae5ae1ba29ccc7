"""The layers of a worker image: exact, hashed, disjoint, together the locked set, and still where our code changes."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import tarfile
import tomllib
from pathlib import Path

import pytest

from image_layers import Choice, LayerError, export_layers, main, write_layers, write_release

ROOT = Path(__file__).parents[2]
CHOICES = [
    Choice("ray-simple"),
    Choice("ray", ("s3",)),
    Choice("ray", ("s3", "gcs", "azure"), ("capabilities",)),
]
every_choice = pytest.mark.parametrize("choice", CHOICES, ids=["no-connector", "one-connector", "everything"])


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace as it is now: somebody may be working on it while the tests run."""
    copy = tmp_path_factory.mktemp("pristine") / "workspace"
    ignore = shutil.ignore_patterns("__pycache__")
    for folder in ("packages", "docs/platform"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignore)
    for name in ("pyproject.toml", "uv.lock", "README.md"):
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture
def workspace(pristine: Path, tmp_path: Path) -> Path:
    """A copy of it whose code and lock a test may change."""
    return shutil.copytree(pristine, tmp_path / "workspace")


def lock_again(workspace: Path) -> None:
    """Bring the copy's lock up to date with what was changed in its projects; all else stays as it is locked."""
    subprocess.run(["uv", "lock", "--quiet"], cwd=workspace, check=True, capture_output=True, text=True)


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.name != "layers.json"}


def locked_set(*selection: str) -> tuple[set[tuple[str, str, frozenset[str]]], set[str]]:
    """What uv says in its other format: name, version and hashes of what others made; and the names of ours."""
    command = ["uv", "export", "--frozen", "--quiet", "--format", "pylock.toml", *selection]
    exported = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    others, ours = set(), set()
    for package in tomllib.loads(exported)["packages"]:
        if "directory" in package:
            ours.add(package["name"])
            continue
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        hashes = frozenset(f"sha256:{file['hashes']['sha256']}" for file in files)
        others.add((package["name"], package["version"], hashes))
    return others, ours


def pins(text: str) -> set[tuple[str, str, frozenset[str]]]:
    """Name, version and hashes of each requirement; every one must be exact and hashed."""
    found = set()
    for block in re.split(r"\n(?=[^ #])", text.strip()):
        name, version = re.fullmatch(r"([a-z0-9-]+)==([^ ;]+)(?: ;.*)? \\", block.splitlines()[0]).groups()  # type: ignore[union-attr]
        hashes = frozenset(re.findall(r"--hash=(sha256:[0-9a-f]{64})", block))
        assert hashes, block
        found.add((name, version, hashes))
    return found


@every_choice
def test_the_layers_are_disjoint_exact_and_together_what_is_locked_for_the_worker(choice: Choice) -> None:
    layers = export_layers(ROOT, choice)
    # A distribution can be there twice, in one layer: in one version for older Pythons and one for newer.
    every = [pin for found in layers.requirements.values() for text in found.values() for pin in pins(text)]
    wanted, ours = locked_set("--no-dev", *choice.selection, *choice.extras)
    base, _ = locked_set("--only-group", "worker-image")
    assert len(every) == len(set(every))
    assert len({name for name, *_ in every}) == sum(len(found) for found in layers.requirements.values())
    assert set(every) == wanted | base
    assert {f"checkmaite-{Path(member).name}" for member in layers.members} == ours


def test_each_distribution_lies_in_the_layer_that_it_belongs_to() -> None:
    layers = export_layers(ROOT, Choice("ray", ("s3",), ("capabilities",))).requirements
    assert {"ray", "grpcio", "pip", "virtualenv"} <= layers["10-python-ray"].keys()
    assert {"pydantic", "pyarrow", "fsspec", "maite", "numpy"} <= layers["30-checkmaite"].keys()
    assert {"s3fs", "aiobotocore"} <= layers["40-connectors"].keys()
    assert layers["20-accelerator"] == {}


def test_the_lowest_layer_is_the_same_for_every_worker() -> None:
    assert len({str(export_layers(ROOT, choice).requirements["10-python-ray"]) for choice in CHOICES}) == 1


def test_a_worker_without_connectors_has_an_empty_layer_for_them() -> None:
    assert export_layers(ROOT, Choice("ray-simple")).requirements["40-connectors"] == {}


@pytest.fixture(scope="module")
def before(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layers of a worker, before anything is changed."""
    output = tmp_path_factory.mktemp("layers") / "before"
    write_layers(pristine, Choice("ray", ("s3",)), output)
    return output


def changed(before: Path, after: Path) -> set[str]:
    was, now = digests(before), digests(after)
    return {name for name in was.keys() | now.keys() if was.get(name) != now.get(name)}


def test_a_change_of_our_code_changes_its_own_wheel_and_the_last_layer_and_no_byte_more(
    before: Path, workspace: Path, tmp_path: Path
) -> None:
    with (workspace / "packages/core/src/checkmaite_core/errors.py").open("a") as code:
        code.write("\n# changed\n")
    write_layers(workspace, Choice("ray", ("s3",)), tmp_path / "after")
    assert changed(before, tmp_path / "after") == {
        "50-checkmaite-packages.txt",
        "checkmaite_core-0.1.0-py3-none-any.whl",
    }


def test_a_release_of_ours_leaves_the_lower_layers_byte_for_byte(before: Path, workspace: Path, tmp_path: Path) -> None:
    for project in (workspace / "pyproject.toml", *workspace.glob("packages/*/pyproject.toml")):
        project.write_text(project.read_text().replace('version = "0.1.0"', 'version = "0.1.1"'))
    lock_again(workspace)
    write_layers(workspace, Choice("ray", ("s3",)), tmp_path / "after")
    texts = {name for name in changed(before, tmp_path / "after") if not name.endswith(".whl")}
    assert texts == {"50-checkmaite-packages.txt", "uv.lock"}
    assert "checkmaite-core==0.1.1" in (tmp_path / "after" / "50-checkmaite-packages.txt").read_text()


def test_a_group_for_accelerators_gets_a_layer_below_ours(workspace: Path) -> None:
    # numpy stands for PyTorch, which is in no lock of ours: what matters is that the group is cut off below.
    project = workspace / "pyproject.toml"
    project.write_text(project.read_text().replace("[dependency-groups]", '[dependency-groups]\ngpu = ["numpy"]'))
    lock_again(workspace)
    layers = export_layers(workspace, Choice("ray", packages=("capabilities",), accelerator="gpu")).requirements
    assert layers["20-accelerator"].keys() == {"numpy"}
    assert "numpy" not in layers["30-checkmaite"]


def test_one_distribution_under_two_conditions_is_refused(workspace: Path) -> None:
    project = workspace / "pyproject.toml"
    group = "[dependency-groups]\ngpu = [\"numpy ; sys_platform == 'linux'\"]"
    project.write_text(project.read_text().replace("[dependency-groups]", group))
    lock_again(workspace)
    with pytest.raises(LayerError, match="30-checkmaite wants numpy under other conditions"):
        export_layers(workspace, Choice("ray", packages=("capabilities",), accelerator="gpu"))


def test_the_output_is_a_whole_build_context(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "context"
    assert main(["--backend", "ray-simple", "--connector", "s3", "--output", str(output)]) == 0
    shown = capsys.readouterr().out
    about = json.loads((output / "layers.json").read_text())
    assert (about["backend"], about["connectors"]) == ("ray-simple", ["s3"])
    assert (output / "uv.lock").read_bytes() == (ROOT / "uv.lock").read_bytes()
    assert (output / "Containerfile").read_bytes() == (ROOT / "docs/platform/Containerfile.ray-simple").read_bytes()
    for name, digest in about["files"].items():
        assert digest == f"sha256:{hashlib.sha256((output / name).read_bytes()).hexdigest()}"
    ours = pins((output / "50-checkmaite-packages.txt").read_text().partition("\n")[2])
    wheels = {frozenset({f"sha256:{hashlib.sha256(one.read_bytes()).hexdigest()}"}) for one in output.glob("wheels/*")}
    assert {hashes for *_, hashes in ours} == wheels
    assert "50-checkmaite-packages.txt     4 distributions" in shown


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    assert main(["--output", str(tmp_path)]) == 1
    assert "holds something else" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_release_carries_the_layers_of_both_backends_and_they_are_the_same_bytes_each_time(
    pristine: Path, tmp_path: Path
) -> None:
    archives = write_release(pristine, tmp_path / "one")
    again = write_release(pristine, tmp_path / "two")
    assert [path.name for path in archives] == [
        "checkmaite-image-layers-0.1.0-ray.tar.gz",
        "checkmaite-image-layers-0.1.0-ray-simple.tar.gz",
    ]
    assert [path.read_bytes() for path in archives] == [path.read_bytes() for path in again]
    with tarfile.open(archives[0]) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.glob("checkmaite-image-layers-*")
    assert json.loads((unpacked / "layers.json").read_text())["connectors"] == ["s3", "gcs", "azure"]
    assert (unpacked / "Containerfile").is_file()

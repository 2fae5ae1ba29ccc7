"""Export the layers of a worker image from one lock: exact, hashed, disjoint.

Each layer is a requirements file, numbered from what changes rarely to what changes often, so that an image builder
that caches by content builds again only from the first layer that changed. What a layer holds is told by ``uv export``
alone; this script takes away what a lower layer has already.

The output folder is a build context: the requirements, our wheels, the lock to stamp the image with, the Containerfile
of the backend, and ``layers.json``, which says what was chosen.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
BACKENDS = ("ray", "ray-simple")
CONNECTORS = ("s3", "gcs", "azure")
PACKAGES = "50-checkmaite-packages"
ABOUT = {
    "10-python-ray": "Ray, and what it builds overlays with",
    "20-accelerator": "what computes on accelerators, such as PyTorch with CUDA: the group given by --accelerator",
    "30-checkmaite": "what the backend and our packages need, without our own code",
    "40-connectors": "storage connectors",
    PACKAGES: "our own packages; installed without dependencies, from the wheels beside this file",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MEMBER = "-e ./"


class LayerError(Exception):
    """The lock cannot be cut into these layers."""


@dataclass(frozen=True)
class Choice:
    """What a worker is to have.

    Attributes:
        backend: Whose worker it is.
        connectors: Extras of storage that it needs.
        packages: More of our packages, by the name of their folder.
        accelerator: Dependency group of the root project with what computes on accelerators, if there is one.
    """

    backend: str
    connectors: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    accelerator: str | None = None

    @property
    def selection(self) -> tuple[str, ...]:
        """Our packages, as arguments of ``uv export``."""
        return tuple(part for name in (self.backend, *self.packages) for part in ("--package", f"checkmaite-{name}"))

    @property
    def extras(self) -> tuple[str, ...]:
        """The connectors, as arguments of ``uv export``."""
        return tuple(part for name in self.connectors for part in ("--extra", name))


@dataclass(frozen=True)
class Layers:
    """What each layer installs.

    Attributes:
        requirements: By layer, lowest first: the lines of each distribution of others, by its name.
        members: Folders of our own packages, relative to the root.
    """

    requirements: Mapping[str, Mapping[str, str]]
    members: tuple[str, ...]


def export_layers(root: Path, choice: Choice) -> Layers:
    """Cut what the lock holds for one worker into layers.

    Raises:
        LayerError: If one distribution would be installed under other conditions by two layers.
        subprocess.CalledProcessError: If uv refuses; it has said why.
    """
    exports = {
        "10-python-ray": ["--only-group", "worker-image"],
        "20-accelerator": ["--only-group", choice.accelerator] if choice.accelerator else None,
        "30-checkmaite": ["--no-dev", *choice.selection],
        "40-connectors": ["--no-dev", *choice.selection, *choice.extras],
    }
    below: dict[str, str] = {}
    layers: dict[str, dict[str, str]] = {}
    members: list[str] = []
    for layer, selection in exports.items():
        found, members = locked(root, *selection) if selection else ({}, members)
        if moved := sorted(name for name, lines in found.items() if below.get(name, lines) != lines):
            raise LayerError(f"{layer} wants {', '.join(moved)} under other conditions than a layer below it")
        layers[layer] = {name: found[name] for name in sorted(found.keys() - below.keys())}
        below.update(found)
    return Layers(layers, tuple(members))


def locked(root: Path, *selection: str) -> tuple[dict[str, str], list[str]]:
    """What the lock holds for a selection, in the words of ``uv export``.

    Returns:
        The lines of each distribution of others by its name, and the folders of our own packages.
    """
    command = ["uv", "export", "--frozen", "--quiet", "--no-annotate", "--no-header", *selection]
    exported = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, text=True).stdout
    requirements: dict[str, str] = {}
    members: list[str] = []
    for block in re.split(r"\n(?=\S)", exported.strip()):
        if block.startswith(_MEMBER):
            members.append(block.removeprefix(_MEMBER).strip())
        elif match := _NAME.match(block):
            # One distribution can stand there twice, for different platforms.
            requirements[match.group()] = f"{requirements.get(match.group(), '')}{block.rstrip()}\n"
    return requirements, members


def write_layers(root: Path, choice: Choice, output: Path) -> None:
    """Write the layers as a build context; the folder is emptied first if it holds an earlier one.

    Raises:
        LayerError: If the folder holds something else.
    """
    if output.exists() and any(output.iterdir()) and not (output / "layers.json").is_file():
        raise LayerError(f"{output} holds something else; give an empty folder")
    layers = export_layers(root, choice)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as name:
        making = Path(name) / output.name
        build_wheels(root, layers.members, making / "wheels")
        texts = {layer: "".join(found.values()) for layer, found in layers.requirements.items()}
        texts[PACKAGES] = "".join(_pinned(wheel) for wheel in sorted((making / "wheels").iterdir()))
        for layer, text in texts.items():
            (making / f"{layer}.txt").write_text(f"# {ABOUT[layer]}\n{text}")
        shutil.copy(root / "uv.lock", making)
        shutil.copy(root / "docs" / "platform" / f"Containerfile.{choice.backend}", making / "Containerfile")
        files = {path.name: _digest(path) for path in sorted(making.iterdir()) if path.is_file()}
        about = {"format": 1, **dataclasses.asdict(choice), "files": files}
        (making / "layers.json").write_text(json.dumps(about, indent=2) + "\n")
        # Only now, so that what is there is always whole.
        shutil.rmtree(output, ignore_errors=True)
        making.rename(output)


def build_wheels(root: Path, members: Sequence[str], folder: Path) -> None:
    """Build the wheels of our own packages; equal code makes equal bytes."""
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        # All of them in one go is quicker than the few by themselves.
        command = ["uv", "build", "--quiet", "--wheel", "--all-packages", "--no-create-gitignore", "--out-dir", name]
        subprocess.run(command, cwd=root, check=True)
        for member in members:
            (wheel,) = Path(name).glob(f"checkmaite_{Path(member).name.replace('-', '_')}-*.whl")
            wheel.rename(folder / wheel.name)


def write_release(root: Path, output: Path) -> list[Path]:
    """Write an archive of each backend's layers with every connector, the same bytes for the same commit."""
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    output.mkdir(parents=True, exist_ok=True)
    archives = []
    for backend in BACKENDS:
        name = f"checkmaite-image-layers-{version}-{backend}"
        with tempfile.TemporaryDirectory(dir=output) as folder:
            write_layers(root, Choice(backend, CONNECTORS), Path(folder) / name)
            packed = io.BytesIO()
            with tarfile.open(fileobj=packed, mode="w") as archive:
                for path in sorted((Path(folder) / name).rglob("*")):
                    archive.add(path, path.relative_to(folder), recursive=False, filter=_anonymous)
        archives.append(output / f"{name}.tar.gz")
        archives[-1].write_bytes(gzip.compress(packed.getvalue(), mtime=0))
    return archives


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without what differs from one machine or minute to the next."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o755 if entry.isdir() else 0o644
    return entry


def _pinned(wheel: Path) -> str:
    name, version, *_ = wheel.name.split("-")
    return f"{name.replace('_', '-')}=={version} \\\n    --hash={_digest(wheel)}\n"


def _digest(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the layers that the command line asks for, and say what is in each."""
    parser = argparse.ArgumentParser(prog="image_layers.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--backend", choices=BACKENDS, default="ray")
    parser.add_argument("--connector", action="append", default=[], choices=CONNECTORS, help="may be repeated")
    parser.add_argument("--package", action="append", default=[], help="more of our packages, such as capabilities")
    parser.add_argument("--accelerator", help="dependency group of pyproject.toml with PyTorch or the like")
    parser.add_argument("--root", type=Path, default=ROOT, help="the workspace (default: this one)")
    parser.add_argument("--output", type=Path, help="a folder (default: dist/image-layers/BACKEND)")
    parser.add_argument("--release", action="store_true", help="archives of all backends with all connectors instead")
    given = parser.parse_args(arguments)
    if given.release:
        for archive in write_release(given.root, given.output or given.root / "dist"):
            print(archive)
        return 0
    output = given.output or given.root / "dist" / "image-layers" / given.backend
    choice = Choice(given.backend, tuple(given.connector), tuple(given.package), given.accelerator)
    try:
        write_layers(given.root, choice, output)
    except (LayerError, subprocess.CalledProcessError) as error:
        print(f"image_layers.py: {error}", file=sys.stderr)
        return 1
    for layer, about in ABOUT.items():
        count = len(re.findall(r"(?m)^\w", (output / f"{layer}.txt").read_text()))
        print(f"{layer + '.txt':<28}{count:>4} distributions  {about}")
    print(f"in {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

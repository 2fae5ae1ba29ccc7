"""Real environments out of the project's lock, as a platform's image or a client's would be, made in a second.

::

    worker = make_environment(tmp_path / "worker", backend="ray", connectors=("s3",))
    client = make_environment(tmp_path / "client", backend="ray", client=True)
    stale = make_environment(tmp_path / "stale", extra=("checkmaite-capabilities",))
    stale.skew("ray", "2.59.0")            # what its metadata says; the code stays
    stale.install("typing-extensions==4.15.0")  # really another version, from the index
    worker.remove("pyarrow")
    worker.run("import ray, json; print(json.dumps(ray.__version__))")

A cluster starts its nodes from one by ``Cluster.start_head(ray=worker.ray)`` and ``Cluster.add_node(ray=stale.ray)``.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from image_layers import Choice, build_wheels, export_layers, locked

__all__ = ["WorkerEnvironment", "make_environment"]

ROOT = Path(__file__).parents[2]
_HIDDEN = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "UV", "UV_PROJECT_ENVIRONMENT")

_HOME = os.environ.get("HOME", "")
"""Where uv has its cache; tests with a Ray change the variable afterwards."""


@dataclass(frozen=True)
class WorkerEnvironment:
    """A virtual environment that nothing but its own distributions can be imported from.

    Attributes:
        prefix: Its folder.
    """

    prefix: Path

    @property
    def python(self) -> Path:
        return self.prefix / "bin" / "python"

    @property
    def ray(self) -> Path:
        """The ``ray`` command, which starts nodes that run in this environment."""
        return self.prefix / "bin" / "ray"

    @property
    def site_packages(self) -> Path:
        (found,) = self.prefix.glob("lib/python*/site-packages")
        return found

    def distributions(self) -> dict[str, str]:
        """Version by name of all that is installed."""
        return {
            re.sub(r"[-_.]+", "-", one.name).lower(): one.version
            for one in metadata.distributions(path=[str(self.site_packages)])
        }

    def variables(self, **more: str) -> dict[str, str]:
        """This process's environment variables without those that would lead out of the environment."""
        kept = {name: value for name, value in os.environ.items() if name not in _HIDDEN}
        return {**kept, "PATH": f"{self.prefix / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}", **more}

    def run(self, program: str, *arguments: str, timeout: float = 100, **variables: str) -> Any:
        """Run a Python program in it and return what it prints last, read as JSON."""
        return json.loads(self.command("-c", program, *arguments, timeout=timeout, **variables).splitlines()[-1])

    def command(self, *arguments: str, timeout: float = 100, **variables: str) -> str:
        """Run its ``python`` with these arguments and return what it prints; it must succeed."""
        process = self.start(*arguments, **variables)
        try:
            output, errors = process.communicate(timeout=timeout)
        finally:
            process.kill()  # if it has not ended in time
        assert process.returncode == 0, f"{output}\n{errors}"
        return output

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start its ``python`` with these arguments; what it prints is piped."""
        return subprocess.Popen(
            # Safe path: what lies beside the program, or where it is started, cannot be imported.
            [self.python, "-P", "-s", *arguments],
            cwd=self.prefix,
            env=self.variables(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def install(self, *requirements: str | Path) -> None:
        """Install more, at the versions that are asked for, without what it needs."""
        command = ("pip", "install", "--no-deps", "--python", self.python, *requirements)
        try:
            _uv(*command, "--offline")  # so that no index can hold up or break a test that needs none
        except subprocess.CalledProcessError:
            _uv(*command)

    def remove(self, *distributions: str) -> None:
        _uv("pip", "uninstall", "--python", self.python, *distributions)

    def skew(self, distribution: str, version: str) -> None:
        """Let an installed distribution say that it is another version: its metadata alone, not its code.

        For versions that would take too long to fetch, or that do not exist.
        """
        found = next(iter(metadata.distributions(name=distribution, path=[str(self.site_packages)])), None)
        assert found is not None, f"{distribution} is not installed in {self.prefix}"
        name = found.name.replace("-", "_")
        old, new = f"{name}-{found.version}.dist-info", f"{name}-{version}.dist-info"
        shutil.move(self.site_packages / old, self.site_packages / new)
        said = (self.site_packages / new / "METADATA").read_text()
        said = re.sub(r"(?m)^Version: .*$", f"Version: {version}", said, count=1)
        _replace(self.site_packages / new / "METADATA", said)
        rows = list(csv.reader((self.site_packages / new / "RECORD").read_text().splitlines()))
        lines = [_recorded(self.site_packages, row[0].replace(f"{old}/", f"{new}/"), row) for row in rows]
        _replace(self.site_packages / new / "RECORD", "".join(f"{line}\n" for line in lines))


def make_environment(
    folder: Path,
    *,
    backend: Literal["ray", "ray-simple"] = "ray",
    connectors: tuple[str, ...] = (),
    client: bool = False,
    extra: tuple[str | Path, ...] = (),
    python: str | Path = sys.executable,
) -> WorkerEnvironment:
    """Make an environment at the versions of ``uv.lock``.

    A worker's holds what the layers of its image install, pip and virtualenv among it; a client's what
    ``pip install checkmaite-cli`` with the backend brings. Our own packages are wheels built from the working tree.
    What others bring is linked from uv's cache: an installed file is never to be written in place.

    Args:
        folder: Where it is to be; must not exist.
        backend: Whose worker or client it is for.
        connectors: Extras of storage: s3, gcs, azure.
        client: Whether it is for a client: with the command line and SQL, without what overlays are built with.
        extra: More of our packages by name, such as ``checkmaite-capabilities`` (with what they need); anything else
            is installed as it stands, without what it needs: a pinned requirement, a wheel, or a project's folder.
        python: The interpreter; this process's if left out.
    """
    more = tuple(str(one) for one in extra if str(one).startswith("checkmaite-"))
    ours = tuple(name.removeprefix("checkmaite-") for name in more)
    choice = Choice(backend, connectors, (*ours, "cli") if client else ours)
    if client:
        requirements, members = locked(ROOT, "--no-dev", *choice.selection, *choice.extras)
    else:
        layers = export_layers(ROOT, choice)
        requirements = {name: text for layer in layers.requirements.values() for name, text in layer.items()}
        members = list(layers.members)
    _uv("venv", "--no-project", "--python", python, folder)
    made = WorkerEnvironment(folder)
    pins, wheels = folder / "requirements.txt", folder / "wheels"
    pins.write_text("".join(requirements.values()))
    build_wheels(ROOT, members, wheels)
    made.install("-r", pins, *sorted(wheels.iterdir()))
    if rest := [one for one in extra if str(one) not in more]:
        made.install(*rest)
    return made


def _uv(*arguments: str | Path) -> str:
    variables = {name: value for name, value in os.environ.items() if name not in _HIDDEN}
    result = subprocess.run(
        ["uv", "--quiet", *arguments],
        cwd=ROOT,
        env={**variables, "HOME": _HOME, "UV_PYTHON_DOWNLOADS": "never"},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        error = subprocess.CalledProcessError(result.returncode, ["uv", *map(str, arguments)], result.stdout)
        error.add_note(result.stderr)
        raise error
    return result.stdout


def _replace(path: Path, text: str) -> None:
    """Write a new file in the place of one that uv's cache shares."""
    path.unlink()
    path.write_text(text)


def _recorded(root: Path, name: str, row: list[str]) -> str:
    if not name.endswith(".dist-info/METADATA"):
        return ",".join([name, *row[1:]])
    data = (root / name).read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}"

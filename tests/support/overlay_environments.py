"""Environments for nodes that make overlays, and small distributions to put into one."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

from worker_environments import WorkerEnvironment

__all__ = ["environment_without_pip", "tiny_wheel", "tooled_environment"]


OURS = Path(str(metadata.distribution("ray").locate_file("")))
"""Where this process's packages lie."""


def tooled_environment(folder: Path) -> WorkerEnvironment:
    """An environment with pip and virtualenv, whose packages are this one's.

    Ray copies a node's environment for each overlay with ``pip`` or ``uv``, and a whole one takes long to copy. This
    one refers to this process's packages by a line in a ``.pth`` file, so that what is installed into a copy can
    replace none of them.
    """
    made = _empty(folder)
    if not (OURS / "pip").is_dir():
        made.install("pip")
    (made.site_packages / "shared.pth").write_text(f"import site; site.addsitedir({str(OURS)!r})\n")
    return made


def environment_without_pip(folder: Path) -> WorkerEnvironment:
    """An environment with links to this one's packages, pip left out. Nothing must be installed into it."""
    made = _empty(folder)
    for path in OURS.iterdir():
        if path.name != "pip" and not path.name.startswith("pip-"):
            (made.site_packages / path.name).symlink_to(path)
    return made


def _empty(folder: Path) -> WorkerEnvironment:
    # Without what virtual environments bring for themselves, so that there is nothing in the way of links.
    subprocess.run(["uv", "venv", "--quiet", "--no-project", "--python", sys.executable, str(folder)], check=True)
    made = WorkerEnvironment(folder)
    for path in made.site_packages.iterdir():
        path.unlink()
    made.ray.write_text(f"#!{made.python}\nfrom ray.scripts.scripts import main\n\nmain()\n")
    made.ray.chmod(0o755)
    return made


def tiny_wheel(folder: Path, version: str, *, requires: str = "") -> Path:
    """The wheel of ``tiny-overlay``, whose one module ``tiny_overlay`` says which version it is."""
    stem = f"tiny_overlay-{version}"
    about = f"Metadata-Version: 2.1\nName: tiny-overlay\nVersion: {version}\n"
    about += f"Requires-Dist: {requires}\n" if requires else ""
    files = {
        "tiny_overlay.py": f"VERSION = {version!r}\n",
        f"{stem}.dist-info/METADATA": about,
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{stem}.dist-info/RECORD"
    files[record] = "".join(f"{name},,\n" for name in (*files, record))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path

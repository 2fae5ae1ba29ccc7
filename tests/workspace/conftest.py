"""The repository as its users see it: the files that git has, or is about to have."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def repository_files(root: Path) -> list[Path]:
    """Every file that is tracked or that git does not ignore, relative to the root."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted(Path(name) for name in set(listing.stdout.split("\0")) if name and (root / name).is_file())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "package" in metafunc.fixturenames:
        folders = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))
        metafunc.parametrize("package", folders, ids=[folder.name for folder in folders])

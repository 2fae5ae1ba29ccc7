from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from checkmaite_storage import LocalObjectStore

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder that does not exist yet."""
    return tmp_path / "made at" / "first write"


@pytest.fixture
def store(root: Path) -> LocalObjectStore:
    return LocalObjectStore(root)


@pytest.fixture(params=["unnamed file", "named temporary"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of writing: the second is what NFS and macOS get."""
    if request.param == "named temporary":
        monkeypatch.delattr("os.O_TMPFILE")
    return str(request.param)

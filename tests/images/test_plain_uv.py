"""A team's own lock is cut into layers by uv alone, with the commands of the page."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from image_layers import ROOT, build_wheels

PAGE = (ROOT / "docs" / "platform" / "images.md").read_text()
OURS = ("core", "storage", "ledger", "analytics-store", "ray-simple", "ray")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The page's project, locked; our packages are in a folder, as they would be on an index."""
    (declared,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    build_wheels(ROOT, OURS, tmp_path / "published")
    (tmp_path / "pyproject.toml").write_text(f'{declared}\n[tool.uv]\npackage = false\nfind-links = ["./published"]\n')
    # So that it keeps the versions that are locked here.
    (tmp_path / "uv.lock").write_text((ROOT / "uv.lock").read_text())
    uv("lock", folder=tmp_path)
    return tmp_path


def uv(*arguments: str, folder: Path) -> str:
    hidden = {"VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    result = subprocess.run(
        ["uv", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def names(path: Path) -> set[str]:
    return set(re.findall(r"(?m)^([a-z0-9-]+)==", path.read_text()))


def test_the_commands_of_the_page_cut_a_team_s_lock_into_layers(project: Path) -> None:
    (commands,) = [block for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) if "without_ours" in block]
    subprocess.run(["bash", "-euo", "pipefail", "-c", commands], cwd=project, check=True, capture_output=True)
    python, checkmaite, connectors, whole = (
        names(project / f"{layer}.txt")
        for layer in ("10-python-ray", "30-checkmaite", "40-connectors", "50-checkmaite-packages")
    )
    ours = {f"checkmaite-{name}" for name in OURS}
    assert {"ray", "grpcio", "pip", "virtualenv"} <= python
    assert {"pyarrow", "pydantic", "fsspec"} <= checkmaite
    assert "s3fs" in connectors - checkmaite - python
    assert whole & ours == ours
    assert (python | checkmaite | connectors) & ours == set()
    # Above our own code there is nothing of others left to install.
    assert whole - python - checkmaite - connectors == ours
    everything = uv("export", "--frozen", "--all-groups", "--no-emit-project", "--no-header", folder=project)
    assert python | checkmaite | connectors | whole == set(re.findall(r"(?m)^([a-z0-9-]+)==", everything))
    assert "--hash=sha256:" in (project / "50-checkmaite-packages.txt").read_text()

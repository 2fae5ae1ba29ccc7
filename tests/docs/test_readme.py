"""The README's command for the main job, run as it stands there: in a fresh checkout, with an empty home."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import code_pages
import pytest

DEMO = "pip install uv && uv run checkmaite demo"
DEMO_WITH_PIPX = "pipx run uv run checkmaite demo"
JOBS = "uv run checkmaite jobs list --store checkmaite-demo --scope demo"
OURS = ("UV", "VIRTUAL_ENV", "PYTHON", "RAY_", "CHECKMAITE_", "NOX", "PYTEST", "CI")
"""Beginnings of variables that a fresh shell does not have."""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of this checkout as a fresh one would have them."""
    folder = tmp_path_factory.mktemp("checkout")
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=code_pages.ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listing.split("\0")):
        if (code_pages.ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(code_pages.ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables of a shell on a machine that has Python with pip, and nothing else; uv's cache is kept for speed."""
    cache = subprocess.run(["uv", "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()
    machine, home = tmp_path_factory.mktemp("machine"), tmp_path_factory.mktemp("home")
    subprocess.run(["uv", "venv", "--quiet", "--seed", "--clear", machine], check=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    path = f"{machine / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin"
    return {**kept, "HOME": str(home), "PATH": path, "UV_CACHE_DIR": cache}


def test_the_readme_has_the_commands_that_are_run_here() -> None:
    lines = (code_pages.ROOT / "README.md").read_text().splitlines()
    assert DEMO in lines
    assert DEMO_WITH_PIPX in lines
    assert JOBS in lines


@pytest.mark.timeout(300)
def test_the_demo_works_in_a_fresh_checkout_with_the_one_command(checkout: Path, shell: dict[str, str]) -> None:
    result = run(DEMO, checkout, shell)
    assert result.returncode == 0, result.stdout
    for perturbation in ("clean", "noise", "blur", "rotation", "occlusion"):
        assert perturbation in result.stdout, result.stdout
    jobs = run(JOBS, checkout, shell)
    assert jobs.returncode == 0, jobs.stdout
    assert jobs.stdout.count(" COMPLETED ") == 20


@pytest.mark.timeout(120)
def test_the_form_for_pipx_starts_the_same_program(checkout: Path, shell: dict[str, str]) -> None:
    result = run(f"pip install pipx && {DEMO_WITH_PIPX} --help", checkout, shell)
    assert result.returncode == 0, result.stdout
    assert "demo" in result.stdout


def run(command: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )

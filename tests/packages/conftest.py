"""The packages as they would be published: built from their sdist, each installed alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml"))

_WEIGHED = pytest.StashKey[list[tuple[str, int, float, float]]]()


@dataclass(frozen=True)
class Environment:
    """A clean virtual environment with one requirement and what it pulls in."""

    python: Path
    distributions: frozenset[str]
    megabytes: float

    def run(self, program: str) -> Any:
        """Run ``program`` isolated from this process's variables; return the JSON that it prints last."""
        result = subprocess.run(
            [self.python, "-I", "-c", program], check=False, capture_output=True, text=True, cwd=self.python.parent
        )
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout.splitlines()[-1])


def uv(*arguments: str | Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "UV"}}
    environment["UV_PYTHON_DOWNLOADS"] = "never"
    result = subprocess.run(["uv", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"uv {' '.join(map(str, arguments))}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each package's wheel by folder name, built by itself from its sdist."""
    built: dict[str, Path] = {}
    for name in PACKAGES:
        folder = tmp_path_factory.mktemp(f"dist-{name}")
        uv("build", "--quiet", "--package", f"checkmaite-{name}", "--out-dir", folder)
        (built[name],) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def constraints(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Third parties at the versions of the lock, siblings at the wheels built here."""
    locked = uv("export", "--frozen", "--quiet", "--all-packages", "--all-extras", "--no-hashes", "--no-emit-workspace")
    siblings = "\n".join(f"checkmaite-{name} @ {wheel.as_uri()}" for name, wheel in wheels.items())
    path = tmp_path_factory.mktemp("constraints") / "constraints.txt"
    path.write_text(f"{locked}\n{siblings}\n")
    return path


@pytest.fixture(scope="session")
def install(
    constraints: Path, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Callable[[str], Environment]:
    """Make a clean environment for one requirement, once, and note what it weighs."""
    made: dict[str, Environment] = {}
    pytestconfig.stash[_WEIGHED] = []

    def make(requirement: str) -> Environment:
        if requirement not in made:
            folder = tmp_path_factory.mktemp("environment")
            uv("venv", "--quiet", "--python", sys.executable, folder)
            python = folder / "bin" / "python"
            uv("pip", "install", "--quiet", "--python", python, "--constraint", constraints, requirement)
            listed = json.loads(uv("pip", "list", "--quiet", "--python", python, "--format", "json"))
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
            made[requirement] = Environment(python, frozenset(one["name"] for one in listed), size / 1e6)
            pytestconfig.stash[_WEIGHED].append(_weigh(requirement, made[requirement]))
        return made[requirement]

    return make


def _weigh(requirement: str, environment: Environment) -> tuple[str, int, float, float]:
    """The requirement with its environment's number of distributions, size (MB) and best import time (ms)."""
    module = requirement.partition("[")[0].replace("-", "_")
    program = f"import time; t = time.perf_counter(); import {module}; print((time.perf_counter() - t) * 1000)"
    fastest = min(float(environment.run(program)) for _ in range(5))
    return requirement, len(environment.distributions), environment.megabytes, fastest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    weighed = config.stash.get(_WEIGHED, [])
    if not weighed:
        return
    terminalreporter.section("each package, installed alone")
    terminalreporter.line(f"{'requirement':<34}{'distributions':>14}{'MB':>8}{'import ms':>11}")
    for requirement, distributions, megabytes, milliseconds in weighed:
        terminalreporter.line(f"{requirement:<34}{distributions:>14}{megabytes:>8.0f}{milliseconds:>11.0f}")

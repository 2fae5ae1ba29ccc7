"""CI and the README do the same."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

DEMO = "pip install uv && uv run checkmaite demo"
DEMO_WITH_PIPX = "pipx run uv run checkmaite demo"
TESTS = "pip install uv && uv run nox"
TESTS_WITH_PIPX = "pipx run uv run nox"


def test_the_readme_has_the_two_commands(root: Path) -> None:
    blocks = re.findall(r"```bash\n(.*?)```", (root / "README.md").read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert [line for line in lines if line.startswith("pip")] == [DEMO, DEMO_WITH_PIPX, TESTS, TESTS_WITH_PIPX]


def test_ci_runs_the_command_for_the_tests_that_the_readme_shows(root: Path, tmp_path: Path) -> None:
    # The real script with the two programs it calls replaced by ones that write down how they were called.
    calls = tmp_path / "calls"
    for name in ("pip", "uv"):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> "{calls}"\n')
        program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(["bash", ".ci/run"], cwd=root, env=environment, check=True, stdin=subprocess.DEVNULL)
    assert calls.read_text().splitlines() == TESTS.split(" && ")


def test_ci_fails_when_the_command_fails(root: Path, tmp_path: Path) -> None:
    program = tmp_path / "pip"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    result = subprocess.run(["bash", ".ci/run"], cwd=root, env=environment, check=False, stdin=subprocess.DEVNULL)
    assert result.returncode == 3

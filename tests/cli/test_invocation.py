"""What the command suggests can be typed as it stands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from checkmaite_cli.invocation import as_typed, own_command


def make_program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A project with an environment that this process seems to run in, and a shell whose PATH has one folder."""
    script = make_program(tmp_path / "project" / ".venv" / "bin" / "checkmaite")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr("sys.argv", [str(script), "demo"])
    monkeypatch.setattr("sys.prefix", str(tmp_path / "project" / ".venv"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def as_uv_run_does(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    monkeypatch.setenv("PATH", f"{project / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}")


def test_with_the_environment_on_the_path_the_name_is_enough(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    monkeypatch.setenv("PATH", f"{project / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert own_command() == "checkmaite"


def test_otherwise_it_is_the_full_path(project: Path) -> None:
    assert own_command() == f"{project}/.venv/bin/checkmaite"


def test_another_checkmaite_on_the_path_is_not_taken_for_this_one(project: Path) -> None:
    make_program(project.parent / "bin" / "checkmaite")
    assert own_command() == f"{project}/.venv/bin/checkmaite"


def test_a_path_with_spaces_is_quoted(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    script = make_program(project / "my tools" / "checkmaite")
    monkeypatch.setattr("sys.argv", [str(script)])
    assert own_command() == f"'{script}'"


def test_started_by_uv_run_it_is_uv_run_again(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    make_program(project.parent / "bin" / "uv")
    as_uv_run_does(monkeypatch, project)
    assert own_command() == "uv run checkmaite"


def test_outside_the_project_uv_run_would_not_find_it(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    make_program(project.parent / "bin" / "uv")
    as_uv_run_does(monkeypatch, project)
    monkeypatch.chdir(project.parent / "elsewhere")
    assert own_command() == f"{project}/.venv/bin/checkmaite"


def test_where_the_shell_has_no_uv_as_under_pipx_run_it_is_not_suggested(
    monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    make_program(project / ".venv" / "bin" / "uv")
    as_uv_run_does(monkeypatch, project)
    assert own_command() == f"{project}/.venv/bin/checkmaite"


def test_a_store_below_the_current_folder_is_typed_relative_to_it(project: Path) -> None:
    assert as_typed(f"{project}/checkmaite-demo") == "checkmaite-demo"
    assert as_typed(f"{project}/my results") == "'my results'"
    assert as_typed("/somewhere/else") == "/somewhere/else"
    assert as_typed("s3://bucket/prefix") == "s3://bucket/prefix"

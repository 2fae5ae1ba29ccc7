"""The command as such: help, version, errors and exit statuses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]
HEAVY = (
    "duckdb",
    "ray",
    "pyarrow",
    "numpy",
    "pydantic",
    "sklearn",
    "checkmaite_core",
    "checkmaite_analytics_store",
    "checkmaite_ledger",
)


def test_version_is_that_of_the_distribution(run: Run, tmp_path: Path) -> None:
    result = run("--version", folder=tmp_path)
    assert (result.returncode, result.stdout) == (0, f"checkmaite {version('checkmaite-cli')}\n")


def test_help_names_every_command_in_whole_sentences(run: Run, tmp_path: Path) -> None:
    result = run("--help", folder=tmp_path)
    assert result.returncode == 0
    for command in ("demo", "query", "runs", "report", "store", "jobs"):
        assert f"\n  {command} " in result.stdout
    assert "..." not in result.stdout.partition("Commands:")[2]
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_help_loads_nothing_heavy() -> None:
    program = f"""
import sys
sys.argv = ["checkmaite", "--help"]
from checkmaite_cli.main import main
try:
    main()
except SystemExit as end:
    print("status", end.code, "loaded", [name for name in {HEAVY!r} if name in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.endswith("status 0 loaded []\n")


@pytest.mark.parametrize(
    "arguments", [["qery"], ["query", "SELECT 1"], ["demo", "--nothing"], ["runs", "--limit", "0"]]
)
def test_a_command_that_cannot_be_understood_ends_with_2(run: Run, tmp_path: Path, arguments: list[str]) -> None:
    result = run(*arguments, folder=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert "Error:" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_mistyped_command_is_told_the_nearest_one(run: Run, tmp_path: Path) -> None:
    assert "'query'" in run("qery", folder=tmp_path).stderr


def test_an_error_of_ours_is_a_message_and_what_to_do_next(run: Run, tmp_path: Path) -> None:
    result = run("query", "--store", "here/nothing", "SELECT 1", folder=tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    first, second = result.stderr.splitlines()
    assert first == f"error: there is no analytics store at {tmp_path}/here/nothing: there is no such folder."
    assert "--store" in second
    assert not (tmp_path / "here").exists()


def test_a_folder_that_is_no_store_is_not_an_empty_store(run: Run, tmp_path: Path) -> None:
    for command in (
        ["query", "SELECT 1"],
        ["runs"],
        ["report", "abc"],
        ["store", "fold"],
        ["store", "vacuum"],
        ["store", "verify"],
    ):
        result = run(*command, "--store", str(tmp_path), folder=tmp_path)
        assert result.returncode == 1
        assert "there is no analytics store" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_missing_connector_names_the_extra_that_brings_it(run: Run, tmp_path: Path) -> None:
    result = run("runs", "--store", "nowhere://bucket/store", folder=tmp_path)
    assert result.returncode == 1
    assert "storage connector 'nowhere' is not installed" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unexpected_exception_is_a_defect_of_ours_with_its_traceback_and_a_status_of_its_own() -> None:
    program = """
import sys
from checkmaite_cli import main
from checkmaite_cli import app
def broken():
    raise ValueError("a bug")
app.app = broken
main.main()
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 70
    assert "Traceback" in result.stderr
    trace, _, told = result.stderr.partition("\nerror: ")
    assert "ValueError: a bug" in trace
    assert "unexpected exception in checkmaite while running this command: ValueError: a bug" in told
    assert "not of your code or your installation" in told
    assert "checkmaite-cli " in told
    assert "Python 3." in told

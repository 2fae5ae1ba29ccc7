"""The demo end to end, on a Ray of its own, as often as its users run it."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from checkmaite_cli.demo.place import prepared
from checkmaite_core import AccessDeniedError, StorageError, StorageFullError

Run = Callable[..., "subprocess.CompletedProcess[str]"]
MODELS = ("logistic-regression", "nearest-neighbours", "random-forest", "support-vectors")
IMAGES = ["clean", "blur(0.6)", "blur(1)", "noise(0.15)", "noise(0.3)"]
IMAGES += ["occlusion(0.06)", "occlusion(0.14)", "rotation(15)", "rotation(30)"]

# A demo takes about 20 s on two free cores, of which 7 s are Ray's start; these leave room for a busy machine.
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def demo(run: Run, folder: Path) -> str:
    """What the demo prints when it is run for the first time, behind pipes."""
    result = run("demo", folder=folder)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


@pytest.fixture
def ask(run: Run, folder: Path) -> Callable[[str], list[dict[str, object]]]:
    def ask(sql: str) -> list[dict[str, object]]:
        answer = run("query", "--store", "checkmaite-demo", "--format", "json", sql, folder=folder)
        assert answer.returncode == 0, answer.stderr
        rows: list[dict[str, object]] = json.loads(answer.stdout)
        return rows

    return ask


def robustness(printed: str) -> dict[str, list[float]]:
    """The rows of the printed table."""
    rows = re.findall(r"^(clean|\w+\([\d.]+\)) +([\d. ]+\d)$", printed, flags=re.MULTILINE)
    return {images: [float(value) for value in values.split()] for images, values in rows}


def test_the_table_has_an_accuracy_for_every_model_and_perturbation(demo: str) -> None:
    table = robustness(demo)
    assert list(table) == IMAGES
    assert all(len(row) == len(MODELS) and all(0.0 <= value <= 1.0 for value in row) for row in table.values())


def test_the_accuracies_are_those_of_real_models_on_real_scans(demo: str) -> None:
    table = robustness(demo)
    assert all(0.93 < value < 1.0 for value in table["clean"])
    for mild, strong in (
        ("blur(0.6)", "blur(1)"),
        ("noise(0.15)", "noise(0.3)"),
        ("occlusion(0.06)", "occlusion(0.14)"),
        ("rotation(15)", "rotation(30)"),
    ):
        for position in range(len(MODELS)):
            clean = table["clean"][position]
            assert 0.2 < table[strong][position] < table[mild][position] <= clean


def test_the_table_is_what_the_store_answers_to_the_sql_that_is_shown(
    demo: str, ask: Callable[[str], list[dict[str, object]]]
) -> None:
    shown = re.search(r"^  SELECT.*?(?=\n\n)", demo, flags=re.MULTILINE | re.DOTALL)
    assert shown
    answer = {row.pop("images"): [round(float(str(row[model])), 3) for model in MODELS] for row in ask(shown[0])}
    assert answer == robustness(demo)


def test_it_says_what_took_long_and_how_good_the_data_is(demo: str) -> None:
    for what in ("Ray started", "37 jobs finished", "Ray stopped", "All of it took"):
        assert re.search(rf"^{what} +\d+\.\d s$", demo, flags=re.MULTILINE)
    assert "1,797 scans of 10 digits" in demo


def test_behind_pipes_it_prints_plain_lines_that_fit_80_columns(demo: str) -> None:
    assert "\x1b" not in demo
    assert "\r" not in demo
    assert re.search(r"^  \d+ finished, \d running, \d+ pending", demo, flags=re.MULTILINE)
    assert all(len(line) <= 80 for line in demo.splitlines() if not line.startswith("  checkmaite "))


def test_the_commands_that_it_suggests_work_as_they_stand(demo: str, folder: Path, shell: dict[str, str]) -> None:
    commands = [line.strip() for line in demo.splitlines() if line.startswith("  checkmaite ")]
    assert len(commands) == 4
    printed = []
    for command in commands:
        pasted = subprocess.run(
            ["bash", "-c", command], cwd=folder, env=shell, capture_output=True, text=True, check=False
        )
        assert (pasted.returncode, pasted.stderr) == (0, "")
        printed.append(pasted.stdout)
    assert "true_label" in printed[0]
    assert printed[1].startswith("# Quality of digits\n")
    assert printed[2].splitlines()[-1] == "the newest 20 of 37 runs; --limit 37 shows all"
    # Ray has gone by now, and with it the registry of these jobs.
    assert printed[3].count(" COMPLETED ") == 20
    assert "support-vectors on digits-test+occlusion(0.14)" in printed[3]


@pytest.mark.usefixtures("demo")
def test_run_again_it_says_that_results_are_reused_and_how_to_run_it_anew(run: Run, folder: Path) -> None:
    again = run("demo", "--quick", folder=folder)
    assert (again.returncode, again.stderr) == (0, "")
    assert re.search(
        r"^7 of them had completed before, from 20\d\d-\d\d-\d\d \d\d:\d\d UTC on", again.stdout, re.MULTILINE
    )
    assert "Run it anew with --force." in again.stdout
    assert "37 results, from 37 runs so far" in again.stdout


@pytest.mark.usefixtures("demo")
def test_run_anew_the_tables_have_one_copy_and_the_history_both_runs(
    start: Callable[..., Any], folder: Path, ask: Callable[[str], list[dict[str, object]]]
) -> None:
    before = ask("SELECT dataset_id, model_id, accuracy FROM model_evaluation ORDER BY ALL")
    again = start("demo", "--quick", "--force", folder=folder)
    assert again.finish() == 0
    assert "37 results, from 44 runs so far" in again.screen
    assert "had completed before" not in again.screen
    assert re.search(r"7/7|[0-6]/7 [0-6] finished, [0-2] running, [0-7] pending", again.screen)
    assert "\x1b[?25l" in again.raw.decode()
    assert again.raw.decode().rindex("\x1b[?25h") > again.raw.decode().rindex("\x1b[?25l")

    assert ask("SELECT dataset_id, model_id, accuracy FROM model_evaluation ORDER BY ALL") == before
    assert ask("SELECT count(*) AS runs, count(DISTINCT run_uid) AS results FROM runs") == [{"runs": 44, "results": 37}]
    assert ask("SELECT DISTINCT backend FROM runs") == [{"backend": "ray"}]


def test_without_a_registry_it_runs_as_well_and_speaks_of_no_jobs(run: Run, tmp_path: Path) -> None:
    result = run("demo", "--quick", "--backend", "ray-simple", folder=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert "7 results, from 7 runs so far" in result.stdout
    assert "jobs list" not in result.stdout
    assert not (tmp_path / "checkmaite-demo" / "jobs").exists()


def test_killed_without_warning_the_next_one_goes_on_where_it_was(
    start: Callable[..., Any], run: Run, tmp_path: Path
) -> None:
    killed = start("demo", "--quick", folder=tmp_path, terminal=False)
    killed.wait_for(r"[0-5] finished, [12] running")
    killed.process.kill()
    killed.finish()
    again = run("demo", "--quick", folder=tmp_path)
    assert (again.returncode, again.stderr) == (0, "")
    assert re.search(
        r"^\d of them had been submitted before, and were taken up as they stood.", again.stdout, re.MULTILINE
    )
    assert "7 results, from 7 runs so far" in again.stdout


@pytest.mark.parametrize("place", ["/proc", "/dev/null"])
def test_a_place_that_cannot_hold_the_store_is_known_before_ray_starts(run: Run, tmp_path: Path, place: str) -> None:
    result = run("demo", "--store", f"{place}/results", folder=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error: the analytics store cannot be put at {place}/results: ")
    assert "--store PATH" in result.stderr


def test_a_folder_with_something_else_in_it_is_left_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "inbox").write_text("mine")
    result = run("demo", "--store", "data", folder=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert f"{tmp_path}/data is not an analytics store" in result.stderr
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["inbox"]


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, StorageFullError), (errno.EROFS, AccessDeniedError), (errno.EIO, StorageError)],
)
def test_a_disk_that_takes_nothing_more_is_explained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int, kind: type[StorageError]
) -> None:
    # No full disk can be made without privileges, so this one only says that it is.
    def refuse(**_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(StorageError, match=re.escape(f"{tmp_path}/store: {os.strerror(number)}")) as raised:
        prepared(str(tmp_path / "store"))
    assert type(raised.value) is kind
    assert "--store PATH" in raised.value.hint


@pytest.mark.soak
def test_when_the_store_fails_later_the_first_error_is_told_once(start: Callable[..., Any], tmp_path: Path) -> None:
    demo = start("demo", "--quick", folder=tmp_path, terminal=False)
    demo.wait_for("Starting Ray")
    (tmp_path / "checkmaite-demo").mkdir()
    (tmp_path / "checkmaite-demo" / "inbox").write_text("not a folder")
    assert demo.finish() == 1
    assert "7 of 7 jobs failed; the first error stands above." in demo.screen
    assert demo.screen.count("error: job ") == 1
    assert "is not an analytics store" in demo.screen
    assert "Traceback" not in demo.screen


def test_an_unknown_backend_is_known_before_anything_starts(run: Run, tmp_path: Path) -> None:
    result = run("demo", "--backend", "ray-simpel", folder=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.splitlines()[1] == "Did you mean 'ray-simple'?"


def test_without_the_demo_extra_it_names_what_to_install(tmp_path: Path) -> None:
    # Python is told that there is no scikit-learn, as an environment without it would take long to make.
    program = "import sys; sys.modules['sklearn'] = None; sys.argv = ['checkmaite', 'demo']; "
    program += "from checkmaite_cli.main import main; main()"
    result = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    first, second = result.stderr.splitlines()
    assert first == "error: the demo needs packages that are not installed here (sklearn)."
    assert second == 'Install them: pip install "checkmaite-cli[demo]"'

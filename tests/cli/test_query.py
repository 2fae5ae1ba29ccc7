"""Asking a store, and what its strings may do to a terminal."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import subprocess
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkmaite_analytics_store import AnalyticsStore
from checkmaite_cli.console import plain
from checkmaite_cli.opening import opened
from checkmaite_cli.output import write_csv, write_json
from checkmaite_core import Record
from checkmaite_core.errors import AccessDeniedError, StoreError, StoreFormatError

Run = Callable[..., "subprocess.CompletedProcess[str]"]
NASTY = "\x1b]0;owned\x07 [red]\x9b31m[/red] \u202eevil :smile: \x7f"
ESCAPED = "\\x1b]0;owned\\x07 [red]\\x9b31m[/red] \\u202eevil :smile: \\x7f"


class Score(Record, table_name="scores"):
    position: int
    note: str | None
    value: float


class NastyRun:
    """A run whose texts do what they can to a terminal."""

    run_uid = "run-1"
    capability_id = f"package.{NASTY}"
    dataset_metadata = ({"id": NASTY},)
    model_metadata = ()
    metric_metadata = ()

    def extract(self) -> Iterator[Record]:
        for position in range(120):
            yield Score(run_uid=self.run_uid, position=position, note=NASTY if position else None, value=position / 7)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    with AnalyticsStore(folder / "results") as store:
        store.write(NastyRun())
    return folder


@pytest.fixture
def ask(run: Run, folder: Path) -> Run:
    def ask(sql: str, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return run("query", "--store", "results", sql, *options, folder=folder, **variables)

    return ask


def test_a_table_shows_the_rows_and_their_number(ask: Run) -> None:
    result = ask("SELECT position, value FROM scores WHERE position < 3 ORDER BY position")
    assert result.returncode == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["position", "value"]
    assert lines[2:] == [["0", "0"], ["1", "0.142857"], ["2", "0.285714"], ["3", "rows"]]


def test_text_that_the_locale_cannot_encode_is_written_out(ask: Run) -> None:
    plain_ascii = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for options, shown in (
        ((), "S\\xe3o"),
        (("--format", "csv"), "S\\xe3o"),
        (("--format", "json"), '"S\\u00e3o"'),
    ):
        result = ask("SELECT 'S' || chr(227) || 'o' AS place", *options, **plain_ascii)
        assert (result.returncode, result.stderr) == (0, "")
        assert shown in result.stdout
    refused = ask("SELECT 'S\u00e3o' AS place", **plain_ascii)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "LC_ALL=C.UTF-8" in refused.stderr


def test_a_terminal_that_says_it_has_no_columns_still_gets_the_table(ask: Run) -> None:
    assert "position" in ask("SELECT position FROM scores LIMIT 1", COLUMNS="0").stdout


def test_a_store_is_found_by_the_uri_that_a_jobs_reference_gives(run: Run, tmp_path: Path) -> None:
    with AnalyticsStore(tmp_path / "my résults #1%") as store:
        store.write(NastyRun())
        result = run("query", "--store", store.uri, "SELECT count(*) AS n FROM scores", folder=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert "120" in result.stdout


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.EACCES, AccessDeniedError), (errno.EIO, StoreFormatError)], ids=["denied", "broken"]
)
def test_a_folder_that_cannot_be_looked_into_is_told_from_one_without_a_store(
    number: int, kind: type[StoreError], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    def stat(path: Path, **_: object) -> None:  # the tests may run as root, to whom no folder is closed
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "stat", stat)
    with pytest.raises(kind, match="cannot be seen"), opened(str(folder / "results")):
        pass


def test_a_long_table_says_what_it_leaves_out(ask: Run) -> None:
    result = ask("SELECT position FROM scores ORDER BY position", "--limit", "5")
    assert result.stdout.splitlines()[-2:] == ["       4", "the first 5 of 120 rows; --limit 120 shows all"]


def test_a_wide_table_names_the_columns_that_do_not_fit(ask: Run) -> None:
    result = ask("SELECT position, note, note AS again, value AS last_one FROM scores LIMIT 2", COLUMNS="80")
    assert max(map(len, result.stdout.splitlines()[:4])) <= 80
    assert "2 more columns do not fit: again, last_one" in result.stdout


def test_csv_is_whole_and_reads_back(ask: Run) -> None:
    result = ask("SELECT position, value, note FROM scores ORDER BY position", "--format", "csv", "--limit", "5")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [int(row["position"]) for row in rows] == list(range(120))
    assert [float(row["value"]) for row in rows] == [position / 7 for position in range(120)]
    assert [row["note"] for row in rows[:2]] == ["", ESCAPED]


def test_json_is_whole_and_keeps_every_character(ask: Run) -> None:
    result = ask("SELECT position, value, note FROM scores ORDER BY position", "--format", "json")
    rows = json.loads(result.stdout)
    assert rows[0] == {"position": 0, "value": 0.0, "note": None}
    assert rows[-1] == {"position": 119, "value": 17.0, "note": NASTY}


def test_json_of_no_rows_is_an_empty_array(ask: Run) -> None:
    assert json.loads(ask("SELECT * FROM scores WHERE false", "--format", "json").stdout) == []


def test_json_refuses_two_columns_of_one_name(ask: Run) -> None:
    result = ask("SELECT 1 AS a, 2 AS a", "--format", "json")
    assert result.returncode == 1
    assert "two columns of the answer are called 'a'" in result.stderr


@pytest.mark.parametrize("shape", ["table", "csv", "json"])
def test_stored_text_cannot_act_on_the_terminal(start: Callable[..., Any], folder: Path, shape: str) -> None:
    running = start("query", "--store", "results", "SELECT note FROM scores LIMIT 3", "--format", shape, folder=folder)
    assert running.finish() == 0
    assert b"\x1b]" not in running.raw
    assert not set(running.screen) & set("\x07\x7f\x9b\u202e")
    assert "[red]" in running.screen


def test_neither_can_the_names_of_what_ran_or_an_error(ask: Run, run: Run, folder: Path) -> None:
    history = run("runs", "--store", "results", folder=folder, COLUMNS="200")
    assert ESCAPED in history.stdout
    refused = ask("SELECT '\x1b[31m' FROM nowhere\x1b[31m")
    assert refused.returncode == 1
    assert "\x1b" not in history.stdout + refused.stderr


def test_a_refused_statement_says_why_and_what_tables_there_are(ask: Run) -> None:
    for sql in (
        "SELECT * FROM nowhere",
        "DROP TABLE runs",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT 1; SELECT 2",
    ):
        result = ask(sql)
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr.startswith("error: ")
        assert "Traceback" not in result.stderr
    assert "runs, scores" in ask("SELECT * FROM nowhere").stderr


def test_a_reader_that_leaves_early_is_no_error(shell: dict[str, str], folder: Path) -> None:
    sql = "SELECT a.note FROM scores a, scores b, scores c LIMIT 200000"
    command = f'set -o pipefail; checkmaite query --store results "{sql}" --format csv | head -n 1'
    result = subprocess.run(["bash", "-c", command], cwd=folder, env=shell, capture_output=True, text=True, check=False)
    assert result.stdout == "note\n"
    assert result.stderr == ""


def test_ctrl_c_ends_a_long_query_without_a_trace(start: Callable[..., Any], folder: Path) -> None:
    asking = start(
        "query", "--store", "results", "SELECT count(*) FROM range(10000000000) a, range(1000) b", folder=folder
    )
    maps = Path(f"/proc/{asking.process.pid}/maps")
    asking.wait_until(lambda: "duckdb" in maps.read_text(), "the query engine")
    asking.press_ctrl_c()
    assert asking.finish() == 130
    assert asking.screen.split() == ["^C", "Interrupted."]


def test_damage_that_no_fold_can_set_aside_is_to_be_restored(run: Run, tmp_path: Path) -> None:
    with AnalyticsStore(tmp_path / "results") as store:
        store.write(NastyRun())
        store.fold()
    (manifest,) = (tmp_path / "results" / "manifests").iterdir()
    manifest.write_bytes(b"{}")
    damage = run("store", "verify", "--store", "results", folder=tmp_path)
    assert damage.returncode == 1
    assert "Restore them from a copy" in damage.stdout
    assert "checkmaite store fold" not in damage.stdout


def test_a_damaged_object_is_named_then_set_aside_then_warned_about(run: Run, tmp_path: Path) -> None:
    with AnalyticsStore(tmp_path / "results") as store:
        store.write(NastyRun())
    [bundle] = (tmp_path / "results" / "inbox").iterdir()
    os.truncate(bundle, bundle.stat().st_size - 10)
    query = ("query", "--store", "results", "SELECT count(*) AS n FROM runs", "--format", "csv")

    refused, damage = run(*query, folder=tmp_path), run("store", "verify", "--store", "results", folder=tmp_path)
    assert (refused.returncode, damage.returncode) == (1, 1)
    assert bundle.name in refused.stderr
    assert f"damaged: inbox/{bundle.name}" in damage.stdout

    fold = run("store", "fold", "--store", "results", folder=tmp_path)
    assert f"set aside, since it cannot be read: inbox/{bundle.name}" in fold.stdout
    answered = run(*query, folder=tmp_path)
    assert (answered.returncode, answered.stdout) == (0, "n\n0\n")
    assert answered.stderr.startswith("warning: ")
    assert bundle.name in answered.stderr


def test_fold_vacuum_and_verify_say_what_they_did(run: Run, tmp_path: Path) -> None:
    with AnalyticsStore(tmp_path / "results") as store:
        store.write(NastyRun())
    fold = run("store", "fold", "--store", "results", folder=tmp_path)
    assert fold.stdout == "1 run folded; the tables now lie in 2 Parquet files.\n"
    vacuum = run("store", "vacuum", "--store", "results", folder=tmp_path)
    assert (vacuum.returncode, vacuum.stdout) == (0, "There was nothing to remove.\n")
    verify = run("store", "verify", "--store", "results", folder=tmp_path)
    assert verify.returncode == 0
    assert "all of them are what was written" in verify.stdout


@given(st.text())
def test_plain_text_holds_nothing_that_acts(text: str) -> None:
    shown = plain(text)
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert not set(shown) & set("\u202e\u2066")


@given(st.lists(st.tuples(st.text(), st.none() | st.integers(-(2**63), 2**63 - 1) | st.binary()), max_size=5))
def test_json_and_csv_have_one_row_per_row(rows: list[tuple[object, object]]) -> None:
    written = io.StringIO()
    write_json(written, ["a", "b"], rows)
    assert [row["a"] for row in json.loads(written.getvalue())] == [row[0] for row in rows]
    assert not set(written.getvalue()) & set("\x1b\x7f\x9b\u202e")
    written = io.StringIO(newline="")
    write_csv(written, ["a", "b"], rows)
    assert len(list(csv.reader(io.StringIO(written.getvalue(), newline="")))) == 1 + len(rows)

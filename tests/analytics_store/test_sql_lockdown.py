"""SQL is input from outside: it must reach the store's tables and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pytest

from checkmaite_analytics_store import AnalyticsStore
from checkmaite_core.errors import CorruptObjectError, QueryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

SECRET = "the launch code is 0000"


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder beside the stores with things to steal."""
    import duckdb

    folder = tmp_path_factory.mktemp("lockdown") / "outside"
    folder.mkdir()
    (folder / "secret.txt").write_text(SECRET)
    (folder / "secret.csv").write_text(f"a\n{SECRET}\n")
    (folder / "secret.json").write_text(f'{{"a": "{SECRET}"}}')
    duckdb.sql(f"COPY (SELECT '{SECRET}' AS a) TO '{folder}/secret.parquet'")
    with duckdb.connect(str(folder / "secret.duckdb")) as connection:
        connection.execute(f"CREATE TABLE t AS SELECT '{SECRET}' AS a")
    return folder


@pytest.fixture(scope="module", params=["new", "folded", "both"])
def prepared(request: pytest.FixtureRequest, outside: Path, make: ModuleType) -> Iterator[AnalyticsStore]:
    store = AnalyticsStore(outside.parent / request.param)
    store.commit(make.scores_of("job-1", "run-1", 1.0))
    if request.param != "new":
        store.fold()
    if request.param == "both":
        store.commit(make.scores_of("job-2", "run-1", 2.0))
    assert store.query("SELECT * FROM scores").num_rows == 1
    yield store
    store.close()


READS = [
    "SELECT * FROM read_text('{outside}/secret.txt')",
    "SELECT * FROM read_blob('{outside}/secret.txt')",
    "SELECT * FROM read_csv('{outside}/secret.csv')",
    "SELECT * FROM read_csv_auto('{outside}/*.csv')",
    "SELECT * FROM read_json('{outside}/secret.json')",
    "SELECT * FROM read_json_objects('{outside}/secret.json')",
    "SELECT * FROM read_parquet('{outside}/secret.parquet')",
    "SELECT * FROM parquet_metadata('{outside}/secret.parquet')",
    "SELECT * FROM '{outside}/secret.parquet'",
    "SELECT * FROM '{outside}/secret.csv'",
    "SELECT * FROM sniff_csv('{outside}/secret.csv')",
    "SELECT * FROM glob('{outside}/*')",
    "SELECT * FROM glob('{root}/*')",
    "SELECT * FROM read_text('{root}/store.json')",
    "SELECT * FROM read_text('{root}/tables/../../outside/secret.txt')",
    "SELECT * FROM read_text('{root}/tables/scores/../../../outside/secret.txt')",
    "SELECT * FROM read_text('/proc/self/environ')",
    "SELECT * FROM read_text('https://example.com/')",
    "SELECT * FROM query('SELECT * FROM read_text(''{outside}/secret.txt'')')",
    "SELECT * FROM query_table('{outside}/secret.parquet')",
    "WITH a AS (SELECT * FROM read_text('{outside}/secret.txt')) FROM a",
    "SELECT (SELECT content FROM read_text('{outside}/secret.txt'))",
    "SELECT getenv('HOME')",
    "SELECT * FROM python_variable",
    "SELECT * FROM secret_table",
]

STATEMENTS = [
    "COPY scores TO '{outside}/stolen.csv'",
    "COPY (SELECT 1) TO '{file}'",
    "EXPORT DATABASE '{outside}/stolen'",
    "IMPORT DATABASE '{outside}'",
    "ATTACH '{outside}/secret.duckdb' AS other",
    "ATTACH '{outside}/new.duckdb'",
    "DETACH memory",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{outside}/evil.duckdb_extension'",
    "SET enable_external_access = true",
    "SET GLOBAL lock_configuration = false",
    "RESET enable_external_access",
    "SET allowed_paths = ['/']",
    "PRAGMA enable_profiling",
    "PRAGMA database_list",
    "CALL enable_logging(storage = 'file', storage_path = '{outside}/log')",
    "CREATE TABLE t AS SELECT 1",
    "CREATE OR REPLACE TEMP VIEW scores AS SELECT 1",
    "CREATE SECRET s (TYPE s3)",
    "CREATE MACRO m(a) AS a",
    "DROP VIEW scores",
    "INSERT INTO scores VALUES (1)",
    "DELETE FROM scores",
    "UPDATE scores SET value = 0",
    "EXPLAIN ANALYZE COPY scores TO '{outside}/stolen.csv'",
    "PREPARE p AS SELECT 1",
    "CHECKPOINT",
    "BEGIN",
    "USE memory",
    "SELECT 1; COPY scores TO '{outside}/stolen.csv'",
    "SELECT 1; SELECT 2",
    "",
    ";",
    "-- nothing",
]


def everything_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("sql", READS + STATEMENTS)
def test_sql_reaches_nothing_outside_the_store_and_changes_nothing(
    prepared: AnalyticsStore, outside: Path, monkeypatch: pytest.MonkeyPatch, sql: str
) -> None:
    root = Path(unquote(urlsplit(prepared.uri).path))
    python_variable = pa.table({"a": [SECRET]})
    assert python_variable.num_rows == 1
    monkeypatch.chdir(outside.parent)
    before = everything_below(outside.parent)
    file = (prepared.files("scores") or ["no file"])[0]
    answer = prepared.query("SELECT * FROM scores").to_pylist()
    with pytest.raises(QueryError):
        print(prepared.query(sql.format(outside=outside, root=root, file=file)))
    assert everything_below(outside.parent) == before
    assert prepared.query("SELECT * FROM scores").to_pylist() == answer


secret_table = pa.table({"a": [SECRET]})


def test_logging_and_profiling_cannot_be_turned_to_a_file(prepared: AnalyticsStore, outside: Path) -> None:
    before = everything_below(outside.parent)
    for sql in (
        f"SELECT * FROM enable_logging(storage => 'file', storage_path => '{outside}/log')",
        f"SELECT * FROM enable_profiling(save_location => '{outside}/profile')",
    ):
        with pytest.raises(QueryError):
            prepared.query(sql)
    assert everything_below(outside.parent) == before


def test_nothing_of_python_or_of_storage_options_shows_in_the_engines_own_tables(prepared: AnalyticsStore) -> None:
    settings = {row["name"]: row["value"] for row in prepared.query("FROM duckdb_settings()").to_pylist()}
    assert settings["enable_external_access"] == "false"
    assert settings["lock_configuration"] == "true"
    assert settings["autoload_known_extensions"] == "false"
    assert settings["autoinstall_known_extensions"] == "false"
    assert settings["python_enable_replacements"] == "false"
    with pytest.raises(QueryError, match="Permission"):
        prepared.query("FROM duckdb_secrets()")


def test_sorting_more_than_memory_spills_nowhere_near_the_working_directory(
    prepared: AnalyticsStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert prepared.query("SELECT range AS n FROM range(300000) ORDER BY hash(range)").num_rows == 300_000
    assert not (tmp_path / ".tmp").exists()
    (spill,) = prepared.query("SELECT value FROM duckdb_settings() WHERE name = 'temp_directory'").to_pylist()
    assert "checkmaite-sql-" in spill["value"]
    prepared.close()
    assert not Path(spill["value"]).exists()


def test_a_folded_file_replaced_by_a_link_is_not_read(
    open_store: Callable[..., AnalyticsStore], make: ModuleType, outside: Path
) -> None:
    open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    open_store().fold()
    file = Path(open_store().files("scores")[0])
    file.unlink()
    file.symlink_to(outside / "secret.parquet")
    with pytest.raises(CorruptObjectError, match="symbolic link"):
        open_store().query("SELECT * FROM scores")

"""A query reads what it needs: by table, by column, by row group; and says which object is at fault."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from checkmaite_analytics_store import AnalyticsStore, StoreSettings
from checkmaite_core.errors import AccessDeniedError, CorruptObjectError, QueryError, StorageUnreachableError
from checkmaite_core.record import Record
from checkmaite_storage import LocalObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

ROWS = 40_000


class Wide(Record, table_name="wide"):
    number: int
    text: str


class FarFilesystem:
    """Ranges of local files, written down; ``failure`` is raised instead if it is set."""

    def __init__(self) -> None:
        self.ranges: list[tuple[str, int]] = []
        self.failure: Exception | None = None

    def cat_file(self, path: str, start: int, end: int) -> bytes:
        if self.failure:
            raise self.failure
        self.ranges.append((path, end - start))
        with open(path, "rb") as file:
            file.seek(start)
            return file.read(end - start)

    def read_of(self, table: str) -> int:
        """Bytes of a table's files."""
        return sum(size for path, size in self.ranges if f"/tables/{table}/" in path)


class FarObjects(LocalObjectStore):
    """A folder that no other program of this machine can open: what an object store is like, with ranges to count.

    A fake, because no server tells bytes apart by who asked for them, nor fails on demand in the middle of a scan.
    """

    filesystem = None  # type: ignore[assignment]

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.filesystem = FarFilesystem()  # type: ignore[misc]
        self.whole: list[str] = []
        self.refuse: Exception | None = None

    @property
    def is_local(self) -> bool:
        return False

    def get(self, key: str) -> bytes:
        if self.refuse and key.startswith("tables/"):
            raise self.refuse
        self.whole.append(key)
        return super().get(key)


@pytest.fixture
def open_far(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], tuple[AnalyticsStore, Any]]]:
    opened = []

    def open_one() -> tuple[AnalyticsStore, Any]:
        with monkeypatch.context() as patched:
            patched.setattr("checkmaite_analytics_store._store.open_object_store", lambda uri, _: FarObjects(uri))
            store = AnalyticsStore(root)
        opened.append(store)
        return store, store._objects

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, make: ModuleType) -> Path:
    """A store whose folded table ``wide`` has several row groups and a long column."""
    root = tmp_path_factory.mktemp("big") / "store"
    with AnalyticsStore(root, settings=StoreSettings(fold_after=0)) as store:
        for number in range(4):
            uid = f"run-{number}"
            rows = [
                Wide.model_construct(run_uid=uid, number=row, text=f"{row * 7919 % 100_003:x}" * 4)
                for row in range(ROWS)
            ]
            store.commit(make.bundle_of(f"job-{number}", uid, rows))
            store.commit(make.scores_of(f"score-{number}", f"score-{number}", 1.0))
        store.fold()
    return root


@pytest.fixture
def big(root: Path, built: Path) -> int:
    """A copy of it as the test's store; bytes of the table."""
    shutil.copytree(built, root)
    return sum(path.stat().st_size for path in (root / "tables" / "wide").iterdir())


def test_far_away_only_the_columns_and_row_groups_that_a_query_needs_are_read(
    big: int, open_far: Callable[[], tuple[AnalyticsStore, Any]]
) -> None:
    store, objects = open_far()
    answer = store.query("SELECT sum(number) AS s FROM wide").to_pylist()
    assert answer == [{"s": 4 * sum(range(ROWS))}]
    assert objects.filesystem.read_of("wide") < big / 2
    objects.filesystem.ranges.clear()
    assert store.query("SELECT count(text) AS n FROM wide WHERE run_uid = 'run-0'").to_pylist() == [{"n": ROWS}]
    assert 0 < objects.filesystem.read_of("wide") < big * 2 / 3
    assert not [key for key in objects.whole if key.startswith("tables/")]
    assert {Path(path).parent.name for path, _ in objects.filesystem.ranges} == {"wide"}


def test_on_local_disk_filters_and_columns_reach_the_parquet_reader(big: int, root: Path, make: ModuleType) -> None:
    with AnalyticsStore(root) as store:
        store.commit(make.scores_of("late", "run-3", 1.0))  # so that folded rows have to be left out
        plan = store.query("EXPLAIN SELECT number FROM wide WHERE run_uid = 'run-0'").to_pylist()[0]["explain_value"]
    scan = plan[plan.index("READ_PARQUET") :]
    assert "run_uid" in scan
    assert "run-0" in scan
    assert "text" not in plan


def test_a_damaged_file_hinders_only_the_queries_that_can_read_it(
    open_store: Callable[..., AnalyticsStore], make: ModuleType, root: Path
) -> None:
    open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    open_store().fold()
    victim = next((root / "tables" / "scores").iterdir())
    victim.write_bytes(victim.read_bytes()[:-1])
    store = open_store()
    assert store.query("SELECT run_uid FROM runs").to_pylist() == [{"run_uid": "run-1"}]
    assert {row["name"] for row in store.query("SHOW TABLES").to_pylist()} >= {"runs", "scores"}
    assert store.query("SELECT column_name FROM information_schema.columns WHERE column_name = 'value'").num_rows == 1
    for sql in (
        "SELECT * FROM Scores",
        'SELECT 1 FROM "scores"',
        "FROM query('SELECT * FROM sc' || 'ores')",
        "FROM query_table('sc' || 'ores')",
        "WITH runs AS (FROM scores) FROM runs",
    ):
        with pytest.raises(CorruptObjectError, match=victim.name):
            store.query(sql)
    assert store.query("SELECT run_uid FROM runs").num_rows == 1


def test_far_away_damage_inside_a_page_is_found_by_its_checksum_and_named(
    big: int, open_far: Callable[[], tuple[AnalyticsStore, Any]], root: Path
) -> None:
    [victim] = (root / "tables" / "wide").iterdir()
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    store, _ = open_far()
    with pytest.raises(CorruptObjectError, match=victim.name):
        store.query("SELECT max(text), max(number), max(event_id) FROM wide")
    assert store.query("SELECT count(*) AS n FROM scores").to_pylist() == [{"n": 4}]


@pytest.mark.parametrize("table", ["scores", "_references", "runs"])
@pytest.mark.parametrize("damage", ["gone", "short", "denied", "unreachable"])
def test_far_away_a_file_that_cannot_be_read_is_an_error_of_the_store_without_a_word_of_the_library(
    open_far: Callable[[], tuple[AnalyticsStore, Any]], make: ModuleType, root: Path, table: str, damage: str
) -> None:
    store, objects = open_far()
    store.commit(make.scores_of("job-1", "run-1", 1.0))
    store.fold()
    if table == "runs":
        store.commit(make.scores_of("job-2", "run-1", 2.0))  # so that the older event is looked for
    if table == "_references":
        next((root / "inbox").iterdir()).unlink()
    victim = next((root / "tables" / table).iterdir())
    expected: type[Exception] = CorruptObjectError
    if damage == "gone":
        victim.unlink()
    elif damage == "short":
        victim.write_bytes(victim.read_bytes()[:-3])
    else:
        expected = AccessDeniedError if damage == "denied" else StorageUnreachableError
        objects.refuse = expected(f"{victim.name} is {damage}", hint="wait", uri="far")
        objects.filesystem.failure = PermissionError("the library says: hunter2")
    with pytest.raises(expected, match=victim.name) as caught:
        store.reference("job-1") if table == "_references" else store.query("SELECT * FROM scores")
    error: BaseException | None = caught.value
    while error is not None:
        assert "hunter2" not in str(error)
        error = error.__cause__ or error.__context__


def test_far_away_a_moment_of_failure_is_told_as_one(
    open_far: Callable[[], tuple[AnalyticsStore, Any]], make: ModuleType
) -> None:
    store, objects = open_far()
    store.commit(make.scores_of("job-1", "run-1", 1.0))
    store.fold()
    objects.filesystem.failure = ConnectionResetError("gone")
    with pytest.raises(StorageUnreachableError, match="could not be read in parts"):
        store.query("SELECT * FROM scores")
    objects.filesystem.failure = None
    assert store.query("SELECT * FROM scores").num_rows == 1


def test_a_file_that_went_with_an_older_manifest_is_no_damage(
    open_store: Callable[..., AnalyticsStore], make: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    open_store().fold()
    store = open_store()
    old = Path(store.files("scores")[0])
    build = store._views._build
    steps: list[str] = []

    def meanwhile(snapshot: Any) -> Any:
        """Between the view and its reading, others write, fold, and remove what no new manifest names."""
        if not steps:
            steps.append("folded")
            open_store().commit(make.scores_of("job-2", "run-1", 2.0))
            open_store().fold()
            old.unlink()
        return build(snapshot)

    store._views._last = None
    monkeypatch.setattr(store._views, "_build", meanwhile)
    assert store.query("SELECT value FROM scores").to_pylist() == [{"value": 2.0}]
    assert steps == ["folded"]


def test_explain_shows_the_plan_of_a_select_and_of_nothing_else(
    open_store: Callable[..., AnalyticsStore], make: ModuleType
) -> None:
    store = open_store()
    store.commit(make.scores_of("job-1", "run-1", 1.0))
    for sql in ("EXPLAIN SELECT * FROM scores", "explain analyze select 1", "EXPLAIN ANALYZE FROM scores"):
        assert store.query(sql).num_rows >= 1
    for sql in (
        "EXPLAIN CREATE TABLE t AS SELECT 1",
        "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1",
        "EXPLAIN SELECT 1; SELECT 2",
    ):
        with pytest.raises(QueryError):
            store.query(sql)


def test_a_pivot_without_values_is_told_how_to_list_them(
    open_store: Callable[..., AnalyticsStore], make: ModuleType
) -> None:
    store = open_store()
    store.commit(make.scores_of("job-1", "run-1", 1.0))
    with pytest.raises(QueryError, match=r"PIVOT table ON column IN \('a', 'b'\)"):
        store.query("PIVOT scores ON label USING sum(value)")


def test_the_engines_own_tables_are_not_suggested_in_place_of_ours(
    open_store: Callable[..., AnalyticsStore], make: ModuleType
) -> None:
    store = open_store()
    store.commit(make.scores_of("job-1", "run-1", 1.0))
    with pytest.raises(QueryError) as caught:
        store.query("SELECT * FROM nope_enum")
    assert "Did you mean" not in str(caught.value)
    with pytest.raises(QueryError, match='Did you mean "scores"'):
        store.query("SELECT * FROM score")

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from checkmaite_analytics_store import AnalyticsStore, QuarantinedObjectWarning
from checkmaite_analytics_store._bundle import encode_bundle
from checkmaite_analytics_store._schemas import registration
from checkmaite_core.errors import CorruptObjectError, SchemaError
from checkmaite_core.record import Record, ScalarType
from checkmaite_storage import LocalObjectStore

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType


def record(**fields: Any) -> Record:
    """A record of the table ``shapes`` with the types of the values given."""
    kind = type(
        "Shape",
        (Record,),
        {"__annotations__": {name: type(value) for name, value in fields.items()}, "__module__": __name__},
        table_name="shapes",
    )
    return kind(run_uid="run-1", **fields)  # type: ignore[no-any-return]


def test_columns_that_come_later_are_null_for_older_rows_folded_or_not(
    open_store: Callable[..., AnalyticsStore], make: ModuleType
) -> None:
    wanted = [
        {"event_id": "job-1", "a": 1, "b": None, "c": None},
        {"event_id": "job-2", "a": 2, "b": 2.5, "c": None},
        {"event_id": "job-3", "a": None, "b": None, "c": "x"},
    ]
    sql = "SELECT event_id, a, b, c FROM shapes ORDER BY event_id"
    shapes = [record(a=1), record(a=2, b=2.5), record(c="x")]
    for number, shape in enumerate(shapes, start=1):
        shape = shape.model_copy(update={"run_uid": f"run-{number}"})
        open_store().commit(make.bundle_of(f"job-{number}", f"run-{number}", [shape]))
        if number == 1:
            open_store().fold()
    assert open_store().query(sql).to_pylist() == wanted
    open_store().fold()
    assert open_store().query(sql).to_pylist() == wanted
    assert open_store().schema("shapes") == {
        "event_id": "string",
        "run_uid": "string",
        "a": "int64",
        "b": "float64",
        "c": "string",
    }


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize(
    ("first", "second", "types"),
    [
        (1, 1.0, ("int64", "float64")),
        (1.0, 1, ("float64", "int64")),
        ("x", 1, ("string", "int64")),
        (True, 1, ("bool", "int64")),
    ],
)
def test_a_column_that_changes_type_is_refused_by_name_with_both_types(
    open_store: Callable[..., AnalyticsStore],
    make: ModuleType,
    root: Path,
    folded: bool,
    first: Any,
    second: Any,
    types: tuple[str, str],
) -> None:
    writer = open_store()
    writer.commit(make.bundle_of("job-1", "run-1", [record(value=first)]))
    if folded:
        open_store().fold()
    for store in (writer, open_store()):
        with pytest.raises(SchemaError) as caught:
            store.commit(make.bundle_of("job-2", "run-1", [record(value=second)]))
        for word in ("'shapes'", "'value'", *types):
            assert word in str(caught.value)
    assert not (root / "inbox" / "job-2.run").exists()
    assert open_store().query("SELECT value FROM shapes").to_pylist() == [{"value": first}]


def test_of_processes_that_race_to_give_a_column_its_type_one_wins_and_the_others_are_told(
    open_store: Callable[..., AnalyticsStore], start_worker: Callable[[str, str], subprocess.Popen[str]]
) -> None:
    workers = [start_worker("retype", str(number)) for number in range(4)]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    outcomes = [worker.communicate(timeout=60)[0].strip() for worker in workers]
    assert sorted(outcome == "stored" for outcome in outcomes) == [False, False, False, True]
    winner = ("string", "int64", "float64", "bool")[outcomes.index("stored")]
    for outcome in outcomes:
        assert outcome == "stored" or f"table 'racing', column 'value': the store has it as {winner}" in outcome
    assert open_store().schema("racing")["value"] == winner
    assert open_store().query("SELECT count(*) AS n FROM racing").to_pylist() == [{"n": 1}]


def test_a_bundle_with_a_wrong_type_that_got_in_anyway_is_named_then_quarantined(
    open_store: Callable[..., AnalyticsStore], make: ModuleType, root: Path
) -> None:
    open_store().commit(make.bundle_of("job-1", "run-1", [record(value=1)]))
    wrong = encode_bundle(make.bundle_of("job-2", "run-1", [record(value="text")]))
    (root / "inbox" / "job-2.run").write_bytes(wrong)
    with pytest.raises(CorruptObjectError, match=r"job-2\.run.*'value' is string, but is registered as int64"):
        open_store().query("SELECT * FROM shapes")
    assert open_store().fold().quarantined == ("inbox/job-2.run",)
    with pytest.warns(QuarantinedObjectWarning, match=r"job-2\.run"):
        assert open_store().query("SELECT value FROM shapes").to_pylist() == [{"value": 1}]


def test_two_types_never_become_text_silently(open_store: Callable[..., AnalyticsStore], make: ModuleType) -> None:
    open_store().commit(make.bundle_of("job-1", "run-1", [record(value=1)]))
    open_store().fold()
    open_store().commit(make.bundle_of("job-2", "run-2", [record(other=2.0).model_copy(update={"run_uid": "run-2"})]))
    answer = open_store().query("SELECT value, other FROM shapes")
    assert {field.name: str(field.type) for field in answer.schema} == {"value": "int64", "other": "double"}


def test_a_registration_is_read_by_a_process_that_did_not_make_it(
    open_store: Callable[..., AnalyticsStore], make: ModuleType, root: Path
) -> None:
    open_store().commit(make.bundle_of("job-1", "run-1", [record(größe=1.5)]))
    open_store().commit(make.bundle_of("job-2", "run-2", [record(größe=2.5).model_copy(update={"run_uid": "run-2"})]))
    open_store().fold()
    assert open_store().query('SELECT sum("größe") AS s FROM shapes').to_pylist() == [{"s": 4.0}]
    assert [path.name for path in (root / "schemas" / "shapes").iterdir()] == ["gr%C3%B6%C3%9Fe.json"]


def test_a_column_name_that_is_too_long_for_a_key_is_refused(store: AnalyticsStore, make: ModuleType) -> None:
    with pytest.raises(SchemaError, match="too long"):
        store.commit(make.bundle_of("job-1", "run-1", [record(**{"x" * 300: 1})]))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Every request to the storage, as verb and key or prefix."""
    requests: list[tuple[str, str]] = []

    def counted(verb: str) -> None:
        real = getattr(LocalObjectStore, verb)

        def call(self: LocalObjectStore, key: str = "", *rest: Any) -> Any:
            requests.append((verb, key))
            return real(self, key, *rest)

        monkeypatch.setattr(LocalObjectStore, verb, call)

    for verb in ("get", "list", "put_if_absent", "delete"):
        counted(verb)
    return requests


def wide(number: int, extra: int = 0) -> Record:
    columns = {f"c{position}": float(position) for position in range(20 + extra)}
    return record(**columns).model_copy(update={"run_uid": f"run-{number}"})


def test_to_learn_a_table_takes_one_listing_however_many_columns_it_has_and_then_a_write_is_one_request(
    open_store: Callable[..., AnalyticsStore], make: ModuleType, asked: list[tuple[str, str]]
) -> None:
    first, second = open_store(), open_store()
    first.commit(make.bundle_of("job-0", "run-0", [wide(0)]))
    assert sum(verb == "put_if_absent" and key.startswith("schemas/") for verb, key in asked) == 20
    asked.clear()
    second.commit(make.bundle_of("job-1", "run-1", [wide(1)]))
    assert [key for _, key in asked] == ["store.json", "schemas/shapes/", "inbox/job-1.run", "manifests/"]
    for bundle in (
        make.bundle_of("job-2", "run-2", [wide(2)]),
        make.bundle_of("job-2", "run-2", [wide(2)]),
        make.bundle_of("job-3", "run-3", []),
    ):
        asked.clear()
        second.commit(bundle)
        assert asked == [("put_if_absent", f"inbox/{bundle.event_id}.run")]
    asked.clear()
    second.commit(make.bundle_of("job-4", "run-4", [wide(4, extra=1)]))
    assert [key for _, key in asked] == ["schemas/shapes/", "schemas/shapes/c20.json", "inbox/job-4.run"]


def test_a_reader_learns_the_types_of_all_tables_from_one_listing(
    open_store: Callable[..., AnalyticsStore], make: ModuleType, asked: list[tuple[str, str]]
) -> None:
    open_store().commit(make.bundle_of("job-1", "run-1", [wide(1)]))
    open_store().commit(make.scores_of("job-2", "run-2", 1.0))
    asked.clear()
    assert open_store().query("SELECT c3 FROM shapes").num_rows == 1
    assert [request for request in asked if "schemas/" in request[1]] == [("list", "schemas/")]


def test_the_size_of_a_registration_tells_its_type() -> None:
    for column in ("a", "größe", "x" * 200):
        sizes = [len(registration("shapes", column, kind)) for kind in ScalarType]
        assert sorted(sizes) == list(range(min(sizes), min(sizes) + 7 * 32, 32))


def test_a_whole_number_column_that_becomes_real_is_told_how_to_go_on(store: AnalyticsStore, make: ModuleType) -> None:
    store.commit(make.bundle_of("job-1", "run-1", [record(whole=1, real=1.5)]))
    with pytest.raises(SchemaError, match=r"'whole'.*int64.*float64(?s:.)*coalesce"):
        store.commit(make.bundle_of("job-2", "run-1", [record(whole=1.5)]))
    with pytest.raises(SchemaError, match=r"'real'.*float64.*int64(?s:.)*Declare the record's field as float"):
        store.commit(make.bundle_of("job-2", "run-1", [record(real=1)]))


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-1], lambda data: data[:40] + b"?" * 99])
def test_a_damaged_registration_is_named_with_its_remedy_and_loses_no_run(
    open_store: Callable[..., AnalyticsStore], make: ModuleType, root: Path, damage: Callable[[bytes], bytes]
) -> None:
    open_store().commit(make.bundle_of("job-1", "run-1", [record(value=1)]))
    victim = root / "schemas" / "shapes" / "value.json"
    healthy = victim.read_bytes()
    victim.write_bytes(damage(healthy))
    late = make.bundle_of("job-2", "run-2", [record(value=2).model_copy(update={"run_uid": "run-2"})])
    assert open_store().commit(late).created
    with pytest.raises(CorruptObjectError, match=r"job-[12]\.run(?s:.)*schemas/shapes/value\.json"):
        open_store().query("SELECT * FROM shapes")
    assert "schemas/shapes/value.json" in [finding.key for finding in open_store().verify().findings]
    assert open_store().fold().quarantined == ("inbox/job-1.run", "inbox/job-2.run")
    with pytest.warns(QuarantinedObjectWarning, match=r"schemas/shapes/value\.json"):
        assert open_store().query("SELECT 1 AS one").num_rows == 1
    victim.write_bytes(healthy)
    assert open_store().fold().quarantined == ()
    assert not open_store().commit(late).created
    assert open_store().query("SELECT value FROM shapes ORDER BY 1").to_pylist() == [{"value": 1}, {"value": 2}]


def test_with_folded_rows_that_tell_the_type_a_damaged_registration_hinders_no_reader(
    open_store: Callable[..., AnalyticsStore], make: ModuleType, root: Path
) -> None:
    open_store().commit(make.bundle_of("job-1", "run-1", [record(value=1)]))
    open_store().fold()
    open_store().commit(make.bundle_of("job-2", "run-2", [record(value=2).model_copy(update={"run_uid": "run-2"})]))
    (root / "schemas" / "shapes" / "value.json").write_bytes(b"{}")
    for _ in range(2):
        assert open_store().query("SELECT value FROM shapes ORDER BY 1").to_pylist() == [{"value": 1}, {"value": 2}]
        assert open_store().fold().quarantined == ()
    assert open_store().commit(make.bundle_of("job-3", "run-1", [record(value=3)])).created
    assert open_store().query("SELECT value FROM shapes ORDER BY 1").to_pylist() == [{"value": 2}, {"value": 3}]


def test_a_damaged_registration_is_named(
    open_store: Callable[..., AnalyticsStore], make: ModuleType, root: Path
) -> None:
    open_store().commit(make.bundle_of("job-1", "run-1", [record(value=1)]))
    (root / "schemas" / "shapes" / "value.json").write_bytes(b"{}")
    assert [finding.key for finding in open_store().verify().findings][-1] == "schemas/shapes/value.json"


def test_a_record_without_columns_of_its_own_has_rows(
    open_store: Callable[..., AnalyticsStore], make: ModuleType
) -> None:
    class Mark(Record, table_name="marks"):
        """Only says that it is there."""

    open_store().commit(make.bundle_of("job-1", "run-1", [Mark(run_uid="run-1"), Mark(run_uid="run-1")]))
    for _ in range(2):
        assert open_store().query("SELECT * FROM marks").to_pylist() == [{"event_id": "job-1", "run_uid": "run-1"}] * 2
        open_store().fold()

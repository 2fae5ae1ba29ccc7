"""A folded file that goes, or is cut short, after a process has compared it with its checksum."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from checkmaite_analytics_store import AnalyticsStore
from checkmaite_core.errors import CorruptObjectError

COUNT = "SELECT count(*) AS n FROM scores"


@pytest.mark.parametrize(
    ("left", "written_since"),
    [
        pytest.param(None, False, id="gone"),
        pytest.param(None, True, id="gone, beside something new"),
        pytest.param(0.5, False, id="cut"),
        pytest.param(0.5, True, id="cut, beside something new"),
    ],
)
def test_a_file_that_has_gone_or_was_cut_since_the_last_query_is_named(
    store: AnalyticsStore, make: ModuleType, left: float | None, written_since: bool
) -> None:
    store.commit(make.scores_of("job-1", "run-1", 1.0))
    store.fold()
    store.query(COUNT)
    [file] = store.files("scores")
    if written_since:
        store.commit(make.scores_of("job-2", "run-2", 1.0))
    data = Path(file).read_bytes()
    Path(file).unlink()
    if left is not None:
        Path(file).write_bytes(data[: int(len(data) * left)])
    with pytest.raises(CorruptObjectError, match=Path(file).name):
        store.query(COUNT)


@pytest.mark.parametrize("kept", [False, True])
def test_a_query_asks_again_where_its_file_goes_while_it_begins(
    store: AnalyticsStore,
    open_store: Callable[..., AnalyticsStore],
    make: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    kept: bool,
) -> None:
    """Once the file has been compared with its checksum, another process folds, and a vacuum removes the file."""
    store.commit(make.scores_of("job-1", "run-1", 1.0))
    store.fold()
    if kept:
        store.query("SELECT 1")
    [file] = store.files("scores")
    other = open_store(grace=0)
    reader = store._sql._reader
    check = reader.check
    monkeypatch.setattr(reader, "check", lambda entry: (check(entry), superseded()))

    def superseded() -> None:
        monkeypatch.undo()
        other.commit(make.scores_of("job-2", "run-1", 2.0))  # replaces its rows
        other.fold()
        Path(file).unlink()

    assert store.query(COUNT).to_pylist() == [{"n": 1}]
    assert [Path(each) for each in store.files("scores")] != [Path(file)]

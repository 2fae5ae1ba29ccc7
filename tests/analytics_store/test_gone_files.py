"""A folded file that goes after a process has looked at it: by hand, or because a newer manifest needs it no more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from checkmaite_analytics_store import AnalyticsStore
from checkmaite_core.errors import CorruptObjectError

COUNT = "SELECT count(*) AS n FROM scores"


@pytest.mark.xfail(reason="DuckDB's own words are shown, which speak of a permission")
@pytest.mark.parametrize("written_since", [False, True])
def test_a_file_that_has_gone_since_the_last_query_is_named(
    store: AnalyticsStore, make: ModuleType, written_since: bool
) -> None:
    store.commit(make.scores_of("job-1", "run-1", 1.0))
    store.fold()
    store.query(COUNT)
    [file] = store.files("scores")
    if written_since:
        store.commit(make.scores_of("job-2", "run-2", 1.0))
    Path(file).unlink()
    with pytest.raises(CorruptObjectError, match=Path(file).name):
        store.query(COUNT)


@pytest.mark.xfail(reason="DuckDB's own words are shown, which speak of a permission")
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

"""A repeated write is compared with what is stored, also where only other processes know what that is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from checkmaite_analytics_store import AnalyticsStore
from checkmaite_core import Record
from checkmaite_core.errors import WriteConflictError
from checkmaite_core.provenance import Provenance
from checkmaite_core.run import bundle_run


class Score(Record, table_name="scores"):
    label: str
    value: float | None


class Run:
    run_uid = "run-1"
    capability_id = "direct"
    config: Any = None
    dataset_metadata: Sequence[Any] = ()
    model_metadata: Sequence[Any] = ()
    metric_metadata: Sequence[Any] = ()

    def __init__(self, *values: float | None) -> None:
        self.values = values

    def extract(self) -> list[Score]:
        return [Score(run_uid="run-1", label=f"class {n}", value=value) for n, value in enumerate(self.values)]


def _without_digest(store: AnalyticsStore, *values: float | None) -> None:
    """Write as the release before did."""
    store.commit(bundle_run(Run(*values), event_id="run-1", provenance=Provenance(), store_uri=store.uri))


def test_a_process_that_has_not_seen_the_fold_learns_of_it(
    open_store: Callable[..., AnalyticsStore], root: Path
) -> None:
    stale = open_store()
    assert stale.write(Run(0.0), event_id="first").created  # it knows the store's index from now on
    other = open_store()
    other.write(Run(0.5))
    other.fold()
    for bundle in (root / "inbox").iterdir():
        bundle.unlink()  # as the reclaiming of folded events does
    with pytest.raises(WriteConflictError, match=r"'value': 0\.5 there, but 0\.75 here"):
        stale.write(Run(0.75))
    assert not open_store().write(Run(0.5)).created
    assert open_store().query("SELECT value FROM scores").column(0).to_pylist() == [0.5]


def test_what_the_release_before_wrote_is_compared_by_its_rows(open_store: Callable[..., AnalyticsStore]) -> None:
    _without_digest(open_store(), 0.5, None)
    for folded in (False, True):
        if folded:
            open_store().fold()
        assert not open_store().write(Run(0.5, None)).created
        with pytest.raises(WriteConflictError, match=r"'value': None there, but 0\.25 here"):
            open_store().write(Run(0.5, 0.25))


def test_where_its_rows_are_gone_the_digest_tells(open_store: Callable[..., AnalyticsStore]) -> None:
    open_store().write(Run(0.5))
    open_store().fold()
    open_store().write(Run(0.75), event_id="write-2")
    open_store().fold()
    assert not open_store().write(Run(0.5)).created
    with pytest.raises(WriteConflictError, match="its rows are no longer there"):
        open_store().write(Run(0.25))

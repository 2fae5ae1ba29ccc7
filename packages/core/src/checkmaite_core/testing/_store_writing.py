"""Standard tests of a result store: direct writes, and what becomes of another result under the same key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from checkmaite_core.errors import EventAbandonedError, WriteConflictError
from checkmaite_core.store import AnalyticsStoreConfig, ResultStore, open_result_store
from checkmaite_core.testing._bundles import Identified, make_bundle, make_record
from checkmaite_core.testing._reading import rows_of
from checkmaite_core.testing._store_base import StoreTests

__all__ = ["WritingTests"]


def _run(*scores: float | None, report: str | None = None, config: Any = None, dataset: str = "digits") -> Identified:
    records = [
        make_record("scores", "run-1", label=f"class {position}", score=score)
        for position, score in enumerate(scores)
        if score is not None
    ]
    run = Identified("run-1", records, report)
    run.config = config
    run.dataset_metadata = [{"id": dataset}]
    return run


_OTHERS: dict[str, tuple[Callable[[], Identified], tuple[str, ...]]] = {
    "a number": (
        lambda: _run(0.5, 0.75, report="as before"),
        ("table 'scores', column 'score': 0.25 there, but 0.75 here", "class 1"),
    ),
    "a row more": (lambda: _run(0.5, 0.25, 1.0, report="as before"), ("2 rows there, but 3 here", "class 2")),
    "a row less": (lambda: _run(0.5, report="as before"), ("2 rows there, but 1 here", "class 1")),
    "no rows": (lambda: _run(report="as before"), ("2 rows there, but 0 here",)),
    "the config": (lambda: _run(0.5, 0.25, report="as before", config={"seed": 1}), ("config", "seed")),
    "a dataset": (lambda: _run(0.5, 0.25, report="as before", dataset="other"), ("dataset_ids", "digits", "other")),
    "the report": (lambda: _run(0.5, 0.25, report="another"), ("report",)),
}


class WritingTests(StoreTests, standard=True):
    """What becomes of ``write``."""

    @pytest.fixture(params=["at once", "maintained", "by another"])
    def written(
        self, store: ResultStore, store_config: AnalyticsStoreConfig, request: pytest.FixtureRequest
    ) -> Iterator[ResultStore]:
        """A store that a run was written to, as it is then, after maintenance, and as another object sees it."""
        store.write(_run(0.5, 0.25, report="as before"))
        if request.param != "at once":
            store.maintain()
        other = open_result_store(store_config)
        yield other if request.param == "by another" else store
        other.close()

    def test_a_repeat_is_told_by_its_content_whatever_the_order_of_rows(self, written: ResultStore) -> None:
        again = _run(0.5, 0.25, report="as before")
        again.records = list(reversed(again.records))
        receipt = written.write(again)
        assert not receipt.created
        assert self.events(written) == ["run-1"]
        assert self.column(written, "scores", "score") == [0.25, 0.5]

    @pytest.mark.parametrize("what", _OTHERS)
    def test_other_content_under_a_key_that_is_taken_is_refused_saying_what_differs(
        self, written: ResultStore, what: str
    ) -> None:
        make, words = _OTHERS[what]
        before = rows_of(written, "runs")
        with pytest.raises(WriteConflictError) as caught:
            written.write(make())
        assert all(word in caught.value.message for word in words), caught.value.message
        assert caught.value.event_id == "run-1"
        assert caught.value.difference in caught.value.message
        assert rows_of(written, "runs") == before
        assert self.column(written, "scores", "score") == [0.25, 0.5]

    def test_as_a_new_event_it_is_written_and_its_rows_are_shown(self, written: ResultStore) -> None:
        with pytest.raises(WriteConflictError) as caught:
            written.write(_run(0.5, 0.75))
        event = caught.value.hint.partition("event_id='")[2].partition("'")[0]
        receipt = written.write(_run(0.5, 0.75), event_id=event)
        assert (receipt.created, receipt.event_id, receipt.reference.run_uid) == (True, event, "run-1")
        assert self.events(written) == sorted(["run-1", event])
        assert self.column(written, "scores", "score") == [0.5, 0.75]
        # Both can be repeated, and neither takes what the other holds.
        assert not written.write(_run(0.5, 0.75), event_id=event).created
        assert not written.write(_run(0.5, 0.25, report="as before")).created
        written.maintain()
        for key, run in ((event, _run(0.5, 0.25)), ("run-1", _run(0.5, 0.75))):
            with pytest.raises(WriteConflictError):
                written.write(run, event_id=key)
        assert self.column(written, "scores", "score") == [0.5, 0.75]

    def test_what_a_job_committed_is_compared_with_a_write_of_its_event(self, store: ResultStore) -> None:
        rows = {"scores": [{"label": "class 0", "score": 0.5}]}
        store.commit(make_bundle(store, "job-1", "run-1", rows))
        assert not store.write(_run(0.5), event_id="job-1").created
        with pytest.raises(WriteConflictError, match=r"0\.5 there, but 0\.75 here"):
            store.write(_run(0.75), event_id="job-1")

    def test_a_retried_job_may_commit_other_content_and_its_first_commit_stands(self, store: ResultStore) -> None:
        store.commit(make_bundle(store, "job-1", "run-1", {"scores": [{"score": 0.5}]}))
        assert not store.commit(make_bundle(store, "job-1", "run-1", {"scores": [{"score": 0.75}]})).created
        assert self.column(store, "scores", "score") == [0.5]

    def test_a_settled_event_cannot_be_written(self, store: ResultStore) -> None:
        store.settle("run-1")
        with pytest.raises(EventAbandonedError):
            store.write(_run(0.5))

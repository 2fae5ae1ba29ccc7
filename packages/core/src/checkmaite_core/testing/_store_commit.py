"""Standard tests of a result store: commits, repeats, settling."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from checkmaite_core.errors import EventAbandonedError, RunContractError, SchemaError
from checkmaite_core.provenance import Provenance
from checkmaite_core.record import Scalar
from checkmaite_core.store import AnalyticsStoreConfig, ResultStore, open_result_store
from checkmaite_core.testing._bundles import Identified, Tables, make_bundle, make_record
from checkmaite_core.testing._reading import rows_of
from checkmaite_core.testing._store_base import StoreTests

__all__ = ["CommitTests"]


class CommitTests(StoreTests, standard=True):
    """What becomes of a commit."""

    def test_a_store_that_nobody_wrote_to_is_empty_and_answers(self, store: ResultStore) -> None:
        assert store.tables() == ["runs"]
        assert rows_of(store, "runs") == []
        assert {"event_id", "run_uid", "capability_id", *Provenance.model_fields} <= set(store.schema("runs"))

    def test_a_commit_makes_all_rows_visible(self, store: ResultStore) -> None:
        tables: Tables = {
            "scores": [{"label": "one", "score": 0.5}, {"label": "two", "score": 1.0}],
            "counts": [{"n": 3}],
        }
        bundle = make_bundle(store, "job-1", "run-1", tables)
        receipt = store.commit(bundle)
        assert (receipt.event_id, receipt.created, receipt.reference) == ("job-1", True, bundle.reference)
        assert bundle.reference.tables == {"scores": 2, "counts": 1}
        assert store.tables() == ["counts", "runs", "scores"]
        assert self.column(store, "scores", "label") == ["one", "two"]
        assert [(row["run_uid"], row["n"]) for row in rows_of(store, "counts")] == [("run-1", 3)]
        (run,) = rows_of(store, "runs")
        assert (run["event_id"], run["run_uid"], run["capability_id"]) == ("job-1", "run-1", "conformance.store")

    def test_a_run_without_records_is_an_entry_in_runs(self, store: ResultStore) -> None:
        store.commit(make_bundle(store, "job-1", "run-1", {}))
        assert self.events(store) == ["job-1"]
        assert store.tables() == ["runs"]

    def test_a_repeated_commit_changes_nothing_and_returns_the_first_reference(self, store: ResultStore) -> None:
        first = store.commit(make_bundle(store, "job-1", "run-1", {"scores": [{"score": 0.5}]}))
        again = store.commit(make_bundle(store, "job-1", "run-1", {"scores": [{"score": 0.75}]}))
        assert not again.created
        assert again.reference == first.reference
        assert self.column(store, "scores", "score") == [0.5]
        assert self.events(store) == ["job-1"]

    def test_a_committed_event_is_asked_for_without_changing_anything(self, store: ResultStore) -> None:
        assert store.reference("job-1") is None
        assert store.reference("job-1") is None  # asking has not settled it
        receipt = store.commit(make_bundle(store, "job-1", "run-1", {"scores": [{"score": 0.5}]}))
        assert receipt.created
        assert store.reference("job-1") == receipt.reference
        assert store.settle("job-2") is None
        assert store.reference("job-2") is None
        store.maintain()
        assert (store.reference("job-1"), store.reference("job-2")) == (receipt.reference, None)
        with pytest.raises(RunContractError):
            store.reference("../x")

    def test_every_kind_of_value_comes_back_as_it_was(self, store: ResultStore) -> None:
        values: dict[str, Scalar] = {
            "text": "'; DROP TABLE runs; -- \"\\ \n é 漢 🜂",
            "empty": "",
            "whole": -(2**63),
            "large": 2**63 - 1,
            "real": 0.1,
            "infinite": -math.inf,
            "truth": True,
            "raw": b"\x00\xff'",
            "moment": datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC),
            "elsewhere": datetime(2026, 3, 29, 1, 30, tzinfo=timezone(timedelta(hours=5))),
            "day": date(1969, 12, 31),
            "nothing": None,
        }
        store.commit(make_bundle(store, "job-1", "run-1", {"kinds": [{**values, "undefined": math.nan}]}))
        (row,) = rows_of(store, "kinds")
        assert {name: row[name] for name in values} == values
        undefined = row["undefined"]
        assert isinstance(undefined, float)
        assert math.isnan(undefined)
        assert type(row["truth"]) is bool
        moment = row["elsewhere"]
        assert isinstance(moment, datetime)
        assert moment.utcoffset() == timedelta(0)

    def test_provenance_is_kept_in_utc(self, store: ResultStore) -> None:
        local = datetime(2026, 7, 1, 12, 0, 0, 5, tzinfo=timezone(timedelta(hours=-7)))
        provenance = Provenance(
            user_id="ada",
            workspace_id="w",
            environment="test",
            executor="ci",
            cluster_id="c",
            request_id="r",
            job_id="job-1",
            backend="threads",
            submitted_at=local,
            completed_at=local + timedelta(seconds=1),
        )
        store.commit(make_bundle(store, "job-1", "run-1", {}, provenance))
        (row,) = rows_of(store, "runs")
        assert {name: row[name] for name in Provenance.model_fields} == provenance.model_dump()

    def test_settling_first_shuts_the_event_for_good(self, store: ResultStore) -> None:
        assert store.settle("job-1") is None
        assert store.settle("job-1") is None
        for _ in range(2):
            with pytest.raises(EventAbandonedError, match="job-1"):
                store.commit(make_bundle(store, "job-1", "run-1", {"scores": [{"score": 0.5}]}))
        assert self.events(store) == []
        assert rows_of(store, "scores") == []

    def test_settling_after_the_commit_returns_its_reference(self, store: ResultStore) -> None:
        bundle = make_bundle(store, "job-1", "run-1", {"scores": [{"score": 0.5}]})
        store.commit(bundle)
        assert store.settle("job-1") == bundle.reference
        assert store.settle("job-1") == bundle.reference
        assert not store.commit(bundle).created
        assert self.column(store, "scores", "score") == [0.5]

    def test_settling_touches_no_other_event_of_the_same_run(self, store: ResultStore) -> None:
        store.commit(make_bundle(store, "job-1", "run-1", {"scores": [{"score": 0.5}]}))
        assert store.settle("job-2") is None
        store.commit(make_bundle(store, "job-3", "run-2", {"scores": [{"score": 0.75}]}))
        assert self.events(store) == ["job-1", "job-3"]
        assert self.column(store, "scores", "score") == [0.5, 0.75]

    @pytest.mark.parametrize("event", ["../escape", "a/b", "", "a\x00b", "x" * 129, ".hidden", "..", "a;b"])
    def test_an_event_that_cannot_be_a_key_is_refused(self, store: ResultStore, event: str) -> None:
        with pytest.raises(RunContractError, match="event id"):
            store.settle(event)
        assert store.tables() == ["runs"]

    def test_the_newest_event_of_a_run_answers_and_runs_keeps_them_all(self, store: ResultStore) -> None:
        store.commit(make_bundle(store, "job-1", "run-1", {"scores": [{"score": 0.1}, {"score": 0.2}]}))
        store.commit(make_bundle(store, "job-2", "run-2", {"scores": [{"score": 0.5}]}))
        store.commit(make_bundle(store, "job-3", "run-1", {"scores": [{"score": 0.3}]}))
        assert self.column(store, "scores", "score") == [0.3, 0.5]
        assert self.events(store) == ["job-1", "job-2", "job-3"]
        # An older event that is repeated does not become the newest.
        store.commit(make_bundle(store, "job-1", "run-1", {"scores": [{"score": 0.1}]}))
        assert self.column(store, "scores", "score") == [0.3, 0.5]

    def test_a_newer_event_takes_away_rows_that_it_does_not_have(self, store: ResultStore) -> None:
        store.commit(make_bundle(store, "job-1", "run-1", {"scores": [{"score": 0.1}], "notes": [{"text": "old"}]}))
        store.commit(make_bundle(store, "job-2", "run-1", {"scores": [{"score": 0.2}]}))
        assert rows_of(store, "notes") == []
        assert self.column(store, "scores", "score") == [0.2]

    def test_a_direct_write_is_keyed_by_its_run_and_a_repeat_changes_nothing(self, store: ResultStore) -> None:
        def run() -> Identified:
            return Identified("run-1", [make_record("scores", "run-1", score=0.5)])

        first = store.write(run(), Provenance(user_id="ada"))
        again = store.write(run())
        assert (first.event_id, first.created, again.created) == ("run-1", True, False)
        assert again.reference == first.reference
        (row,) = rows_of(store, "runs")
        assert (row["event_id"], row["user_id"], row["job_id"]) == ("run-1", "ada", None)
        assert self.column(store, "scores", "score") == [0.5]

    @pytest.mark.parametrize("uid", ["../../etc/passwd", "", "a b", 7, None])
    def test_a_direct_write_with_an_identity_that_is_no_key_is_refused(self, store: ResultStore, uid: str) -> None:
        with pytest.raises(RunContractError):
            store.write(Identified(uid, []))
        assert self.events(store) == []

    def test_a_new_column_is_null_in_older_rows_and_in_rows_of_older_writers(self, store: ResultStore) -> None:
        store.commit(make_bundle(store, "job-1", "run-1", {"scores": [{"score": 0.1}]}))
        store.commit(make_bundle(store, "job-2", "run-2", {"scores": [{"score": 0.2, "comment": "new"}]}))
        store.commit(make_bundle(store, "job-3", "run-3", {"scores": [{"score": 0.3}]}))
        rows = sorted(rows_of(store, "scores"), key=lambda row: str(row["score"]))
        assert [(row["score"], row["comment"]) for row in rows] == [(0.1, None), (0.2, "new"), (0.3, None)]
        schema = store.schema("scores")
        assert {name: schema[name] for name in ("run_uid", "score", "comment")} == {
            "run_uid": "string",
            "score": "float64",
            "comment": "string",
        }

    def test_a_column_that_changes_type_is_refused_by_name_and_leaves_nothing(self, store: ResultStore) -> None:
        store.commit(make_bundle(store, "job-1", "run-1", {"scores": [{"score": 1}]}))
        tables: Tables = {"fine": [{"n": 1}], "scores": [{"score": "high"}]}
        with pytest.raises(SchemaError) as caught:
            store.commit(make_bundle(store, "job-2", "run-2", tables))
        for word in ("scores", "score", "int64", "string"):
            assert word in caught.value.message
        assert self.events(store) == ["job-1"]
        assert rows_of(store, "fine") == []
        assert self.column(store, "scores", "score") == [1]
        assert store.settle("job-2") is None

    def test_a_refused_column_is_refused_by_other_store_objects_too(
        self, store: ResultStore, store_config: AnalyticsStoreConfig
    ) -> None:
        store.commit(make_bundle(store, "job-1", "run-1", {"scores": [{"score": 1}]}))
        other = open_result_store(store_config)
        with pytest.raises(SchemaError, match="score"):
            other.commit(make_bundle(other, "job-2", "run-2", {"scores": [{"score": True}]}))
        other.close()

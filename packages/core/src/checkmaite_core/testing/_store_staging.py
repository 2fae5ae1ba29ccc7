"""Standard tests of a result store: outputs that are staged until they are committed, and columns checked before."""

from __future__ import annotations

import pytest

from checkmaite_core.errors import RunContractError, SchemaError
from checkmaite_core.record import ScalarType
from checkmaite_core.store import AnalyticsStoreConfig, ResultStore, open_result_store
from checkmaite_core.testing._bundles import make_bundle
from checkmaite_core.testing._reading import rows_of
from checkmaite_core.testing._store_base import StoreTests

__all__ = ["StagingTests"]

_OUTPUTS = bytes(range(256)) * 64


class StagingTests(StoreTests, standard=True):
    """What a worker keeps in a store before it commits."""

    def test_staged_outputs_come_back_byte_by_byte_and_in_no_answer(
        self, store: ResultStore, store_config: AnalyticsStoreConfig
    ) -> None:
        assert (store.staged("job-1"), store.has_staged("job-1")) == (None, False)
        store.stage("job-1", _OUTPUTS)
        assert store.staged("job-1") == _OUTPUTS
        again = open_result_store(store_config)
        assert (again.has_staged("job-1"), again.has_staged("job-10")) == (True, False)
        assert again.staged("job-1") == _OUTPUTS
        again.close()
        assert store.tables() == ["runs"]
        assert rows_of(store, "runs") == []
        assert store.reference("job-1") is None

    def test_outputs_that_are_staged_stay_until_they_are_discarded(self, store: ResultStore) -> None:
        store.stage("job-1", b"")
        store.stage("job-1", _OUTPUTS)  # of a straggler: the first ones are as good
        assert store.staged("job-1") == b""
        store.stage("job-2", _OUTPUTS)
        for _ in range(2):
            store.discard_staged("job-1")
            assert (store.staged("job-1"), store.has_staged("job-1")) == (None, False)
        assert store.staged("job-2") == _OUTPUTS
        store.stage("job-1", _OUTPUTS)
        assert store.staged("job-1") == _OUTPUTS

    def test_neither_settling_nor_a_commit_nor_maintenance_touches_staged_outputs(self, store: ResultStore) -> None:
        store.stage("job-1", _OUTPUTS)
        store.stage("job-2", _OUTPUTS)
        assert store.settle("job-1") is None
        assert store.commit(make_bundle(store, "job-2", "run-2", {"scores": [{"score": 0.5}]})).created
        store.maintain()
        assert (store.staged("job-1"), store.staged("job-2")) == (_OUTPUTS, _OUTPUTS)
        assert self.column(store, "scores", "score") == [0.5]

    def test_an_event_that_cannot_be_a_key_has_no_staged_outputs(self, store: ResultStore) -> None:
        for refused in ("../x", "a/b", ""):
            with pytest.raises(RunContractError):
                store.stage(refused, _OUTPUTS)
            with pytest.raises(RunContractError):
                store.staged(refused)
            with pytest.raises(RunContractError):
                store.discard_staged(refused)

    def test_columns_are_compared_before_there_is_anything_to_commit(self, store: ResultStore) -> None:
        store.check_columns("scores", {"score": ScalarType.STRING})  # nobody has registered it
        store.commit(make_bundle(store, "job-1", "run-1", {"scores": [{"score": 0.5}]}))
        store.check_columns("scores", {"score": ScalarType.FLOAT64, "more": ScalarType.BOOL})
        with pytest.raises(SchemaError, match="score"):
            store.check_columns("scores", {"score": ScalarType.STRING})
        # Checking has registered nothing.
        store.commit(make_bundle(store, "job-2", "run-2", {"scores": [{"score": 0.5, "more": 1}]}))
        assert self.column(store, "scores", "more") == [1, None]

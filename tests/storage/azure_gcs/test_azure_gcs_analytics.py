"""An analytics store over each cloud, by people with the rights that they need and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from checkmaite_analytics_store import AnalyticsStore
from checkmaite_core import CapabilityConfig, CapabilityOutputs, CapabilityRun, Record
from checkmaite_core.errors import AccessDeniedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conftest import Azure, Gcs

QUESTION = "SELECT label, value FROM scores JOIN runs USING (event_id)"


class Score(Record, table_name="scores"):
    label: str
    value: float


class Run(CapabilityRun[CapabilityConfig, CapabilityOutputs]):
    def extract(self) -> Sequence[Record]:
        return [Score(run_uid=self.run_uid, label="seven", value=0.97)]


def run(name: str) -> Run:
    return Run(
        capability_id=name,
        config=CapabilityConfig(),
        outputs=CapabilityOutputs(),
        dataset_metadata=[{"id": "digits"}],
        model_metadata=[],
        metric_metadata=[],
    )


def write_fold_and_query(uri: str, worker: dict[str, Any], folder: dict[str, Any], reader: dict[str, Any]) -> None:
    expected = [{"label": "seven", "value": 0.97}]
    with AnalyticsStore(uri, storage_options=worker) as store:
        store.write(run("first"))
    with AnalyticsStore(uri, storage_options=reader) as store:
        assert store.query(QUESTION).to_pylist() == expected
    with AnalyticsStore(uri, storage_options=folder) as store:
        assert store.fold().folded == 1
    with AnalyticsStore(uri, storage_options=reader) as store:
        assert store.query(QUESTION).to_pylist() == expected
        assert store.verify().findings == ()


def test_a_store_on_azure_needs_a_sas_of_rlc_to_write_rlcd_to_fold_and_rl_to_read(azure: Azure, container: str) -> None:
    uri = f"az://{container}/store"
    worker, folder, reader = (azure.connection(sas=azure.sas(container, rights)) for rights in ("rlc", "rlcd", "rl"))
    write_fold_and_query(uri, worker, folder, reader)
    with AnalyticsStore(uri, storage_options=reader) as store, pytest.raises(AccessDeniedError, match="right c"):
        store.write(run("second"))


def test_a_store_on_gcs(gcs: Gcs, bucket: str) -> None:
    write_fold_and_query(f"gs://{bucket}/store", gcs.options(), gcs.options(), gcs.options())

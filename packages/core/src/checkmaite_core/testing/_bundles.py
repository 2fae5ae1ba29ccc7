"""Bundles for the tests of result stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import create_model

from checkmaite_core.provenance import Provenance
from checkmaite_core.record import Record
from checkmaite_core.run import bundle_run
from checkmaite_core.store import ResultStore, RunBundle

__all__ = ["Identified", "Tables", "make_bundle", "make_record"]

Tables = Mapping[str, Sequence[Mapping[str, Any]]]
"""Rows by table."""


class Identified:
    """A run that is only an identity and records; it needs no base class."""

    config: Any = None
    model_metadata: Sequence[Mapping[str, Any]] = ()
    metric_metadata: Sequence[Mapping[str, Any]] = ()

    def __init__(self, run_uid: str, records: Sequence[Record], report: str | None = None) -> None:
        self.report = report
        self.run_uid = run_uid
        self.capability_id = "conformance.store"
        self.dataset_metadata = [{"id": "digits"}]
        self.records = records

    def extract(self) -> Sequence[Record]:
        """Its records."""
        return self.records

    def collect_md_report(self, threshold: float) -> str | None:
        """Its report, if it has one."""
        return None if self.report is None else self.report.format(threshold=threshold)


def make_record(table: str, run_uid: str, **values: Any) -> Record:
    """A record of a class made for it: the columns have the types of the values, ``None`` is an optional text."""
    fields: dict[str, Any] = {
        name: (str | None if value is None else type(value), ...) for name, value in values.items()
    }
    kind = create_model("Made", __base__=Record, __cls_kwargs__={"table_name": table}, **fields)
    return kind(run_uid=run_uid, **values)


def make_bundle(
    store: ResultStore,
    event_id: str,
    run_uid: str,
    tables: Tables,
    provenance: Provenance | None = None,
) -> RunBundle:
    """A bundle of the given rows by table."""
    records = [make_record(table, run_uid, **row) for table, rows in tables.items() for row in rows]
    return bundle_run(
        Identified(run_uid, records),
        event_id=event_id,
        provenance=provenance or Provenance(job_id=event_id),
        store_uri=store.uri,
    )

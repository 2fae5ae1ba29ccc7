"""A capability with no base class of ours, its run, records and report; also one that breaks the contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from pydantic import BaseModel, Field

__all__ = ["FOREIGN_TABLE", "VIOLATIONS", "ForeignCapability", "ForeignConfig"]

FOREIGN_TABLE = "conformance_foreign"

VIOLATIONS: dict[str, dict[str, Any]] = {
    "no run": {"nothing": True},
    "run_uid that climbs": {"run_uid": "../../etc/passwd"},
    "empty run_uid": {"run_uid": ""},
    "run_uid that is a number": {"run_uid": 7},
    "no capability_id": {"capability_id": ""},
    "metadata without an id": {"dataset_metadata": [{}]},
    "table name with SQL": {"table": 'x"; DROP TABLE runs; --'},
    "reserved table name": {"table": "runs"},
    "record of another run": {"record_uid": "another-run"},
    "record that is none": {"records": ["text"]},
}
"""What a run can do wrong, as the arguments of :class:`ForeignCapability` that make it so."""


class ForeignConfig(BaseModel):
    """A config that is any pydantic model."""

    level: int = 1


class ForeignRecord(BaseModel):
    """A record of another library: any pydantic class with a table's name and ``run_uid``."""

    table_name: ClassVar[str] = FOREIGN_TABLE

    run_uid: str
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    dataset_id: str
    score: float | None = None


@dataclass
class ForeignReport:
    """A report of another library."""

    kind: str
    media_type: str
    filename: str
    content: str


class ForeignRun:
    """A run that is no pydantic model at all."""

    def __init__(self, **changes: Any) -> None:
        self.changes = changes
        self.config = ForeignConfig()
        self.run_uid = changes.get("run_uid", "foreign-run")
        self.capability_id = changes.get("capability_id", "foreign.capability")
        self.dataset_metadata = changes["dataset_metadata"]
        self.model_metadata: Sequence[Any] = []
        self.metric_metadata: Sequence[Any] = []

    def extract(self) -> Sequence[Any]:
        """Its records."""
        if "records" in self.changes:
            chosen: Sequence[Any] = self.changes["records"]
            return chosen
        kind: type[BaseModel] = ForeignRecord
        if "table" in self.changes:
            kind = type("OddRecord", (ForeignRecord,), {"table_name": self.changes["table"]})
        uid = self.changes.get("record_uid", self.run_uid)
        return [kind(run_uid=uid, dataset_id=item.get("id", "?"), score=0.5) for item in self.dataset_metadata]

    def collect_md_report(self, threshold: float) -> ForeignReport:
        """Its report."""
        return ForeignReport("inline_text", "text/markdown", "foreign.md", f"# Foreign\n{threshold}")


class ForeignCapability:
    """Works on datasets with MAITE metadata, and insists on being called as promised."""

    def __init__(self, **changes: Any) -> None:
        self.changes = changes

    @property
    def id(self) -> str:
        """What it is."""
        return "foreign.capability"

    def run(
        self,
        models: list[Any] | None = None,
        datasets: list[Any] | None = None,
        metrics: list[Any] | None = None,
        config: ForeignConfig | None = None,
        use_cache: bool = True,
    ) -> ForeignRun | None:
        """Do the work."""
        if use_cache:
            raise ValueError("a job must not be answered from a cache")
        if "nothing" in self.changes:
            return None
        metadata = [dict(dataset.metadata) for dataset in datasets or []]
        return ForeignRun(**{"run_uid": f"foreign-{metadata[0]['id']}", "dataset_metadata": metadata, **self.changes})

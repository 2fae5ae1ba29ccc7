"""The small reference to a run in the store: what a job returns."""

from __future__ import annotations

import json

from pydantic import Field

from checkmaite_core.evolving import Evolving
from checkmaite_core.input_identity import InputIdentity
from checkmaite_core.provenance import UtcTime
from checkmaite_core.report import ArtifactReport, InlineTextReport

__all__ = ["CapabilityRunRef", "inputs_text"]


class CapabilityRunRef(Evolving):
    """Points at a committed run; a few hundred bytes, whatever the run's size.

    Attributes:
        event_id: Key of the commit: the job's id, or the run_uid of a direct write.
        run_uid: Identity of the run: the same work on the same inputs has the same one.
        capability_id: What was run.
        store_uri: The analytics store that holds it, without credentials.
        tables: Number of rows by table.
        dataset_ids: Ids of the datasets, in order.
        model_ids: Ids of the models, in order.
        metric_ids: Ids of the metrics, in order.
        inputs: What the inputs of the job were, by content or version; empty for a run that was made without a job.
        report: The report, or where it lies; None if the capability makes none.
        content_sha256: Digest of what the run says, for events of ``store.write()``: a repeated write is told by it.
        created_at: When the reference was made, just before the commit (UTC, the writer's clock).
    """

    event_id: str
    run_uid: str
    capability_id: str
    store_uri: str
    tables: dict[str, int] = Field(default_factory=dict)
    dataset_ids: tuple[str, ...] = ()
    model_ids: tuple[str, ...] = ()
    metric_ids: tuple[str, ...] = ()
    inputs: tuple[InputIdentity, ...] = ()
    report: InlineTextReport | ArtifactReport | None = Field(default=None, discriminator="kind")
    content_sha256: str | None = None
    created_at: UtcTime


def inputs_text(reference: CapabilityRunRef) -> str | None:
    """What the column ``inputs`` of the table ``runs`` shows of a run: a JSON list, or None if it had no job."""
    if not reference.inputs:
        return None
    shown = [each.model_dump(exclude={"uncertain"}) for each in reference.inputs]
    return json.dumps(shown, ensure_ascii=False)

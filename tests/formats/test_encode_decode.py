"""Whatever an encoder accepts, its decoder gives back as it was: what cannot be read is refused where it is written."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkmaite_analytics_store._bundle import Abandoned, StoredRun, decode, encode_bundle, encode_marker
from checkmaite_analytics_store._index import EventState, Segment, SegmentEntry, decode_segment, encode_segment
from checkmaite_analytics_store._manifest import FileEntry, Manifest, QuarantineEntry
from checkmaite_analytics_store._order import Stamp
from checkmaite_analytics_store._schemas import _parse, registration
from checkmaite_core.errors import CheckmaiteError, RunContractError, SchemaError, StoreError
from checkmaite_core.provenance import Provenance
from checkmaite_core.record import ScalarType, TableRows
from checkmaite_core.reference import CapabilityRunRef
from checkmaite_core.report import ArtifactReport, InlineTextReport
from checkmaite_core.store import RunBundle
from checkmaite_storage._commit_log_format import (
    Batch,
    Epoch,
    Snapshot,
    decode_batch,
    decode_epoch,
    decode_snapshot,
    encode,
)

WHEN = datetime(2026, 12, 1, tzinfo=UTC)
anything = st.text(max_size=8) | st.sampled_from(
    ["../x", "a/b", ".", "..", "", "a" * 129, "\ud800", "a\n", "a b", "runs"]
)
valid = st.sampled_from(["a", "run-1", "scores", "x9"])
names = st.tuples(st.integers(0, 9), valid, anything).map(lambda drawn: drawn[2] if drawn[0] == 9 else drawn[1])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=2),
    max_leaves=3,
)
reports = (
    st.none()
    | st.builds(InlineTextReport, content=anything)
    | st.builds(InlineTextReport.model_construct, content=anything, kind=anything, media_type=anything)
    | st.builds(ArtifactReport.model_construct, uri=anything, media_type=anything, filename=anything)
)
references = st.builds(
    CapabilityRunRef.model_construct,
    event_id=names,
    run_uid=names,
    capability_id=anything,
    store_uri=anything,
    tables=st.dictionaries(anything, st.integers(), max_size=2),
    dataset_ids=st.lists(anything, max_size=2).map(tuple),
    report=reports,
    created_at=st.just(WHEN) | st.datetimes(),
    x_new=values,
)
provenances = st.builds(Provenance) | st.builds(Provenance.model_construct, user_id=anything, x_new=values)
tables = st.builds(
    TableRows,
    table=names,
    columns=st.dictionaries(names | st.just("event_id"), st.just(ScalarType.STRING), max_size=2),
    rows=st.just(()),
)
bundles = st.builds(
    lambda reference, provenance, config, rows, event: RunBundle(
        event if event is not None else reference.event_id, reference, provenance, config, rows
    ),
    references,
    provenances,
    anything,
    st.lists(tables, max_size=2).map(tuple),
    st.none() | st.none() | names,
)


@given(bundles)
def test_a_bundle_is_decoded_as_it_was_or_refused(bundle: RunBundle) -> None:
    try:
        data = encode_bundle(bundle, Stamp("w", 1))
    except (RunContractError, SchemaError):
        return
    found = decode(data, bundle.event_id, "here")
    assert isinstance(found, StoredRun)
    assert (found.event_id, found.config, found.stamp) == (bundle.event_id, bundle.config, Stamp("w", 1))
    assert found.reference == bundle.reference
    assert found.provenance == bundle.provenance
    assert [table.name for table in found.tables] == [rows.table for rows in bundle.tables]


@pytest.mark.parametrize("uid", ["../x", "", "a/b", "a b", "x" * 129])
def test_a_run_uid_that_no_reader_takes_is_refused_by_whoever_encodes_it(uid: str) -> None:
    reference = CapabilityRunRef(event_id="e", run_uid=uid, capability_id="c", store_uri="s", created_at=WHEN)
    with pytest.raises(RunContractError, match="run_uid"):
        encode_bundle(RunBundle("e", reference, Provenance(), "{}", ()))


@given(names)
def test_a_marker_is_decoded_as_it_was_or_refused(event: str) -> None:
    try:
        data = encode_marker(event)
    except RunContractError:
        return
    assert decode(data, event, "here") == Abandoned(event)


@given(st.dictionaries(names, st.sampled_from(EventState), max_size=4))
def test_a_segment_is_decoded_as_it_was_or_refused(events: dict[str, EventState]) -> None:
    try:
        data = encode_segment(Segment(events))
    except RunContractError:
        return
    entry = SegmentEntry(key="index/a.txt", size=len(data), sha256=hashlib.sha256(data).hexdigest(), count=len(events))
    assert decode_segment(data, entry, "here") == events


@given(names, names, st.sampled_from(ScalarType))
def test_a_registration_is_decoded_as_it_was_or_refused(table: str, column: str, kind: ScalarType) -> None:
    try:
        data = registration(table, column, kind)
    except RunContractError:
        return
    assert _parse(table, column, data, "here") is kind


files = st.builds(
    FileEntry.model_construct,
    key=anything | st.just("tables/a/b.parquet"),
    size=st.integers(-1, 5),
    sha256=anything | st.just("a" * 64),
    rows=st.integers(-1, 5),
    columns=st.just((("a", ScalarType.STRING),)),
)
manifests = st.builds(
    Manifest.model_construct,
    number=st.integers(-1, 3),
    writer=anything,
    tables=st.dictionaries(anything, st.lists(files, max_size=2).map(tuple), max_size=1),
    segments=st.just(()),
    quarantined=st.lists(
        st.builds(QuarantineEntry.model_construct, key=anything | st.just("inbox/a.run"), reason=anything), max_size=1
    ).map(tuple),
    x_new=values,
)


@given(manifests)
def test_a_manifest_is_decoded_as_it_was_or_refused(manifest: Manifest) -> None:
    try:
        data = manifest.encode()
    except (StoreError, ValueError):
        return
    assert Manifest.decode(data, manifest.number, "here") == manifest


@given(st.integers(1, 9), st.integers(1, 9), anything, st.lists(st.binary(max_size=5), max_size=3), st.booleans())
def test_a_batch_is_decoded_as_it_was(
    number: int, epoch: int, incarnation: str, entries: list[bytes], seal: bool
) -> None:
    batch = Batch(number, epoch, incarnation, tuple(entries), seal)
    assert decode_batch(encode(batch), number, "here") == batch
    snapshot = Snapshot(number, epoch, incarnation, (1, 2), b"".join(entries))
    assert decode_snapshot(encode(snapshot), number, "here") == snapshot


@given(st.integers(1, 9), anything, st.dictionaries(anything | st.integers(), values, max_size=2))
def test_an_epoch_is_decoded_as_it_was_or_refused(number: int, incarnation: str, who: dict[Any, Any]) -> None:
    epoch = Epoch(number, incarnation, who)
    try:
        data = encode(epoch)
    except ValueError:
        return
    assert decode_epoch(data, number, "here") == epoch


def test_a_report_that_cannot_be_encoded_is_refused_and_not_changed(tmp_path_factory: pytest.TempPathFactory) -> None:
    from checkmaite_analytics_store import AnalyticsStore

    with AnalyticsStore(tmp_path_factory.mktemp("store") / "s") as store, pytest.raises(CheckmaiteError, match="UTF-8"):
        store.put_report("event", InlineTextReport(content="a\ud800"))

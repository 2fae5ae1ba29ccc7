from __future__ import annotations

import math
import random
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkmaite_analytics_store._bundle import Abandoned, StoredRun, decode, encode_bundle, encode_marker
from checkmaite_analytics_store._columns import decode_tables
from checkmaite_analytics_store._index import (
    EventIndex,
    EventState,
    SegmentEntry,
    decode_segment,
    encode_segment,
)
from checkmaite_analytics_store._sealed import seal, unseal
from checkmaite_core.errors import CorruptObjectError, StoreError
from checkmaite_core.record import ScalarType
from checkmaite_core.report import InlineTextReport

if TYPE_CHECKING:
    from types import ModuleType

VERSION_AT = len("checkmaite-run ")
"""Where a flipped bit can make another version of it, which is refused as such."""
URI = "file:///store/inbox/job-1.run"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
times = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]))
rows = st.fixed_dictionaries(
    {
        "text": st.none() | texts,
        "whole": st.none() | st.integers(-(2**63), 2**63 - 1),
        "real": st.none() | st.floats(),
        "flag": st.none() | st.booleans(),
        "raw": st.none() | st.binary(max_size=20),
        # Python cannot move the very first and last days of its calendar to another time zone.
        "moment": st.none() | times.filter(lambda moment: 2 <= moment.year <= 9998),
        "day": st.none() | st.dates(),
    }
)


def same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    return type(left) is type(right) and left == right


def read_rows(data: bytes) -> dict[str, list[dict[str, Any]]]:
    run = decode(data, "job-1", URI)
    assert isinstance(run, StoredRun)
    return {
        table.name: decode_tables(
            [(run.event_id, run.reference.run_uid, table)],
            {"event_id": ScalarType.STRING, "run_uid": ScalarType.STRING, **table.columns},
            lambda _: URI,
        ).to_pylist()
        for table in run.tables
    }


@given(st.lists(rows, max_size=5), texts)
def test_every_value_survives_the_bundle_exactly(make: ModuleType, wanted: list[dict[str, Any]], report: str) -> None:
    records = [make.Everything(run_uid="run-1", **row) for row in wanted]
    bundle = make.bundle_of("job-1", "run-1", records, InlineTextReport(content=report))
    data = encode_bundle(bundle)
    run = decode(data, "job-1", URI)
    assert isinstance(run, StoredRun)
    assert (run.reference, run.provenance, run.config) == (bundle.reference, bundle.provenance, bundle.config)
    found = read_rows(data).get("everything", [])
    assert len(found) == len(wanted)
    for row, want in zip(found, wanted, strict=True):
        assert row.pop("event_id") == "job-1"
        assert row.pop("run_uid") == "run-1"
        for name, value in want.items():
            assert same(row[name], value.astimezone(UTC) if isinstance(value, datetime) else value), name


@pytest.fixture(scope="module")
def data(make: ModuleType) -> bytes:
    records = [
        make.Score(run_uid="run-1", label="a", value=0.5),
        make.Everything(run_uid="run-1", text="é", day=date(2026, 1, 1)),
    ]
    return encode_bundle(make.bundle_of("job-1", "run-1", records))


def test_a_bundle_cut_short_at_any_byte_is_detected(data: bytes) -> None:
    for length in range(len(data)):
        with pytest.raises(CorruptObjectError, match="is corrupt"):
            decode(data[:length], "job-1", URI)


def test_a_flipped_bit_anywhere_is_detected(data: bytes) -> None:
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << random.randrange(8)
        with pytest.raises(StoreError if position == VERSION_AT else CorruptObjectError):
            decode(bytes(damaged), "job-1", URI)


@given(st.data())
@settings(max_examples=200)
def test_any_other_change_is_detected(data: bytes, draw: st.DataObject) -> None:
    start = draw.draw(st.integers(0, len(data)))
    end = draw.draw(st.integers(start, min(len(data), start + 20)))
    damaged = data[:start] + draw.draw(st.binary(max_size=20)) + data[end:]
    if damaged == data:
        return
    with pytest.raises(CorruptObjectError):
        decode(damaged, "job-1", URI)


@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda tail: b"checkmaite-run 1 " + tail))
def test_arbitrary_bytes_are_an_error_and_nothing_else(junk: bytes) -> None:
    with pytest.raises(CorruptObjectError):
        decode(junk, "job-1", URI)


def resealed(text: bytes, rest: bytes) -> bytes:
    import hashlib

    return f"checkmaite-run 1 {len(text)} {hashlib.sha256(text).hexdigest()}\n".encode() + text + rest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"rows":1', b'"rows":2'),
        (b'"rows":1', b'"rows":-1'),
        (b'"name":"scores"', b'"name":"sc/res"'),
        (b'"name":"scores"', b'"name":"runs"'),
        (b'"float64"', b'"string"'),
        (b'["label","string"]', b'["run_uid","string"]'),
        (b'["label","string"]', b'["value","float64"]'),
        (b'"run_uid":"run-1"', b'"run_uid":"../..1"'),
        (b'"name":"scores"', b'"name":"everything"'),
        (b'"kind":"run"', b'"kind":"abandoned"'),
    ],
)
def test_a_header_that_lies_is_detected_though_its_checksum_fits(data: bytes, old: bytes, new: bytes) -> None:
    first = data.index(b"\n") + 1
    second = data.index(b"\n", first) + 1
    text = data[first:second]
    assert old in text
    assert read_rows(resealed(text, data[second:]))  # the helper itself is right
    with pytest.raises(CorruptObjectError):
        read_rows(resealed(text.replace(old, new, 1), data[second:]))


def test_decoding_many_bundles_at_once_names_the_one_that_is_not_arrow(make: ModuleType) -> None:
    from dataclasses import replace

    parts = []
    for number in range(5):
        run = decode(encode_bundle(make.scores_of(f"job-{number}", "run-1", 1.0)), f"job-{number}", URI)
        assert isinstance(run, StoredRun)
        table = run.tables[0]
        if number == 3:
            table = replace(table, batch=b"\xff\xff\xff\xff" + bytes(len(table.batch) - 4))
        parts.append((run.event_id, "run-1", table))
    columns = {"event_id": ScalarType.STRING, "run_uid": ScalarType.STRING, **parts[0][2].columns}
    with pytest.raises(CorruptObjectError, match="lies at job-3 is corrupt"):
        decode_tables(parts, columns, lambda event: f"lies at {event}")
    good = decode_tables([part for part in parts if part[0] != "job-3"], columns, str)
    assert good["event_id"].to_pylist() == ["job-0", "job-1", "job-2", "job-4"]


def test_a_marker_is_read_back_and_its_every_byte_counts() -> None:
    marker = encode_marker("job-1")
    assert decode(marker, "job-1", URI) == Abandoned("job-1")
    for position in range(len(marker)):
        for damaged in (marker[:position], marker[:position] + bytes([marker[position] ^ 4]) + marker[position + 1 :]):
            with pytest.raises(StoreError if position == VERSION_AT else CorruptObjectError):
                decode(damaged, "job-1", URI)
    with pytest.raises(CorruptObjectError):
        decode(marker + b"x", "job-1", URI)


json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists, max_leaves=5)


@given(st.dictionaries(st.text(max_size=5), json_values, max_size=4), st.data())
def test_sealed_documents_detect_every_change(body: dict[str, Any], draw: st.DataObject) -> None:
    if any("\ud800" <= character <= "\udfff" for character in str(body)):
        return
    data = seal("column", body)
    assert unseal("column", data, URI) == body
    with pytest.raises(CorruptObjectError):
        unseal("manifest", data, URI)
    position = draw.draw(st.integers(0, len(data) - 1))
    for damaged in (data[:position], data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :], data + b" "):
        with pytest.raises(CorruptObjectError):
            unseal("column", damaged, URI)


@pytest.mark.parametrize("junk", [b"", b"null", b"[]", b"{}", b'{"body":3}', b"\xff", b"[" * 100_000])
def test_json_that_is_no_sealed_document_is_corrupt(junk: bytes) -> None:
    with pytest.raises(CorruptObjectError):
        unseal("column", junk, URI)


events = st.dictionaries(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True), st.sampled_from(EventState))


@given(events)
def test_an_index_segment_is_sorted_text_that_is_read_back_exactly(wanted: dict[str, EventState]) -> None:
    import hashlib

    data = encode_segment(wanted)
    lines = data.decode("ascii").splitlines()
    assert lines[0] == "checkmaite-index 1"
    assert [line.split(" ")[0] for line in lines[1:]] == sorted(wanted)
    entry = SegmentEntry(key="index/a.txt", size=len(data), sha256=hashlib.sha256(data).hexdigest(), count=len(wanted))
    assert decode_segment(data, entry, URI) == wanted
    with pytest.raises(CorruptObjectError):
        decode_segment(data + b"x", entry, URI)
    index = EventIndex((wanted,))
    assert all(index.state(event) is state for event, state in wanted.items())

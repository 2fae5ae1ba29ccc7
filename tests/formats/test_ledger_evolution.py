"""What a newer minor version adds to a ledger is kept; what a newer format has written is refused and left alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkmaite_core.errors import PayloadError, StoreFormatError
from checkmaite_core.evolving import Evolving, Given
from checkmaite_core.job import JobStatus
from checkmaite_core.outcome import Outcome
from checkmaite_core.provenance import Provenance
from checkmaite_core.submission import WorkOrder
from checkmaite_ledger import JobLedger, LedgerSettings, LedgerWriter, events
from checkmaite_ledger import _snapshot as snapshot
from checkmaite_ledger.events import Accepted, Ended, Event
from checkmaite_ray.protocol import Blob
from checkmaite_storage import CommitLog, LocalObjectStore

RELEASE = Path(__file__).parent / "0.1"
EAGER = LedgerSettings(snapshot_events=1, snapshot_ratio=0)

texts = st.text(max_size=6)
numbers = st.floats(allow_nan=True) | st.integers(-(2**60), 2**60)
values = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts | st.lists(texts, max_size=2)
unknown = st.dictionaries(st.from_regex(r"x_[a-z]{1,6}", fullmatch=True), values, max_size=3)


def written(objects: LocalObjectStore) -> dict[str, bytes]:
    return {info.key: objects.get(info.key) for info in objects.list()}


@pytest.fixture
def objects(tmp_path: Path) -> LocalObjectStore:
    shutil.copytree(RELEASE / "ledger", tmp_path / "ledger")
    return LocalObjectStore(tmp_path / "ledger")


def append(objects: LocalObjectStore, *entries: dict[str, Any], **contents: Any) -> None:
    """As a newer version would."""
    writer = CommitLog(objects, "jobs/team/").claim({"host": "newer"}, after=2)
    table = {"format": 1, "events": len(entries), "submissions": {}} | contents
    writer.append([json.dumps(one).encode() for one in (table, *entries)])


NEW = {
    "kind": "began",
    "job_id": "job-small",
    "at": 1.0,
    "attempt": 1,
    "place": "pid 1",
    "x_device": {"name": "ä", "of": [1, None]},
}


def test_unknown_fields_of_events_are_read_and_kept_in_every_later_snapshot(objects: LocalObjectStore) -> None:
    append(objects, NEW, x_contents=1)
    expected = {"began": {"x_device": {"name": "ä", "of": [1, None]}}}
    assert JobLedger(objects.uri, "team").job("job-small").more == expected
    for after in (3, 4):
        writer = LedgerWriter.claim(objects, "team", {}, after=after, settings=EAGER)
        records = writer.records
        writer.maintain(records, writer.number)
        (kept,) = (record for record in records if record.job_id == "job-small")
        assert (kept.more, kept.place) == (expected, "pid 1")


@given(unknown, unknown, st.lists(unknown, min_size=1, max_size=4))
def test_unknown_columns_of_a_snapshot_are_kept_and_known_ones_come_back(
    extra: dict[str, Any], policy: dict[str, Any], rows: list[dict[str, Any]]
) -> None:
    import zlib

    state = JobLedger(str(RELEASE / "ledger"), "team")._state()
    lines = [json.loads(line) for line in zlib.decompress(snapshot.encode_snapshot(state.records, {})).splitlines()]
    lines[0] |= extra
    names = sorted({name for row in rows for name in row})
    lines[0]["own"] = [*lines[0]["own"], *names]
    for shared in lines[1][0]:
        shared[lines[0]["shared"].index("policy")] |= policy
    for number, row in enumerate(lines[1][1]):
        row += [rows[number % len(rows)].get(name) for name in names]
    lines[-1] |= extra
    newer = zlib.compress(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    read, places = snapshot.decode_snapshot(newer, "here")
    assert [record.job_id for record in read] == [record.job_id for record in state.records]
    again, _ = snapshot.decode_snapshot(snapshot.encode_snapshot(read, places), "here")
    assert again == read
    for number, record in enumerate(again):
        more = (record.more or {}).get("record", {})
        assert {name: more[name] for name in names} == {name: rows[number % len(rows)].get(name) for name in names}
        assert more.get("policy_more", {}) == policy
        assert record.status is state.records[number].status


def test_a_version_that_knows_a_column_takes_it_from_what_another_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    (record, *_) = JobLedger(str(RELEASE / "ledger"), "team")._state().records
    with monkeypatch.context() as older:
        older.setattr(snapshot, "_KNOWN", snapshot._KNOWN - {"place"})
        with pytest.raises(TypeError):
            snapshot._record({"unknown": 1, "status": "PENDING", "causes": []}, "here")
    found = {name: getattr(record, name) for name in snapshot._KNOWN} | {"status": str(record.status)}
    found["more"] = {"record": {"place": found.pop("place"), "x_new": 1}}
    assert snapshot._record(found, "here").more == {"record": {"x_new": 1}}
    assert snapshot._record(found | {"more": {"record": {"place": "there"}}}, "here").place == "there"


@pytest.mark.parametrize(
    "entry",
    [
        {"kind": "frozen", "job_id": "job-small"},
        {"kind": "ended", "job_id": "job-small", "at": 1.0, "status": "PAUSED", "outcome": "{}"},
        None,
    ],
    ids=["kind", "status", "format"],
)
def test_a_version_that_cannot_read_a_ledger_neither_seals_its_writer_nor_writes_to_it(
    objects: LocalObjectStore, entry: dict[str, Any] | None
) -> None:
    append(objects, *([entry] if entry else []), **({} if entry else {"format": 2}))
    before = written(objects)
    for _ in range(2):
        with pytest.raises(StoreFormatError, match="Update checkmaite-ledger"):
            LedgerWriter.claim(objects, "team", {}, after=3)
        with pytest.raises(StoreFormatError, match="format"):
            JobLedger(objects.uri, "team").jobs()
    assert written(objects) == before


def test_an_epoch_with_more_fields_is_read_and_one_of_another_format_refused(objects: LocalObjectStore) -> None:
    path = Path(objects.path("jobs/team/epochs/0000000000000002"))
    document = json.loads(path.read_bytes())
    path.chmod(0o644)
    path.write_text(json.dumps(document | {"x_new": 1}))
    log = CommitLog(objects, "jobs/team/")
    assert log.epoch(2).who == document["who"]
    path.write_text(json.dumps(document | {"format": 2}))
    with pytest.raises(StoreFormatError, match=r"format 2.*reads format 1"):
        log.epoch(2)


accepted = st.builds(
    Accepted,
    job_id=texts,
    at=numbers,
    name=texts,
    capability_id=texts,
    run_key=st.none() | texts,
    client=texts,
    submitted_at=numbers,
    shape=texts,
    demand=st.dictionaries(texts | st.integers(0, 3), numbers, max_size=2),
    store_uri=texts,
    more=st.none() | unknown.filter(bool),
)
ended = st.builds(Ended, texts, numbers, st.sampled_from([*map(str, JobStatus), "PAUSED", ""]), texts)


@given(accepted | ended)
def test_what_is_encoded_as_an_event_is_decoded_as_the_same(event: Event) -> None:
    try:
        data = events.encode(event)
    except ValueError:
        return
    assert events.decode(data) == event


@given(unknown)
def test_unknown_fields_of_what_travels_are_kept_at_every_depth(extra: dict[str, Any]) -> None:
    for name, kind in (("work-order.json", WorkOrder), ("outcome-completed.json", Outcome)):
        document = json.loads((RELEASE / "wire" / name).read_bytes())
        for place in (document, *(one for one in document.values() if isinstance(one, dict))):
            place |= extra
        read = kind.model_validate_json(json.dumps(document))
        again = json.loads(read.model_dump_json())
        assert kind.model_validate_json(json.dumps(again)) == read
        for field, inner in document.items():
            if isinstance(inner, dict) and field not in extra:
                assert {one: again[field][one] for one in extra} == extra
        assert {one: again[one] for one in extra} == extra


@given(st.text(max_size=9), st.text(max_size=9), st.binary(max_size=9), st.integers(0, 40))
def test_a_submission_is_unpacked_as_it_was_packed_or_not_at_all(
    order: str, overlay: str, payload: bytes, cut: int
) -> None:
    blob = Blob(order, overlay, payload)
    try:
        data = blob.pack()
    except PayloadError:
        return
    assert Blob.unpack(data) == blob
    if cut < 12 + len(order.encode()) + len(overlay.encode()):
        with pytest.raises(ValueError, match="no submission of ours"):
            Blob.unpack(data[:cut])
    with pytest.raises(StoreFormatError, match="format 2"):
        Blob.unpack(data.replace(b"cmj1", b"cmj2", 1))


def test_in_python_an_unknown_field_of_what_people_write_is_a_typo() -> None:
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        Provenance(user="ada")  # type: ignore[call-arg]
    assert issubclass(Provenance, Given)
    assert issubclass(Outcome, Evolving)
    kept = Provenance.model_validate_json('{"user_id": "ada", "x_new": 1}')
    assert kept.model_copy(update={"job_id": "j"}).model_dump()["x_new"] == 1

"""What a newer minor version adds to a store is kept; what a newer format has written is refused and left alone."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from checkmaite_analytics_store import AnalyticsStore, StoreSettings
from checkmaite_analytics_store._sealed import seal
from checkmaite_core.errors import StoreFormatError
from checkmaite_core.provenance import Provenance
from checkmaite_core.record import Record, tabulate
from checkmaite_core.reference import CapabilityRunRef
from checkmaite_core.store import RunBundle

RELEASE = Path(__file__).parent / "0.1" / "store"
EAGER = StoreSettings(grace=0, vacuum_age=0, fold_after=0)

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)
names = st.from_regex(r"x_[a-zé]{1,6}", fullmatch=True)
"""No version will ever give a field such a name."""


class Score(Record, table_name="scores"):
    label: str
    value: float | None = None


@pytest.fixture
def root(tmp_path: Path) -> Path:
    copy = tmp_path / "store"
    shutil.copytree(RELEASE, copy)
    return copy


def commit(root: Path, event: str, run: str = "run-new") -> None:
    tables = tabulate([Score(run_uid=run, label="new", value=9.0)], run)
    reference = CapabilityRunRef.model_validate_json(
        json.dumps(
            {
                "event_id": event,
                "run_uid": run,
                "capability_id": "c",
                "store_uri": "s",
                "tables": {"scores": 1},
                "created_at": "2026-12-01T00:00:00Z",
            }
        )
    )
    with AnalyticsStore(root, settings=EAGER) as store:
        store.commit(RunBundle(event, reference, Provenance(), "{}", tables))


def answers(root: Path) -> dict[str, list[str]]:
    with AnalyticsStore(root) as store, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            table: sorted(json.dumps(row, sort_keys=True, default=str) for row in rows)
            for table in store.tables()
            for rows in [store.query(f'SELECT * FROM "{table}"').to_pylist()]
        }


def objects_of(value: Any) -> Iterator[dict[str, Any]]:
    """All JSON objects in a document, at any depth, whose keys are names of fields."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, dict):
        yield value
    for name, one in zip(value if isinstance(value, dict) else inner, inner, strict=True):
        if name != "tables" or isinstance(one, list):
            yield from objects_of(one)
        elif all(isinstance(files, list) for files in one.values()):  # of a manifest: by the names of tables
            yield from objects_of(list(one.values()))


def extend(draw: st.DataObject, document: dict[str, Any]) -> dict[str, Any]:
    """Add unknown fields to any of its objects."""
    found = list(objects_of(document))
    for target in draw.draw(st.lists(st.sampled_from(range(len(found))), min_size=1, max_size=4)):
        found[target][draw.draw(names)] = draw.draw(values)
    return document


def rewrite(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change what an object says, as another version would have written it."""
    times = path.stat().st_mtime_ns
    data = path.read_bytes()
    if path.suffix == ".run":
        preamble, text, rest = data.split(b"\n", 1)[0], *data.split(b"\n", 1)[1].split(b"\n", 1)
        header = json.dumps(change(json.loads(text)), ensure_ascii=False).encode() + b"\n"
        version = preamble.split(b" ")[1].decode()
        data = f"checkmaite-run {version} {len(header)} {hashlib.sha256(header).hexdigest()}\n".encode() + header + rest
    else:
        document = json.loads(data)
        data = seal(document["kind"], change(document["body"]))
    path.chmod(0o644)
    path.write_bytes(data)
    os.utime(path, ns=(times, times))


def sealed_objects(root: Path) -> list[Path]:
    manifests = sorted((root / "manifests").iterdir())
    stubs = [path for path in manifests if path.stat().st_size < 200]
    return [
        *sorted((root / "inbox").iterdir()),
        *manifests[-3:],
        *stubs[:1],
        *sorted((root / "schemas").rglob("*.json")),
        root / "store.json",
    ]


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_store_with_unknown_fields_anywhere_reads_and_folds_as_before(root: Path, draw: st.DataObject) -> None:
    expected = answers(root)
    paths = sealed_objects(root)
    for which in draw.draw(st.lists(st.sampled_from(range(len(paths))), min_size=1, max_size=6, unique=True)):
        rewrite(paths[which], lambda body: extend(draw, body))
    assert answers(root) == expected
    with AnalyticsStore(root, settings=EAGER) as store:
        assert [finding.key for finding in store.verify().findings if "scores" not in finding.key] == []
        report = store.fold()
        assert (report.folded, report.abandoned, report.repaired) == (2, 1, ())
        assert len(report.quarantined) == 1
        store.vacuum()
        store.fold()
        assert [finding.key for finding in store.verify().findings if "scores" not in finding.key] == []
    assert answers(root) == expected
    shutil.rmtree(root)
    shutil.copytree(RELEASE, root)


def test_the_next_manifest_keeps_what_a_newer_version_wrote_into_the_one_before(root: Path) -> None:
    def add(body: dict[str, Any]) -> dict[str, Any]:
        body["x_manifest"] = {"deep": [1, "ä"]}
        for files in body["tables"].values():
            for entry in files:
                entry["x_file"] = entry["key"]
        body["segments"][0]["x_segment"] = 1
        body["quarantined"][0]["x_aside"] = None
        body["quarantined"][0]["file"]["x_file"] = 2
        return body

    rewrite(max((root / "manifests").iterdir()), add)
    with AnalyticsStore(root, settings=StoreSettings(grace=0, merge_bytes=1, fold_batch=1)) as store:
        assert store.fold().folded == 2
        last = store.fold().manifest
        assert store.fold().manifest == last, "what is unknown is no reason to fold again"
    body = json.loads((root / "manifests" / "v0000000017.json").read_bytes())["body"]
    assert body["x_manifest"] == {"deep": [1, "ä"]}
    kept = [entry for entry in body["tables"]["runs"] if "x_file" in entry]
    assert len(kept) > 5
    assert all(entry["x_file"] == entry["key"] for entry in kept)
    assert body["segments"][0]["x_segment"] == 1
    assert "x_aside" in body["quarantined"][0]
    assert body["quarantined"][0]["file"]["x_file"] == 2


def test_a_file_that_only_unknown_fields_name_is_not_vacuumed(root: Path) -> None:
    extra = root / "tables" / "scores" / f"{14:010}-{'a' * 32}-0.parquet"
    extra.write_bytes(b"of a newer version")
    rewrite(
        max((root / "manifests").iterdir()), lambda body: body | {"x_deletes": [{"at": f"tables/scores/{extra.name}"}]}
    )
    with AnalyticsStore(root, settings=EAGER) as store:
        store.vacuum()
        commit(root, "job-new")
        store.fold()
        store.vacuum()
    assert extra.exists()


def test_a_fold_keeps_what_a_newer_version_wrote_into_a_bundle(root: Path) -> None:
    import pyarrow.parquet as pq

    def add(header: dict[str, Any]) -> dict[str, Any]:
        header["x_header"] = [1]
        header["provenance"]["x_provenance"] = "new"
        header["provenance"]["config"] = "not the run's"
        header["reference"]["x_reference"] = {"a": 1}
        return header

    rewrite(root / "inbox" / "job-waiting.run", add)
    for _ in range(2):
        with AnalyticsStore(root, settings=EAGER) as store, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that something is set aside
            found = store.reference("job-waiting")
            assert found is not None
            assert found.model_extra == {"x_reference": {"a": 1}}
            (row,) = store.query("SELECT config FROM runs WHERE event_id = 'job-waiting'").to_pylist()
            assert row == {"config": '{"k":1}'}
            store.fold()
    rows = [row for path in (root / "tables/_references").iterdir() for row in pq.read_table(path).to_pylist()]
    (unknown,) = {row["unknown"] for row in rows if row.get("unknown")}
    assert json.loads(unknown) == {
        "header": {"x_header": [1]},
        "provenance": {"config": "not the run's", "x_provenance": "new"},
    }


def test_merged_segments_keep_what_stands_behind_an_event(root: Path) -> None:
    segment = min((root / "index").iterdir())
    lines = segment.read_text().splitlines()
    lines[1] += " seen by=newer"
    data = ("\n".join(lines) + "\n").encode()
    segment.chmod(0o644)
    segment.write_bytes(data)

    def named(body: dict[str, Any]) -> dict[str, Any]:
        for entry in body["segments"]:
            if entry["key"].endswith(segment.name):
                entry |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        return body

    rewrite(max((root / "manifests").iterdir()), named)
    for number in range(12):
        commit(root, f"job-new-{number}", f"run-new-{number}")
    with AnalyticsStore(root, settings=EAGER) as store:
        store.fold()
    newest = json.loads(max((root / "manifests").iterdir()).read_bytes())["body"]
    assert not any(entry["key"].endswith(segment.name) for entry in newest["segments"]), "it was merged"
    assert any(lines[1] in (root / entry["key"]).read_text().splitlines() for entry in newest["segments"])


def bump_bundle(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"checkmaite-run 1 ", b"checkmaite-run 2 ", 1))


def bump_format(path: Path) -> None:
    rewrite(path, lambda body: body | {"format": 2})


def newest_manifest(root: Path) -> Path:
    return max((root / "manifests").iterdir())


def bump_segment(root: Path, which: int = -1) -> None:
    path = sorted((root / "index").iterdir())[which]
    path.chmod(0o644)
    data = path.read_bytes().replace(b"checkmaite-index 1\n", b"checkmaite-index 2\n")
    path.write_bytes(data)
    entry = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    def named(body: dict[str, Any]) -> dict[str, Any]:
        for one in body["segments"]:
            one.update(entry if one["key"].endswith(path.name) else {})
        return body

    rewrite(newest_manifest(root), named)


def other_letter(root: Path) -> None:
    path = max((root / "index").iterdir())
    path.chmod(0o644)
    data = path.read_bytes().replace(b" F\n", b" S\n", 1)
    path.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()

    def named(body: dict[str, Any]) -> dict[str, Any]:
        for one in body["segments"]:
            one.update({"sha256": digest} if one["key"].endswith(path.name) else {})
        return body

    rewrite(newest_manifest(root), named)


def other_type(root: Path) -> None:
    def decimal(body: dict[str, Any]) -> dict[str, Any]:
        body["tables"]["scores"][0]["columns"][-1][1] = "decimal"
        return body

    rewrite(newest_manifest(root), decimal)


def other_kind_of(field: str, value: object) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        def changed(header: dict[str, Any]) -> dict[str, Any]:
            place = header
            *way, last = field.split(".")
            for step in way:
                place = place[int(step)] if step.isdigit() else place[step]  # type: ignore[call-overload]
            place[int(last) if last.isdigit() else last] = value  # type: ignore[index]
            return header

        rewrite(root / "inbox" / "job-waiting.run", changed)

    return change


BUMPED: dict[str, Callable[[Path], object]] = {
    "the format": lambda root: bump_format(root / "store.json"),
    "the newest manifest": lambda root: bump_format(newest_manifest(root)),
    "the manifest before": lambda root: bump_format(sorted((root / "manifests").iterdir())[-2]),
    "an old manifest": lambda root: bump_format(sorted((root / "manifests").iterdir())[5]),
    "a bundle": lambda root: bump_bundle(root / "inbox" / "job-waiting.run"),
    "a marker": lambda root: bump_bundle(root / "inbox" / "job-lost-too.run"),
    "a segment": lambda root: bump_segment(root, -1),
    "another segment": lambda root: bump_segment(root, 0),
    "a state in a segment": other_letter,
    "a type in a manifest": other_type,
    "a kind of event": other_kind_of("kind", "partial"),
    "a kind of report": other_kind_of("reference.report.kind", "link"),
    "a type of a column": other_kind_of("tables.0.columns.1.1", "decimal"),
    "a registration": lambda root: bump_format(root / "schemas/scores/weight.json"),
    "a registered type": lambda root: rewrite(
        root / "schemas/scores/weight.json", lambda body: body | {"type": "decimal", "padding": ""}
    ),
}
NEVER_NEEDED = {"an old manifest": "query", "the manifest before": "query"}


@pytest.mark.parametrize("bumped", BUMPED)
def test_what_a_newer_format_wrote_is_refused_by_name_and_nothing_is_removed_or_set_aside(
    root: Path, bumped: str
) -> None:
    BUMPED[bumped](root)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    uses: dict[str, Callable[[AnalyticsStore], object]] = {
        "query": lambda store: answers(root),
        "fold": lambda store: store.fold(),
        "maintain": lambda store: store.maintain(),
        "vacuum": lambda store: store.vacuum(),
        "fold again": lambda store: store.fold(),
        "settle": lambda store: store.settle("job-waiting"),
    }
    refused: dict[str, StoreFormatError] = {}
    for name, use in uses.items():
        with AnalyticsStore(root, settings=EAGER) as store:
            try:
                use(store)
            except StoreFormatError as error:
                refused[name] = error
    assert refused, "nobody has noticed"
    for error in refused.values():
        assert "pip install --upgrade" in error.hint
        assert "2" in error.message or "does not know" in error.message
        assert "format 1" in error.message
    if bumped not in NEVER_NEEDED:
        assert "query" in refused
        assert "fold" in refused
    if "fold" in refused and "vacuum" in refused:
        left = {path: path.read_bytes() for path in before if path.exists()}
        assert left == before
    body = json.loads(newest_manifest(root).read_bytes())["body"]
    assert len(body["quarantined"]) == 1, "nothing but what had been set aside"
    with AnalyticsStore(root) as store:
        assert any("pip install --upgrade" in finding.advice for finding in store.verify().findings)


def test_a_fold_sets_damage_aside_and_not_a_newer_bundle_beside_it(root: Path) -> None:
    (root / "inbox" / "job-empty.run").write_bytes(b"garbage")
    bump_bundle(root / "inbox" / "job-waiting.run")
    with AnalyticsStore(root, settings=EAGER) as store, pytest.raises(StoreFormatError, match="job-waiting"):
        store.fold()
    rewritten = (root / "inbox" / "job-waiting.run").read_bytes()
    (root / "inbox" / "job-waiting.run").write_bytes(rewritten.replace(b"checkmaite-run 2", b"checkmaite-run 1"))
    with AnalyticsStore(root, settings=EAGER) as store:
        assert "inbox/job-waiting.run" not in store.fold().quarantined
        assert store.reference("job-waiting") is not None

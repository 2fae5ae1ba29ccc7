from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from checkmaite_analytics_store import AnalyticsStore, QuarantinedObjectWarning
from checkmaite_core.errors import CorruptObjectError, StoreError
from checkmaite_core.report import ArtifactReport, InlineTextReport

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    Open = Callable[..., AnalyticsStore]


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def emptied(_: bytes) -> bytes:
    return b""


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 8]) + data[middle + 1 :]


def foreign(_: bytes) -> bytes:
    return b"PK\x03\x04 this is some other program's file"


damages = pytest.mark.parametrize("damage", [truncated, emptied, flipped, foreign])


def spoil(path: Path, damage: Callable[[bytes], bytes]) -> bytes:
    data = path.read_bytes()
    path.write_bytes(damage(data))
    return data


def values(store: AnalyticsStore) -> list[float]:
    return [row["value"] for row in store.query("SELECT value FROM scores ORDER BY ALL").to_pylist()]


@damages
def test_a_damaged_bundle_is_named_then_quarantined_then_warned_about_and_comes_back_when_restored(
    open_store: Open, make: ModuleType, root: Path, damage: Callable[[bytes], bytes]
) -> None:
    for number in range(3):
        open_store().commit(make.scores_of(f"job-{number}", f"run-{number}", float(number)))
    victim = root / "inbox" / "job-1.run"
    healthy = spoil(victim, damage)
    with pytest.raises(CorruptObjectError, match=r"inbox/job-1\.run is corrupt") as caught:
        open_store().query("SELECT * FROM scores")
    assert caught.value.uri.endswith("inbox/job-1.run")
    assert [finding.key for finding in open_store().verify().findings] == ["inbox/job-1.run"]

    assert open_store().fold().quarantined == ("inbox/job-1.run",)
    with pytest.warns(QuarantinedObjectWarning, match=r"inbox/job-1\.run"):
        assert values(open_store()) == [0.0, 2.0]
    assert open_store(grace=0).fold().quarantined == ("inbox/job-1.run",)
    assert victim.exists()

    victim.write_bytes(healthy)
    assert open_store().fold().quarantined == ()
    with warnings.catch_warnings(action="error"):
        assert values(open_store()) == [0.0, 1.0, 2.0]


@damages
@pytest.mark.parametrize("table", ["scores", "runs", "_references"])
def test_a_damaged_folded_file_is_named_then_quarantined_and_loses_no_other_run(
    open_store: Open, make: ModuleType, root: Path, damage: Callable[[bytes], bytes], table: str
) -> None:
    for number in range(2):
        open_store().commit(make.scores_of(f"job-{number}", f"run-{number}", float(number)))
        open_store(merge_bytes=0).fold()
    victim = sorted((root / "tables" / table).iterdir())[0]
    key = f"tables/{table}/{victim.name}"
    spoil(victim, damage)
    assert [finding.key for finding in open_store().verify().findings] == [key]
    with pytest.raises(CorruptObjectError, match=victim.name):
        open_store().settle("job-0") if table == "_references" else open_store().query(f"SELECT * FROM {table}")
    assert key in open_store().fold().quarantined
    with pytest.warns(QuarantinedObjectWarning, match=victim.name):
        shown = values(open_store())
    assert shown == ([1.0] if table == "scores" else [0.0, 1.0])
    open_store().commit(make.scores_of("job-3", "run-3", 3.0))
    open_store().fold()
    with pytest.warns(QuarantinedObjectWarning, match=victim.name):
        assert values(open_store()) == [*shown, 3.0]
    assert key in {finding.key for finding in open_store().verify().findings}


def test_with_a_file_of_runs_set_aside_a_newer_event_still_replaces_the_older_rows(
    open_store: Open, make: ModuleType, root: Path
) -> None:
    open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    open_store().fold()
    spoil(next((root / "tables" / "runs").iterdir()), flipped)
    open_store().fold()
    open_store().commit(make.scores_of("job-2", "run-1", 2.0))
    for _ in range(2):
        with pytest.warns(QuarantinedObjectWarning):
            assert values(open_store()) == [2.0]
        open_store().fold()


@damages
def test_a_damaged_format_file_stops_every_reader_by_name_and_no_commit(
    open_store: Open, make: ModuleType, root: Path, damage: Callable[[bytes], bytes]
) -> None:
    open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    spoil(root / "store.json", damage)
    for call in (
        lambda: open_store().query("SELECT * FROM scores"),
        lambda: open_store().fold(),
    ):
        with pytest.raises(CorruptObjectError, match=r"store\.json"):
            call()
    assert open_store().commit(make.scores_of("job-2", "run-2", 1.0)).created
    assert [finding.key for finding in open_store().verify().findings] == ["store.json"]


def test_damage_after_the_first_query_of_a_process_is_named_when_the_engine_stumbles(
    open_store: Open, make: ModuleType
) -> None:
    store = open_store()
    store.commit(make.scores_of("job-1", "run-1", 1.0))
    store.fold()
    assert values(store) == [1.0]
    victim = Path(store.files("scores")[0])
    spoil(victim, foreign)
    with pytest.raises(CorruptObjectError, match=victim.name):
        values(store)
    assert len(store.fold().quarantined) == 1
    with pytest.warns(QuarantinedObjectWarning):
        assert values(store) == []


def test_a_missing_folded_file_is_named(open_store: Open, make: ModuleType) -> None:
    open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    open_store().fold()
    victim = Path(open_store().files("scores")[0])
    victim.unlink()
    with pytest.raises(CorruptObjectError, match=f"{victim.name} is corrupt: it is gone"):
        values(open_store())
    assert len(open_store().fold().quarantined) == 1


def test_a_manifest_that_names_a_file_outside_the_tables_is_refused(
    open_store: Open, make: ModuleType, root: Path
) -> None:
    import json

    from checkmaite_analytics_store._sealed import seal

    open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    open_store().fold()
    path = root / "manifests" / "v0000000001.json"
    for key in ("../../etc/passwd", "/etc/passwd", "tables/../../x", "store.json"):
        body: dict[str, Any] = json.loads(path.read_text())["body"]
        body["tables"]["scores"][0]["key"] = key
        path.write_bytes(seal("manifest", body))
        with pytest.raises(CorruptObjectError, match=r"v0000000001\.json"):
            open_store().query("SELECT * FROM scores")


def test_files_that_are_not_ours_do_not_disturb(open_store: Open, make: ModuleType, root: Path) -> None:
    open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    open_store().fold()
    (root / "inbox" / "README.txt").write_text("hello")
    (root / "inbox" / ".run").write_text("hello")
    (root / "manifests" / "v1.json.bak").write_text("hello")
    (root / "manifests" / "v9999999999.json.orig").write_text("hello")
    (root / "tables" / "scores" / "orphan.parquet").write_text("from an unfinished fold")
    os.mkdir(root / "inbox" / "folder.run")
    assert values(open_store()) == [1.0]
    assert open_store().fold().quarantined == ()
    report = open_store().verify()
    assert report.ok
    assert report.foreign == (
        "inbox/README.txt",
        "manifests/v1.json.bak",
        "manifests/v9999999999.json.orig",
        "tables/scores/orphan.parquet",
    )


def test_a_healthy_store_verifies_and_says_how_much_it_looked_at(
    open_store: Open, make: ModuleType, root: Path
) -> None:
    open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    open_store().settle("job-2")
    open_store().put_report("job-1", InlineTextReport(content="hello"))
    open_store().fold()
    report = open_store().verify()
    assert report.ok
    files = [path for path in root.rglob("*") if path.is_file()]
    assert report.objects == len(files)


REPORT = "# Heading\n" + "é" * 200_000


def test_a_large_report_is_kept_once_by_event_and_content_and_read_back(
    open_store: Open, make: ModuleType, root: Path
) -> None:
    wanted = InlineTextReport(content=REPORT, filename="../../evil.md")
    artifact = open_store().put_report("job-1", wanted)
    assert open_store().put_report("job-1", wanted) == artifact
    assert artifact.uri.startswith("reports/job-1/")
    assert artifact.size == len(REPORT.encode())
    assert open_store().put_report("job-1", InlineTextReport(content="other")).uri != artifact.uri
    assert sum(path.is_file() for path in (root / "reports").rglob("*")) == 2
    receipt = open_store().commit(make.bundle_of("job-1", "run-1", [], artifact))
    assert open_store().read_report(receipt.reference) == REPORT
    (row,) = open_store().query("SELECT report_kind, report_uri FROM runs").to_pylist()
    assert row == {"report_kind": "artifact", "report_uri": artifact.uri}


@pytest.mark.parametrize("report", [None, InlineTextReport(content="short"), InlineTextReport(content="")])
def test_a_small_report_travels_with_the_reference_and_survives_fold_and_removal(
    open_store: Open, make: ModuleType, report: InlineTextReport | None
) -> None:
    open_store().commit(make.bundle_of("job-1", "run-1", [], report))
    open_store(grace=0).fold()
    assert open_store(grace=0).fold().deleted == 1
    reference = open_store().settle("job-1")
    assert reference is not None
    assert open_store().read_report(reference) == (report.content if report else None)


@damages
def test_a_damaged_report_is_named(
    open_store: Open, make: ModuleType, root: Path, damage: Callable[[bytes], bytes]
) -> None:
    artifact = open_store().put_report("job-1", InlineTextReport(content=REPORT))
    reference = open_store().commit(make.bundle_of("job-1", "run-1", [], artifact)).reference
    spoil(root / artifact.uri, damage)
    for call in (
        lambda: open_store().read_report(reference),
        lambda: open_store().put_report("job-1", InlineTextReport(content=REPORT)),
    ):
        with pytest.raises(CorruptObjectError, match="reports/job-1/"):
            call()
    assert [finding.key for finding in open_store().verify().findings] == [artifact.uri]


@pytest.mark.parametrize(
    "uri", ["/etc/passwd", "../secret", "inbox/job-1.run", "s3://bucket/x", "reports/../store.json"]
)
def test_a_report_that_lies_outside_the_reports_is_not_read(open_store: Open, make: ModuleType, uri: str) -> None:
    elsewhere = ArtifactReport(media_type="text/markdown", filename="r.md", uri=uri)
    reference = open_store().commit(make.bundle_of("job-1", "run-1", [], elsewhere)).reference
    with pytest.raises(StoreError, match="outside the store"):
        open_store().read_report(reference)


def test_a_warning_points_at_the_callers_line(open_store: Open, make: ModuleType, root: Path) -> None:
    store = open_store()
    store.commit(make.scores_of("job-1", "run-1", 1.0))
    spoil(root / "inbox" / "job-1.run", emptied)
    store.fold()
    with pytest.warns(QuarantinedObjectWarning) as caught:
        store.query("SELECT 1")
    assert caught[0].filename == __file__

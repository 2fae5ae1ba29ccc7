"""verify() names every damaged object, and advises what helps: a fold only where a fold changes something."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from checkmaite_analytics_store import AnalyticsStore, Finding
from checkmaite_core.report import InlineTextReport

if TYPE_CHECKING:
    from types import ModuleType


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests damage objects and cut no power."""
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)


@pytest.fixture
def server(faulty: ModuleType, root: Path, make: ModuleType) -> Any:
    """Two folded runs in files of their own, and one that waits."""
    server = faulty.Server(root)
    for number in range(2):
        server.store().commit(make.scores_of(f"job-{number}", f"run-{number}", float(number)))
        server.store(merge_bytes=0).fold()
    server.store().commit(make.scores_of("waiting", "run-9", 9.0))
    return server


def the_finding(store: AnalyticsStore) -> Finding:
    report = store.verify()
    assert not report.ok
    (finding,) = report.findings
    return finding


def spoil(server: Any, key: str) -> bytes:
    data = bytearray((server.root / key).read_bytes())
    healthy = bytes(data)
    data[len(data) // 2] ^= 8
    server.damage(key, bytes(data))
    return healthy


def first(server: Any, pattern: str) -> str:
    return str(sorted(server.root.glob(pattern))[0].relative_to(server.root))


@pytest.mark.parametrize("pattern", ["inbox/waiting.run", "tables/scores/*", "tables/runs/*", "tables/_references/*"])
def test_a_fold_is_advised_while_it_helps_then_a_copy_and_a_fold_again_once_there_is_one(
    server: Any, pattern: str
) -> None:
    key = first(server, pattern)
    healthy = spoil(server, key)
    finding = the_finding(server.store())
    assert finding.key == key
    assert finding.advice.startswith("store.fold() sets it aside")

    assert server.store().fold().quarantined == (key,)
    finding = the_finding(server.store())
    assert "set aside already, and another fold changes nothing: restore it" in finding.advice
    assert server.store().fold().quarantined == (key,)

    server.damage(key, healthy)
    finding = the_finding(server.store())
    assert finding.key == key
    assert finding.advice.startswith("store.fold() takes it back")
    assert "whole again" in finding.problem
    assert server.store().fold().quarantined == ()
    assert server.store().verify().ok


def test_for_a_damaged_newest_manifest_a_fold_is_advised_and_for_an_older_one_a_vacuum(
    server: Any, make: ModuleType
) -> None:
    spoil(server, "manifests/v0000000002.json")
    finding = the_finding(server.store())
    assert finding.key == "manifests/v0000000002.json"
    assert finding.advice.startswith("Delete nothing. store.fold() publishes the next one")
    server.store().fold()
    finding = the_finding(server.store())
    assert finding.key == "manifests/v0000000002.json"
    assert finding.advice.startswith("Nothing is read from it")
    for number in range(12):
        server.store().commit(make.scores_of(f"more-{number}", f"more-{number}", 1.0))
        server.store().fold()
    server.wait(hours=25)
    assert server.store().vacuum().manifests > 0
    assert server.store().verify().ok


def test_a_lost_manifest_among_the_newest_is_named(server: Any) -> None:
    (server.root / "manifests" / "v0000000001.json").unlink()
    finding = the_finding(server.store())
    assert (finding.key, finding.problem) == ("manifests/v0000000001.json", "it is gone")


def test_a_damaged_index_segment_is_named_and_rebuilt_by_the_fold_that_is_advised(server: Any) -> None:
    key = first(server, "index/*2-*")
    spoil(server, key)
    finding = the_finding(server.store())
    assert finding.key == key
    assert "store.fold() rebuilds it" in finding.advice
    server.store().fold()
    assert server.store().verify().ok


def test_a_damaged_inbox_object_whose_event_is_folded_is_left_to_the_fold(server: Any) -> None:
    server.store().fold()
    spoil(server, "inbox/waiting.run")
    finding = the_finding(server.store())
    assert (finding.key, finding.advice[:15]) == ("inbox/waiting.run", "Nothing needs i")
    server.wait(hours=1)
    assert server.store().fold().deleted > 0
    assert server.store().verify().ok


def test_what_a_fold_cannot_mend_is_not_advised_one(server: Any) -> None:
    key = server.store().put_report("job-0", InlineTextReport(content="text")).uri
    spoil(server, key)
    finding = the_finding(server.store())
    assert finding.key == key
    assert "a fold changes nothing about it" in finding.advice
    (server.root / key).unlink()

    healthy = spoil(server, "store.json")
    finding = the_finding(server.store())
    assert finding.key == "store.json"
    assert "fold" not in finding.advice
    server.damage("store.json", healthy)

    spoil(server, "schemas/scores/value.json")
    finding = the_finding(server.store())
    assert finding.key == "schemas/scores/value.json"
    assert "remove it, then write a run whose column has the same type" in finding.advice


def test_foreign_objects_are_no_damage_and_are_named_once_each(server: Any) -> None:
    before = server.store().verify()
    foreign = (
        "inbox/README.txt",
        "index/mine.txt",
        "manifests/v1.json.bak",
        "probes/mine",
        "reports/job-0/notes.txt",
        "schemas/notes.txt",
        "tables/scores/mine.parquet",
    )
    _, objects = server.open()
    for key in foreign:
        objects.put_if_absent(key, b"foreign")
    report = server.store().verify()
    assert report.ok
    assert report.foreign == foreign
    assert (report.objects, report.unused) == (before.objects, before.unused)


def test_what_a_vacuum_will_remove_is_counted_and_is_no_damage(server: Any, faulty: ModuleType) -> None:
    before = server.store().verify().unused
    folder, objects = server.open()

    def crash(method: str, key: str) -> None:
        if method == "put" and key.startswith("manifests/"):
            raise faulty.Crash

    objects.before = crash
    with pytest.raises(faulty.Crash):
        folder.fold()
    report = server.store().verify()
    assert report.ok
    assert report.unused == before + 4  # a file of each of three tables, and a segment
    server.wait(hours=25)
    server.store().vacuum()
    assert server.store().verify().unused == 0


def test_what_is_folded_and_removed_while_the_check_goes_on_is_no_damage(
    server: Any, make: ModuleType, faulty: ModuleType
) -> None:
    store, objects = server.open()
    check = faulty.Parked(objects, store.verify, lambda method, key: (method, key[:6]) == ("get", "tables"))
    for number in range(2):
        server.store().commit(make.scores_of(f"new-{number}", f"run-{number}", float(number)))
        server.store(grace=0).fold()
    server.wait(hours=25)
    assert server.store().vacuum().files > 0
    assert check.go_on().findings == ()


def test_the_memory_of_a_check_does_not_grow_with_the_number_of_objects(server: Any, make: ModuleType) -> None:
    for number in range(30):
        server.store().commit(make.scores_of(f"large-{number}", f"large-{number}", *[0.5] * 4000))
    size = sum(path.stat().st_size for path in (server.root / "inbox").iterdir())
    assert size > 2_000_000
    store = server.store()
    store.verify()  # imports
    allocated = pa.total_allocated_bytes()
    tracemalloc.start()
    try:
        assert store.verify().ok
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < size / 3
    assert pa.total_allocated_bytes() - allocated < size / 10

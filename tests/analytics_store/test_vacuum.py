"""What a vacuum removes, what it leaves, and that it may be killed at any call."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from checkmaite_analytics_store import AnalyticsStore, VacuumReport
from checkmaite_core.errors import AccessDeniedError, CorruptObjectError
from checkmaite_core.naming import new_probe_token
from checkmaite_core.report import InlineTextReport

if TYPE_CHECKING:
    from types import ModuleType

SCORES = "SELECT event_id, value FROM scores ORDER BY ALL"


def shown(store: AnalyticsStore) -> list[dict[str, Any]]:
    return store.query(SCORES).to_pylist()


def tree(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests kill processes and cut no power."""
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)


@pytest.fixture
def server(faulty: ModuleType, root: Path) -> Any:
    return faulty.Server(root)


def fold_often(server: Any, make: ModuleType, count: int, start: int = 0) -> None:
    """Each fold merges with, or replaces rows of, the one before."""
    for number in range(start, start + count):
        server.store().commit(make.scores_of(f"job-{number:03}", f"run-{number % 2}", float(number)))
        server.store(grace=0).fold()


def test_what_no_manifest_names_goes_after_a_day_and_every_answer_stays(server: Any, make: ModuleType) -> None:
    fold_often(server, make, 4)
    before, all_objects = shown(server.store()), tree(server.root)
    server.wait(hours=23)
    assert server.store().vacuum() == VacuumReport()
    assert tree(server.root) == all_objects
    server.wait(hours=2)
    report = server.store().vacuum()
    gone = all_objects - tree(server.root)
    assert report.files == sum(key.startswith("tables/") for key in gone) > 0
    assert report.segments == sum(key.startswith("index/") for key in gone) > 0
    assert (report.reports, report.probes, report.manifests) == (0, 0, 0)
    assert report.bytes > 1000
    assert shown(server.store()) == before
    assert {f"tables/{table}" for table in ("runs", "scores")} == {
        str(Path(file).parent.relative_to(server.root))
        for table in ("runs", "scores")
        for file in server.store().files(table)
    }
    assert server.store().verify().ok
    assert server.store().vacuum() == VacuumReport()


def test_a_list_of_files_given_to_another_tool_stays_good_for_a_day(server: Any, make: ModuleType) -> None:
    """However old the files are: what counts is since when they are out of use."""
    fold_often(server, make, 2)
    server.wait(hours=100)
    files = [Path(file) for table in ("runs", "scores") for file in server.store().files(table)]
    fold_often(server, make, 3, start=2)
    server.wait(hours=23)
    server.store().vacuum()
    assert all(file.exists() for file in files)
    server.wait(hours=2)
    assert server.store().vacuum().files >= len(files)
    assert not any(file.exists() for file in files)


def test_what_the_store_did_not_write_stays(server: Any, make: ModuleType) -> None:
    fold_often(server, make, 3)
    foreign = {
        "tables/scores/mine.parquet",
        "tables/notes.txt",
        "index/mine.txt",
        "reports/notes.txt",
        "reports/job-000/notes.txt",
        "probes/mine",
        "manifests/v1.json.bak",
        "elsewhere/object",
    }
    _, objects = server.open()
    for key in foreign:
        objects.put_if_absent(key, b"foreign")
    server.wait(hours=25)
    assert server.store().vacuum().files > 0
    assert foreign <= tree(server.root)


def test_only_reports_of_events_that_can_never_be_committed_go(server: Any, make: ModuleType) -> None:
    keys = {}
    for event in ("committed", "abandoned", "pending", "settled-only"):
        artifact = server.store().put_report(event, InlineTextReport(content=f"report of {event}"))
        keys[event] = artifact.uri
        if event == "committed":
            reference = server.store().commit(make.bundle_of(event, "run-1", [], artifact)).reference
    server.store().settle("abandoned")
    server.store(grace=0).fold()
    server.store().settle("settled-only")  # not folded yet: the next vacuum's
    server.wait(hours=25)
    server.store().put_report("abandoned", InlineTextReport(content="a straggler's"))
    assert server.store().vacuum().reports == 1
    assert {event for event, key in keys.items() if (server.root / key).exists()} == {
        "committed",
        "pending",
        "settled-only",
    }
    assert server.store().read_report(reference) == "report of committed"
    assert len(list((server.root / "reports" / "abandoned").iterdir())) == 1
    server.wait(hours=25)
    server.store(grace=0).fold()
    assert server.store().vacuum().reports == 2


def test_probes_of_workers_that_may_not_delete_go_after_a_day(server: Any, make: ModuleType) -> None:
    worker, objects = server.open()
    objects.may_delete = False
    worker.commit(make.scores_of("job-1", "run-1", 1.0))
    assert len(list((server.root / "probes").iterdir())) == 1
    assert server.store().vacuum() == VacuumReport()
    server.wait(hours=25)
    report = server.store().vacuum()
    assert (report.probes, report.bytes) == (1, len(b"first"))
    assert not list((server.root / "probes").iterdir())


def test_probes_that_a_preflight_left_behind_go_after_a_day(server: Any, make: ModuleType) -> None:
    worker, client = server.store(), server.open()[0]
    worker.commit(make.scores_of("job-1", "run-1", 1.0))
    token = new_probe_token()
    worker.probe(token)
    reader, objects = server.open()
    objects.may_delete = False
    reader.remove_probe(token)
    assert client.has_probe(token)
    server.wait(hours=23)
    assert server.store().vacuum() == VacuumReport()
    assert client.has_probe(token)
    server.wait(hours=2)
    assert server.store().vacuum().probes == 1
    assert not client.has_probe(token)


def test_superseded_manifests_become_stubs_but_for_the_newest_ten_and_their_numbers_stay_taken(
    server: Any, make: ModuleType
) -> None:
    fold_often(server, make, 25)
    numbers = tree(server.root / "manifests")
    before = shown(server.store())
    server.wait(hours=25)
    assert server.store().vacuum().manifests == 16  # of 26, as it has published one itself
    assert tree(server.root / "manifests") >= numbers
    sizes = [path.stat().st_size for path in sorted((server.root / "manifests").iterdir())]
    assert max(sizes[:16]) < 150 < min(sizes[16:])
    assert shown(server.store()) == before
    assert server.store().verify().ok
    fold_often(server, make, 1, start=25)
    assert server.store().fold().manifest == 27


def test_a_gap_that_a_killed_vacuum_left_between_manifests_is_filled(server: Any, make: ModuleType) -> None:
    fold_often(server, make, 15)
    (server.root / "manifests" / "v0000000003.json").unlink()
    (server.root / "manifests" / "v0000000004.json").unlink()
    server.wait(hours=25)
    server.store().vacuum()
    assert {f"v{number:010}.json" for number in range(1, 17)} == tree(server.root / "manifests")
    assert server.store().verify().ok


def test_a_vacuum_does_not_judge_by_a_damaged_newest_manifest(server: Any, make: ModuleType) -> None:
    fold_often(server, make, 4)
    newest = server.root / "manifests" / "v0000000004.json"
    newest.write_bytes(b"")
    server.wait(hours=25)
    before = tree(server.root)
    with pytest.raises(CorruptObjectError, match=r"v0000000004\.json"):
        server.store().vacuum()
    assert tree(server.root) == before
    server.store().fold()
    assert server.store().vacuum().files > 0
    assert [row["event_id"] for row in shown(server.store())] == ["job-002", "job-003"]
    assert [finding.key for finding in server.store().verify().findings] == ["manifests/v0000000004.json"]


def test_without_the_right_to_delete_nothing_changes(server: Any, make: ModuleType) -> None:
    fold_often(server, make, 14)
    server.wait(hours=25)
    worker, objects = server.open()
    objects.may_delete = False
    before = tree(server.root)
    with pytest.raises(AccessDeniedError, match="probes/"):
        worker.vacuum()
    assert {key for key in tree(server.root) if not key.startswith("probes/")} == before


def test_where_there_is_no_store_a_vacuum_makes_none(server: Any) -> None:
    assert server.store().vacuum() == VacuumReport()
    assert not server.root.exists()


def test_what_a_killed_first_fold_left_goes(server: Any, make: ModuleType, faulty: ModuleType) -> None:
    server.store().commit(make.scores_of("job-1", "run-1", 1.0))
    folder, objects = server.open()

    def crash(method: str, key: str) -> None:
        if method == "put" and key.startswith("manifests/"):
            raise faulty.Crash

    objects.before = crash
    with pytest.raises(faulty.Crash):
        folder.fold()
    server.wait(hours=25)
    report = server.store().vacuum()
    assert (report.files, report.segments) == (3, 1)
    assert not [key for key in tree(server.root) if key.startswith(("tables/", "index/"))]
    assert shown(server.store()) == [{"event_id": "job-1", "value": 1.0}]
    assert server.store().fold().folded == 1
    assert shown(server.store()) == [{"event_id": "job-1", "value": 1.0}]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_vacuum_that_dies_at_any_call_costs_nothing_and_the_next_one_finishes_its_work(
    tmp_path: Path, make: ModuleType, faulty: ModuleType, when: str
) -> None:
    prepared = faulty.Server(tmp_path / "prepared")
    fold_often(prepared, make, 11)
    prepared.store().put_report("gone", InlineTextReport(content="text"))
    prepared.store().settle("gone")
    prepared.store().commit(make.scores_of("last", "run-2", 2.0))
    prepared.store(grace=0).fold()
    prepared.store().commit(make.scores_of("new", "run-3", 3.0))
    prepared.wait(hours=25)
    wanted = shown(prepared.store())
    rehearsal = faulty.copy_of(prepared, tmp_path / "rehearsal")
    vacuum, objects = rehearsal.open()
    vacuum.vacuum()
    for call in faulty.telling(objects.calls):
        server = faulty.copy_of(prepared, tmp_path / str(call))
        dying, objects = server.open()
        objects.dies(call, when)
        with pytest.raises(faulty.Crash):
            dying.vacuum()
        store = server.store()
        assert shown(store) == wanted, objects.calls
        assert store.settle("gone") is None
        assert store.settle("job-000") is not None
        store.fold()
        server.wait(hours=25)
        store.vacuum()
        assert shown(store) == wanted, objects.calls
        assert server.store().verify().ok, objects.calls
        assert tree(server.root / "reports") == set()
        assert server.store().vacuum() == VacuumReport(), objects.calls


def test_staged_outputs_go_when_committed_or_when_nobody_came_for_them(server: Any, make: ModuleType) -> None:
    store = server.store()
    store.stage("job-000", b"of a job that has committed")
    store.stage("job-lost", b"of one that failed")
    fold_often(server, make, 1)
    server.wait(hours=25)
    assert server.store().vacuum().staged == 1
    assert not server.store().has_staged("job-000")
    server.wait(hours=29 * 24 - 2)
    assert server.store().vacuum().staged == 0
    assert server.store().staged("job-lost") == b"of one that failed"
    server.wait(hours=24)
    assert server.store().vacuum().staged == 1
    assert server.store().staged("job-lost") is None


def test_damaged_staged_outputs_are_found_and_never_given(server: Any) -> None:
    server.store().stage("job-1", b"outputs of a night")
    path = server.root / "staged" / "job-1.bin"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(CorruptObjectError, match=r"staged/job-1\.bin"):
        server.store().staged("job-1")
    (finding,) = server.store().verify().findings
    assert finding.key == "staged/job-1.bin"

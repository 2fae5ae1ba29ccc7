from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from checkmaite_analytics_store import AnalyticsStore, StoreSettings
from checkmaite_core.errors import ObjectExistsError, StoreError
from checkmaite_storage import LocalObjectStore, ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    Open = Callable[..., AnalyticsStore]

SCORES = "SELECT event_id, value FROM scores ORDER BY ALL"
RUNS = "SELECT event_id, run_uid, is_current, committed_at FROM runs ORDER BY ALL"


def content(store: AnalyticsStore) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return store.query(SCORES).to_pylist(), store.query(RUNS).to_pylist()


def manifest(root: Path, number: int) -> dict[str, Any]:
    return json.loads((root / f"manifests/v{number:010d}.json").read_text())["body"]  # type: ignore[no-any-return]


def set_time(root: Path, event_id: str, seconds: int) -> None:
    """Make the disk say that an event was committed at this time."""
    os.utime(root / "inbox" / f"{event_id}.run", (seconds, seconds))


def test_a_fold_changes_where_rows_lie_and_nothing_that_a_query_shows(open_store: Open, make: ModuleType) -> None:
    for number in range(5):
        open_store().commit(make.scores_of(f"job-{number}", f"run-{number % 3}", float(number), None))
    before = content(open_store())
    report = open_store().fold()
    assert (report.manifest, report.folded, report.abandoned, report.deleted, report.quarantined) == (1, 5, 0, 0, ())
    assert content(open_store()) == before
    assert len(open_store().files("scores")) == len(open_store().files("runs")) == 1


def test_a_fold_without_anything_new_publishes_nothing(open_store: Open, make: ModuleType, root: Path) -> None:
    open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    open_store().fold()
    files = sorted(root.rglob("*"))
    assert open_store().fold().manifest == 1
    assert sorted(root.rglob("*")) == files


def test_superseded_rows_are_in_no_listed_file_and_only_affected_files_are_rewritten(
    open_store: Open, make: ModuleType
) -> None:
    open_store().commit(make.scores_of("job-1", "run-a", 1.0))
    open_store().commit(make.scores_of("job-2", "run-b", 2.0))
    open_store(merge_bytes=0).fold()
    open_store().commit(make.scores_of("job-3", "run-c", 3.0))
    open_store(merge_bytes=0).fold()
    first, second = open_store().files("scores")
    open_store().commit(make.scores_of("job-4", "run-c", 4.0))
    open_store(merge_bytes=0).fold()
    files = open_store().files("scores")
    assert first in files
    assert second not in files
    events = [event for file in files for event in pq.read_table(file)["event_id"].to_pylist()]
    assert sorted(events) == ["job-1", "job-2", "job-4"]
    runs = {
        row["event_id"]: row["is_current"]
        for file in open_store().files("runs")
        for row in pq.read_table(file).to_pylist()
    }
    assert runs == {"job-1": True, "job-2": True, "job-3": False, "job-4": True}


@pytest.mark.parametrize("fold_after", [(), ("job-1",), ("job-2",), ("job-1", "job-2"), ("job-1", "job-2", "job-3")])
@pytest.mark.parametrize(
    ("times", "newest"),
    [((100, 200, 300), "job-3"), ((300, 200, 100), "job-1"), ((100, 300, 200), "job-2"), ((100, 100, 100), "job-3")],
)
def test_the_newest_event_is_the_same_whichever_fold_took_it(
    open_store: Open, make: ModuleType, root: Path, fold_after: tuple[str, ...], times: tuple[int, ...], newest: str
) -> None:
    for event_id, seconds in zip(("job-1", "job-2", "job-3"), times, strict=True):
        open_store().commit(make.scores_of(event_id, "run-1", float(seconds)))
        set_time(root, event_id, seconds)
        if event_id in fold_after:
            open_store(grace=0).fold()
    shown, history = content(open_store())
    assert [row["event_id"] for row in shown] == [newest]
    assert [row["event_id"] for row in history if row["is_current"]] == [newest]
    assert [int(row["committed_at"].timestamp()) for row in history] == list(times)


def test_inbox_objects_stay_for_the_grace_period_and_go_after_it(
    open_store: Open, make: ModuleType, root: Path
) -> None:
    open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    assert open_store(grace=100).fold().deleted == 0
    assert open_store(grace=100).fold().deleted == 0
    aged = root / "manifests" / "v0000000001.json"
    os.utime(aged, (aged.stat().st_mtime - 101,) * 2)
    open_store().commit(make.scores_of("job-2", "run-2", 2.0))
    before = content(open_store())
    assert open_store(grace=100).fold().deleted == 1
    assert [path.name for path in (root / "inbox").iterdir()] == ["job-2.run"]
    assert content(open_store()) == before
    # The second event's manifest is young: only what an old enough one lists may go.
    assert open_store(grace=100).fold().deleted == 0


class Watched(LocalObjectStore):
    """A real store that calls back around its methods, to stop a process at any point of its work."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.calls: list[str] = []
        self.before: Callable[[str, str], None] = lambda _method, _key: None
        self.after: Callable[[str, str], None] = lambda _method, _key: None

    def _around(self, method: str, key: str, call: Callable[[], Any]) -> Any:
        self.calls.append(f"{method} {key}")
        self.before(method, key)
        try:
            return call()
        finally:
            self.after(method, key)

    def get(self, key: str) -> bytes:
        return self._around("get", key, lambda: super(Watched, self).get(key))  # type: ignore[no-any-return]

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        return iter(self._around("list", prefix, lambda: list(super(Watched, self).list(prefix))))

    def put_if_absent(self, key: str, data: bytes) -> None:
        self._around("put", key, lambda: super(Watched, self).put_if_absent(key, data))

    def delete(self, key: str) -> None:
        self._around("delete", key, lambda: super(Watched, self).delete(key))


@pytest.fixture
def watch(root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[AnalyticsStore, Watched]]:
    def open_watched(**settings: float) -> tuple[AnalyticsStore, Watched]:
        objects = Watched(root)
        with monkeypatch.context() as patch:
            patch.setattr("checkmaite_analytics_store._store.open_object_store", lambda *_: objects)
            return AnalyticsStore(root, settings=StoreSettings(**settings)), objects  # type: ignore[arg-type]

    return open_watched


def test_a_reader_lists_the_inbox_before_it_looks_for_the_manifest(
    open_store: Open, watch: Callable[..., tuple[AnalyticsStore, Watched]], make: ModuleType
) -> None:
    """Between the two, another process folds and removes: the other order would show nothing."""
    open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    reader, objects = watch()

    def fold_and_remove(method: str, key: str) -> None:
        if (method, key) == ("list", "manifests/"):
            open_store(grace=0).fold()
            open_store(grace=0).fold()

    objects.before = fold_and_remove
    assert reader.query(SCORES).to_pylist() == [{"event_id": "job-1", "value": 1.0}]
    objects.before = lambda *_: None
    assert objects.calls.index("list inbox/") < objects.calls.index("list manifests/")


def test_a_reader_whose_event_is_folded_and_removed_under_it_starts_again(
    open_store: Open, watch: Callable[..., tuple[AnalyticsStore, Watched]], make: ModuleType
) -> None:
    open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    reader, objects = watch()
    done = []

    def fold_and_remove(method: str, key: str) -> None:
        if key.startswith("inbox/job") and not done:
            done.append(open_store(grace=0).fold())
            done.append(open_store(grace=0).fold())

    objects.before = fold_and_remove
    assert reader.query(SCORES).to_pylist() == [{"event_id": "job-1", "value": 1.0}]
    assert done[1].deleted == 1


def test_a_settler_whose_put_meets_an_event_that_is_folded_and_removed_at_once_learns_of_it(
    open_store: Open, watch: Callable[..., tuple[AnalyticsStore, Watched]], make: ModuleType
) -> None:
    receipt = open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    settler, objects = watch()
    done: list[object] = []

    def fold_and_remove(method: str, key: str) -> None:
        if (method, key) == ("get", "inbox/job-1.run") and not done:
            done.extend([open_store(grace=0).fold(), open_store(grace=0).fold()])

    objects.before = fold_and_remove
    assert settler.settle("job-1") == receipt.reference


def test_the_settlers_look_at_the_index_comes_after_its_put(
    open_store: Open, watch: Callable[..., tuple[AnalyticsStore, Watched]], make: ModuleType
) -> None:
    receipt = open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    settler, objects = watch()

    def fold_and_remove(method: str, key: str) -> None:
        if (method, key) == ("put", "inbox/job-1.run"):
            open_store(grace=0).fold()
            open_store(grace=0).fold()

    objects.before = fold_and_remove
    assert settler.settle("job-1") == receipt.reference


def test_an_event_committed_during_the_fold_is_not_removed_with_those_that_were_folded(
    open_store: Open, watch: Callable[..., tuple[AnalyticsStore, Watched]], make: ModuleType
) -> None:
    """The bug of deleting from a second listing of the inbox."""
    open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    open_store(grace=0).fold()
    open_store().commit(make.scores_of("job-2", "run-2", 2.0))
    folder, objects = watch(grace=0)
    count = iter(range(1000))

    def commit_more(method: str, key: str) -> None:
        if method in ("put", "delete", "list"):
            number = next(count)
            open_store().commit(make.scores_of(f"more-{number}", f"more-{number}", 3.0))

    objects.before = commit_more
    folder.fold()
    folder.fold()
    objects.before = lambda *_: None
    assert len(content(open_store())[0]) == 2 + next(count)


def test_a_stalled_fold_neither_overwrites_nor_removes_what_others_did_meanwhile(
    open_store: Open, watch: Callable[..., tuple[AnalyticsStore, Watched]], make: ModuleType
) -> None:
    open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    stalled, objects = watch(grace=0)

    def others(method: str, key: str) -> None:
        if (method, key) == ("put", "manifests/v0000000001.json"):
            open_store(grace=0).fold()
            open_store().commit(make.scores_of("job-2", "run-1", 2.0))
            open_store(grace=0).fold()

    objects.before = others
    report = stalled.fold()
    assert (report.manifest, report.folded) == (3, 0)
    shown, history = content(open_store())
    assert [row["event_id"] for row in shown] == ["job-2"]
    assert [row["event_id"] for row in history] == ["job-1", "job-2"]


def test_a_manifest_put_whose_answer_got_lost_is_known_as_our_own(
    open_store: Open, watch: Callable[..., tuple[AnalyticsStore, Watched]], make: ModuleType
) -> None:
    """Stands in for a connector that retries a put after a broken connection, and meets its own object."""
    open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    folder, objects = watch(grace=0)

    def retried(method: str, key: str) -> None:
        if method == "put" and key.startswith("manifests/"):
            raise ObjectExistsError("it exists", hint="none", uri=key)

    objects.after = retried
    report = folder.fold()
    assert (report.manifest, report.folded) == (1, 1)
    assert [row["event_id"] for row in content(open_store())[0]] == ["job-1"]


class Crash(BaseException):
    """Ends a fold where a kill would."""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_fold_that_dies_at_any_call_leaves_every_run_present_exactly_once(
    tmp_path: Path, make: ModuleType, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    store = AnalyticsStore(tmp_path / "prepared", settings=StoreSettings(grace=0))
    for number in range(3):
        store.commit(make.scores_of(f"old-{number}", f"run-{number}", float(number)))
    store.settle("gone")
    store.fold()
    store.commit(make.scores_of("new-0", "run-0", 10.0))
    store.commit(make.scores_of("new-3", "run-3", 13.0))
    store.settle("gone-too")
    wanted = [
        {"event_id": "new-0", "value": 10.0},
        {"event_id": "new-3", "value": 13.0},
        {"event_id": "old-1", "value": 1.0},
        {"event_id": "old-2", "value": 2.0},
    ]
    call = crashes = 0
    while True:
        root = tmp_path / str(call)
        shutil.copytree(tmp_path / "prepared", root)
        objects = Watched(root)
        with monkeypatch.context() as patch:
            patch.setattr("checkmaite_analytics_store._store.open_object_store", lambda *_, objects=objects: objects)
            dying = AnalyticsStore(root, settings=StoreSettings(grace=0))

        def crash(_method: str, _key: str, objects: Watched = objects, call: int = call) -> None:
            if len(objects.calls) == call + 1:
                raise Crash

        setattr(objects, when, crash)
        try:
            dying.fold()
            dying.fold()  # publishes the second manifest that lists the events, and removes them from the inbox
        except Crash:
            crashes += 1
        else:
            break
        other = AnalyticsStore(root, settings=StoreSettings(grace=0))
        for _ in range(2):
            shown, history = content(other)
            assert shown == wanted, objects.calls
            assert len(history) == 5, objects.calls
            other.fold()
        assert other.settle("gone") is None
        assert other.settle("old-0") is not None
        assert other.verify().ok
        other.close()
        call += 1
    assert crashes > 40


def test_a_fold_that_took_too_long_does_not_publish(open_store: Open, make: ModuleType, root: Path) -> None:
    open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    slow = open_store()
    ticks = iter([0.0, 3601.0])
    slow._folder._clock = lambda: next(ticks)
    with pytest.raises(StoreError, match="took longer than 3600 seconds"):
        slow.fold()
    assert not (root / "manifests").exists()
    assert content(open_store())[0] == [{"event_id": "job-1", "value": 1.0}]
    assert open_store().fold().manifest == 1


def test_a_long_inbox_is_folded_in_several_manifests(open_store: Open, make: ModuleType) -> None:
    for number in range(10):
        open_store().commit(make.scores_of(f"job-{number}", f"run-{number % 4}", float(number)))
    before = content(open_store())
    report = open_store(fold_batch=3).fold()
    assert (report.manifest, report.folded) == (4, 10)
    assert content(open_store()) == before


def test_manifests_list_the_index_in_few_segments_and_never_copy_it(
    open_store: Open, make: ModuleType, root: Path
) -> None:
    store = open_store(grace=0)
    for number in range(12):
        store.commit(make.bundle_of(f"job-{number:02}", f"run-{number}", []))
        store.fold()
    newest = manifest(root, 12)
    assert len(newest["segments"]) <= 4
    assert sum(segment["count"] for segment in newest["segments"]) == 12
    ids = []
    for segment in newest["segments"]:
        lines = (root / segment["key"]).read_text().splitlines()
        assert lines[0] == "checkmaite-index 1"
        ids += [line.split()[0] for line in lines[1:]]
    assert sorted(ids) == [f"job-{number:02}" for number in range(12)]
    assert "job-" not in (root / "manifests/v0000000012.json").read_text()


def test_folded_files_are_sorted_and_carry_page_checksums(open_store: Open, make: ModuleType, root: Path) -> None:
    for number in (3, 1, 2):
        open_store().commit(make.scores_of(f"job-{number}", f"run-{number}", 0.5, 0.25))
    open_store().fold()
    (file,) = open_store().files("scores")
    table = pq.read_table(file)
    assert table["run_uid"].to_pylist() == ["run-1", "run-1", "run-2", "run-2", "run-3", "run-3"]
    assert table["label"].to_pylist() == ["label-0", "label-1"] * 3
    assert pq.ParquetFile(file).metadata.row_group(0).column(0).compression == "ZSTD"
    data = bytearray(Path(file).read_bytes())
    data[40] ^= 1  # inside the first page
    (root / "damaged").write_bytes(data)
    with pytest.raises(OSError, match="CRC"):
        pq.read_table(root / "damaged", page_checksum_verification=True)

"""Folding by itself."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from checkmaite_analytics_store import AnalyticsStore, FoldReport, StoreSettings
from checkmaite_core import CapabilityConfig, CapabilityOutputs, CapabilityRun, StoreMaintenanceWarning
from checkmaite_storage import LocalObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    Open = Callable[..., AnalyticsStore]


class Run(CapabilityRun[CapabilityConfig, CapabilityOutputs]):
    def extract(self) -> list[Any]:
        return []


def run(number: int) -> Run:
    return Run(
        capability_id="test.maintain",
        config=CapabilityConfig(),
        outputs=CapabilityOutputs(),
        dataset_metadata=[{"id": f"data-{number}"}],
        model_metadata=[],
        metric_metadata=[],
    )


def manifests(root: Path) -> int:
    return len(list((root / "manifests").glob("*")))


def folded(store: AnalyticsStore) -> int:
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(file).num_rows for file in store.files("runs"))


def damage_first_manifests(root: Path) -> None:
    """More than a fold can mend."""
    (root / "manifests").mkdir()
    for number in (1, 2):
        (root / f"manifests/v000000000{number}.json").write_text("no manifest")


def test_only_a_tail_of_the_asked_length_is_folded(open_store: Open, make: ModuleType, root: Path) -> None:
    for number in range(3):
        open_store().commit(make.scores_of(f"job-{number}", f"run-{number}", 1.0))
    open_store().maintain(at_least=4)
    assert manifests(root) == 0
    open_store().maintain(at_least=3)
    assert folded(open_store()) == 3
    open_store().maintain(), open_store().maintain(at_least=3)
    assert manifests(root) == 1, "what is folded, and still lies in the inbox, does not wait"


def test_the_inbox_is_listed_only_as_far_as_it_takes(
    open_store: Open, make: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        open_store().commit(make.scores_of(f"job-{number:02}", f"run-{number}", 1.0))
    store = open_store()
    listed = []
    really = LocalObjectStore.list

    def listing(self: LocalObjectStore, prefix: str = "") -> Any:
        for info in really(self, prefix):
            listed.append(info.key)
            yield info

    monkeypatch.setattr(LocalObjectStore, "list", listing)
    nothing = FoldReport(manifest=0, folded=0, abandoned=0, deleted=0, quarantined=())
    monkeypatch.setattr(store._folder, "fold", lambda *_, **__: nothing)
    store.maintain(at_least=5)
    assert [key for key in listed if key.startswith("inbox/")] == [f"inbox/job-{number:02}.run" for number in range(5)]


def test_damaged_objects_that_a_fold_has_set_aside_do_not_make_every_shutdown_fold(
    open_store: Open, make: ModuleType, root: Path
) -> None:
    open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    (root / "inbox/job-1.run").write_bytes(b"damaged")
    assert open_store().fold().quarantined == ("inbox/job-1.run",)
    store = open_store()
    store._folder.fold = None  # type: ignore[assignment, method-assign] - calling it fails the test
    store.maintain()


def test_many_writes_of_one_process_are_folded_meanwhile_and_the_rest_waits(open_store: Open, root: Path) -> None:
    with open_store(fold_after=10) as store:
        for number in range(10):
            store.write(run(number))
        store._upkeep._thread.join(60)  # type: ignore[union-attr]
        assert folded(store) == 10, "before it is closed"
        for number in range(10, 15):
            store.write(run(number))
        store.write(run(3))
    assert folded(open_store()) == 10
    assert open_store().query("SELECT count(*) AS n FROM runs")["n"].to_pylist() == [15]
    assert not [thread for thread in threading.enumerate() if thread.name == "checkmaite-fold"]


def test_the_last_of_many_short_processes_folds_what_all_of_them_wrote(open_store: Open, root: Path) -> None:
    for number in range(6):
        assert manifests(root) == 0
        with open_store(fold_after=6) as store:
            store.write(run(number))
    assert folded(open_store()) == 6


def test_who_only_reads_or_commits_for_jobs_folds_nothing(open_store: Open, make: ModuleType, root: Path) -> None:
    for number in range(5):
        with open_store(fold_after=2) as store:
            store.commit(make.scores_of(f"job-{number}", f"run-{number}", 1.0))
            store.query("SELECT * FROM runs")
    assert manifests(root) == 0


def test_folding_by_itself_can_be_turned_off(open_store: Open, root: Path) -> None:
    with open_store(fold_after=0) as store:
        for number in range(5):
            store.write(run(number))
    assert manifests(root) == 0


def test_a_fold_that_failed_is_told_by_the_next_write_which_stores_its_run(open_store: Open, root: Path) -> None:
    store = open_store(fold_after=2)
    store.write(run(1))
    damage_first_manifests(root)
    store.write(run(2))
    store._upkeep._thread.join(60)  # type: ignore[union-attr]
    with pytest.warns(StoreMaintenanceWarning, match=r"v0000000002\.json(.|\n)*checkmaite store fold") as told:
        store.write(run(3))
    assert str(store.uri) in str(told[0].message)
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store._upkeep._written = 0
        store.close()
    assert len(list((root / "inbox").iterdir())) == 3


def test_a_fold_that_failed_is_told_by_close(open_store: Open, root: Path) -> None:
    store = open_store(fold_after=3)
    store.write(run(1))
    damage_first_manifests(root)
    with pytest.warns(StoreMaintenanceWarning, match=r"v0000000002\.json"):
        store.close()


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[2])
from test_maintain import run, damage_first_manifests
from pathlib import Path
from checkmaite_analytics_store import AnalyticsStore, StoreSettings

store = AnalyticsStore(sys.argv[1], settings=StoreSettings(fold_after=20))
for number in range(20):
    if number == int(sys.argv[3]):
        damage_first_manifests(Path(sys.argv[1]))
    store.write(run(number))
"""


@pytest.mark.parametrize("damaged", [False, True], ids=["sound", "damaged"])
def test_a_process_that_ends_without_closing_the_store_ends_its_fold_and_tells_what_failed(
    open_store: Open, root: Path, damaged: bool
) -> None:
    arguments = [str(root), str(Path(__file__).parent), "19" if damaged else "-1"]
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, timeout=100, check=False
    )
    assert ended.returncode == 0, ended.stderr
    if damaged:
        assert "StoreMaintenanceWarning: the analytics store at " in ended.stderr
    else:
        assert ended.stderr == ""
        assert folded(open_store()) == 20


def test_what_can_be_pickled_still_can(root: Path) -> None:
    import pickle

    store = pickle.loads(pickle.dumps(AnalyticsStore(root, settings=StoreSettings(fold_after=7))))
    assert store._settings.fold_after == 7


def test_maintenance_leaves_it_to_fold_to_look_for_damage_in_what_it_need_not_change(
    open_store: Open, make: ModuleType, root: Path
) -> None:
    open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    open_store().fold()
    (file,) = (root / "tables/scores").iterdir()
    data = bytearray(file.read_bytes())
    data[10] ^= 1
    file.write_bytes(data)
    open_store().commit(make.bundle_of("job-2", "run-2", []))
    open_store().maintain()
    assert folded(open_store()) == 2
    newest = json.loads((root / "manifests/v0000000002.json").read_text())["body"]
    assert newest["quarantined"] == []
    assert open_store().fold().quarantined == (f"tables/scores/{file.name}",)


@pytest.mark.parametrize("before", [0, 1, 2, 3])
@pytest.mark.parametrize("witnesses", [True, False], ids=["two manifests each time", "one manifest each time"])
def test_maintenance_vacuums_when_it_is_worth_it_whatever_the_numbers_of_manifests(
    open_store: Open, make: ModuleType, root: Path, before: int, witnesses: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("checkmaite_analytics_store._maintain._WORTH_OBJECTS", 20)
    vacuums = []
    really = AnalyticsStore.vacuum
    monkeypatch.setattr(AnalyticsStore, "vacuum", lambda store: (vacuums.append(1), really(store))[1])
    for number in range(before):
        open_store().commit(make.scores_of(f"first-{number}", f"first-{number}", 1.0))
        open_store().fold()
    left = root / f"tables/scores/{1:010}-{'a' * 32}-0.parquet"  # of a fold that was killed
    for number in range(12):
        open_store().commit(make.scores_of(f"job-{number}", f"run-{number}", 1.0))
        open_store(vacuum_age=0, grace=0 if witnesses else 900).maintain()
        if number == 0:
            left.write_bytes(b"half a file")
    assert not left.exists()
    assert 1 <= len(vacuums) <= 6, "and not every time"
    assert folded(open_store()) == 12 + before
    objects = len(list((root / "tables").rglob("*.parquet"))) + len(list((root / "index").iterdir()))
    assert objects < 40, "nothing piles up"


def test_a_single_large_file_is_worth_a_vacuum(open_store: Open, make: ModuleType, root: Path) -> None:
    open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    open_store().fold()
    left = root / f"tables/scores/{1:010}-{'a' * 32}-0.parquet"
    with left.open("wb") as file:
        file.truncate(65 * 2**20)
    open_store().commit(make.scores_of("job-2", "run-2", 1.0))
    open_store().maintain()
    assert left.exists(), "it is not old enough"
    open_store().commit(make.scores_of("job-3", "run-3", 1.0))
    open_store(vacuum_age=0).maintain()
    assert not left.exists()

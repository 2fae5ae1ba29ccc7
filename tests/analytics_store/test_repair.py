"""Damage to what the store knows of itself: named by whoever meets it, mended by the next fold, nothing lost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from checkmaite_analytics_store import AnalyticsStore, QuarantinedObjectWarning
from checkmaite_analytics_store._bundle import encode_marker
from checkmaite_core.errors import CorruptObjectError, EventAbandonedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    Open = Callable[..., AnalyticsStore]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))


def replace(path: Path) -> None:
    path.write_bytes(b"somebody else's file\n")


damages = pytest.mark.parametrize("damage", [truncate, empty, flip, replace])


def events(store: AnalyticsStore) -> list[str]:
    return [row["event_id"] for row in store.query("SELECT event_id FROM scores ORDER BY 1").to_pylist()]


def newest(root: Path, kind: str) -> Path:
    return max((root / kind).iterdir())


def some_history(open_store: Open, make: ModuleType, folds: int) -> list[str]:
    """Runs and a settled event per fold, with everything removed from the inbox that may be."""
    committed = []
    for number in range(folds):
        committed.append(f"job-{number}")
        open_store().commit(make.scores_of(f"job-{number}", f"run-{number}", float(number)))
        assert open_store().settle(f"gone-{number}") is None
        open_store(grace=0).fold()
    return committed


@damages
@pytest.mark.parametrize("tidied", [True, False])
@pytest.mark.parametrize("folds", [1, 3])
def test_a_damaged_newest_manifest_is_named_and_then_replaced_without_losing_a_run(
    open_store: Open, make: ModuleType, root: Path, damage: Callable[[Path], None], folds: int, tidied: bool
) -> None:
    committed = some_history(open_store, make, folds)
    if tidied:
        open_store(grace=0).fold()
        assert list((root / "inbox").iterdir()) == []
    victim = newest(root, "manifests")
    damage(victim)
    for call in (
        lambda: open_store().query("SELECT * FROM scores"),
        lambda: open_store().settle("job-0"),
    ):
        with pytest.raises(CorruptObjectError, match=victim.name):
            call()
    report = open_store(grace=0).fold()
    assert report.repaired == (f"manifests/{victim.name}",)
    for _ in range(3):
        assert events(open_store()) == committed
        open_store(grace=0).fold()
    assert list((root / "inbox").iterdir()) == []
    assert events(open_store()) == committed
    for number in range(folds):
        with pytest.raises(EventAbandonedError):
            open_store().commit(make.scores_of(f"gone-{number}", "run-x", 1.0))
        assert open_store().settle(f"job-{number}") is not None


@damages
@pytest.mark.parametrize("folds", [1, 3])
def test_a_damaged_index_is_named_and_then_rebuilt_with_what_was_settled(
    open_store: Open, make: ModuleType, root: Path, damage: Callable[[Path], None], folds: int
) -> None:
    committed = some_history(open_store, make, folds)
    victim = newest(root, "index")
    damage(victim)
    with pytest.raises(CorruptObjectError, match=victim.name):
        open_store().query("SELECT * FROM scores")
    assert open_store(grace=0).fold().repaired == (f"index/{victim.name}",)
    assert events(open_store()) == committed
    for number in range(folds):
        with pytest.raises(EventAbandonedError):
            open_store().commit(make.scores_of(f"gone-{number}", "run-x", 1.0))


def test_a_lost_index_segment_is_rebuilt_too(open_store: Open, make: ModuleType, root: Path) -> None:
    committed = some_history(open_store, make, 1)
    newest(root, "index").unlink()
    assert len(open_store().fold().repaired) == 1
    assert events(open_store()) == committed


def test_an_index_that_cannot_be_rebuilt_for_certain_is_left_for_a_person(
    open_store: Open, make: ModuleType, root: Path
) -> None:
    """Only the segment knows of a settled event, and another marker makes the number of events fit by chance."""
    some_history(open_store, make, 1)
    open_store(grace=0).fold()
    assert list((root / "inbox").iterdir()) == []
    victim = newest(root, "index")
    empty(victim)
    (root / "inbox" / "late.run").write_bytes(encode_marker("late"))
    with pytest.raises(CorruptObjectError, match=f"{victim.name} is corrupt: the 2 events that it listed cannot"):
        open_store().fold()


def test_markers_that_came_later_do_not_keep_an_index_from_being_rebuilt(
    open_store: Open, make: ModuleType, root: Path
) -> None:
    committed = some_history(open_store, make, 2)
    open_store(grace=0).fold()
    assert open_store().settle("late") is None
    open_store().commit(make.scores_of("job-9", "run-9", 9.0))
    open_store(grace=0).fold()
    empty(newest(root, "index"))
    assert len(open_store(grace=0).fold().repaired) == 1
    assert events(open_store()) == [*committed, "job-9"]
    for event in ("gone-0", "gone-1", "late"):
        with pytest.raises(EventAbandonedError):
            open_store().commit(make.scores_of(event, "run-x", 1.0))


def test_a_damaged_index_is_mended_also_when_nothing_waits_in_the_inbox(
    open_store: Open, make: ModuleType, root: Path
) -> None:
    """The manifest before has a copy of its own of what the damaged segment listed."""
    some_history(open_store, make, 2)
    open_store(grace=0).fold()
    victim = newest(root, "index")
    empty(victim)
    with pytest.raises(CorruptObjectError, match=victim.name):
        open_store().fold()
    assert open_store().verify().findings[0].key == f"index/{victim.name}"


@pytest.mark.parametrize("thorough", [True, False])
@pytest.mark.parametrize("damage", [truncate, empty, flip, Path.unlink])
def test_damage_is_found_also_in_a_file_that_this_process_knew_to_be_whole(
    open_store: Open, make: ModuleType, root: Path, damage: Callable[[Path], None], thorough: bool
) -> None:
    store = open_store()
    store.commit(make.scores_of("job-1", "run-1", 1.0))
    store.fold()
    assert events(store) == ["job-1"]
    victim = Path(store.files("scores")[0])
    damage(victim)
    store.commit(make.scores_of("job-2", "run-2", 2.0))
    report = store._folder.fold(thorough=thorough)
    assert report.quarantined == (victim.relative_to(root).as_posix(),)
    with pytest.warns(QuarantinedObjectWarning):
        assert events(store) == ["job-2"]


def test_a_fold_goes_on_after_a_repair_though_the_damaged_manifest_is_the_only_old_one(
    open_store: Open, make: ModuleType, root: Path
) -> None:
    committed = some_history(open_store, make, 2)
    victim = newest(root, "manifests")
    empty(victim)
    for manifest in (root / "manifests").iterdir():
        os.utime(manifest, (victim.stat().st_mtime - 2000,) * 2)
    assert open_store().fold().repaired
    assert open_store().fold().deleted == 0
    assert events(open_store()) == committed


def test_two_damaged_manifests_are_left_for_a_person(open_store: Open, make: ModuleType, root: Path) -> None:
    committed = some_history(open_store, make, 3)
    last, second = sorted((root / "manifests").iterdir(), reverse=True)[:2]
    healthy = second.read_bytes()
    empty(last)
    empty(second)
    with pytest.raises(CorruptObjectError, match=f"{last.name}.*{second.name}"):
        open_store().fold()
    second.write_bytes(healthy)
    assert len(open_store().fold().repaired) == 1
    assert events(open_store()) == committed


def test_a_damaged_manifest_that_is_not_the_newest_hurts_nobody(open_store: Open, make: ModuleType, root: Path) -> None:
    committed = some_history(open_store, make, 4)
    empty(sorted((root / "manifests").iterdir())[-2])
    assert events(open_store()) == committed
    open_store(grace=0).fold()
    assert list((root / "inbox").iterdir()) == []
    assert events(open_store()) == committed

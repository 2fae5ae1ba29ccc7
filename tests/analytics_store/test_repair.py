"""Damage to what the store knows of itself: named by whoever meets it, mended by the next fold, nothing lost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from checkmaite_analytics_store import AnalyticsStore
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
        lambda: open_store().commit(make.scores_of("job-x", "run-x", 1.0)),
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


def test_an_index_that_cannot_be_rebuilt_whole_is_left_for_a_person(
    open_store: Open, make: ModuleType, root: Path
) -> None:
    """Only the segment knew of the settled event: without it a straggler could give a failed job rows."""
    some_history(open_store, make, 1)
    victim = newest(root, "index")
    empty(victim)
    (root / "inbox" / "gone-0.run").unlink()
    with pytest.raises(CorruptObjectError, match=f"{victim.name} is corrupt, and of the 2 events .* 1 could be found"):
        open_store().fold()


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

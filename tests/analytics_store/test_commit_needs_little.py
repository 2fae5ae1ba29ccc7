"""A commit needs the event's key and the put, and nothing else of the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from checkmaite_analytics_store import AnalyticsStore
from checkmaite_analytics_store._layout import INDEX, MANIFESTS, TABLES
from checkmaite_core.errors import AccessDeniedError, CorruptObjectError, StoreError
from checkmaite_storage import LocalObjectStore

Open = Callable[..., AnalyticsStore]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def newest(root: Path, folder: str) -> Path:
    return max((root / folder).iterdir())


def values(store: AnalyticsStore) -> list[tuple[str, float]]:
    return [(row["event_id"], row["value"]) for row in store.query("SELECT * FROM scores ORDER BY 1").to_pylist()]


@pytest.fixture
def history(open_store: Open, make: ModuleType) -> None:
    """Two folds; a folded event and a settled one have left the inbox."""
    open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    open_store().settle("gone-1")
    open_store(grace=0).fold()
    open_store().commit(make.scores_of("job-2", "run-2", 2.0))
    open_store(grace=0).fold()
    open_store(grace=0).fold()


DAMAGES: dict[str, Callable[[Path], None]] = {
    "one byte of the newest manifest": lambda root: flip(newest(root, MANIFESTS)),
    "one byte of a segment": lambda root: flip(newest(root, INDEX)),
    "no segment": lambda root: [path.unlink() for path in (root / INDEX).iterdir()] and None,
    "all manifests": lambda root: [path.write_bytes(b"") for path in (root / MANIFESTS).iterdir()] and None,
    "a registration": lambda root: (root / "schemas/scores/value.json").write_bytes(b"") and None,
    "store.json": lambda root: flip(root / "store.json"),
}


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("damage", DAMAGES)
def test_whatever_is_damaged_a_new_process_and_an_old_one_commit(
    open_store: Open, make: ModuleType, root: Path, damage: str
) -> None:
    old = open_store()
    old.commit(make.scores_of("job-3", "run-3", 3.0))
    sound = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    DAMAGES[damage](root)
    assert old.commit(make.scores_of("job-4", "run-4", 4.0)).created
    assert open_store().commit(make.scores_of("job-5", "run-5", 5.0)).created
    for path, data in sound.items():
        path.write_bytes(data)
    expected = [(f"job-{number}", float(number)) for number in (1, 2, 3, 4, 5)]
    assert values(open_store()) == expected
    open_store(grace=0).fold()
    assert values(open_store()) == expected


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("damage", ["one byte of the newest manifest", "one byte of a segment"])
def test_maintenance_mends_what_is_damaged_however_little_waits(
    open_store: Open, make: ModuleType, root: Path, damage: str
) -> None:
    open_store().commit(make.scores_of("job-3", "run-3", 3.0))
    open_store(grace=10**6).fold()
    DAMAGES[damage](root)
    with pytest.raises(CorruptObjectError):
        open_store().query("SELECT * FROM scores")
    open_store().maintain(at_least=1000)
    assert values(open_store()) == [("job-1", 1.0), ("job-2", 2.0), ("job-3", 3.0)]
    assert open_store().settle("gone-1") is None


def test_an_idle_process_whose_manifest_was_superseded_and_vacuumed_commits_again(
    open_store: Open, make: ModuleType, root: Path
) -> None:
    idle = open_store()
    idle.commit(make.scores_of("job-1", "run-1", 1.0))
    open_store(grace=0).fold()
    open_store(grace=0).fold()
    assert idle.files("scores")  # of an empty inbox: it knows the manifest, and not its index
    for number in range(2, 16):
        open_store().commit(make.scores_of(f"job-{number}", f"run-{number}", 1.0))
        open_store(grace=0).fold()
    open_store(grace=0, vacuum_age=0).vacuum()
    assert not list((root / INDEX).glob("0000000001-*")), "what its manifest named is gone"
    assert idle.commit(make.scores_of("job-99", "run-99", 99.0)).created
    assert ("job-99", 99.0) in values(open_store())


@pytest.mark.usefixtures("history")
def test_nothing_is_asked_before_the_put_but_the_format_and_the_columns_of_the_table(
    open_store: Open, make: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: LocalObjectStore, key: str = "", *rest: object, real: Callable[..., object]) -> object:
        if key.startswith((MANIFESTS, INDEX, TABLES)):
            raise AccessDeniedError(f"{key} is not for you.", hint="none", uri=key)
        return real(self, key, *rest)

    for verb in ("get", "list"):
        real = getattr(LocalObjectStore, verb)
        monkeypatch.setattr(
            LocalObjectStore, verb, lambda self, key="", *rest, real=real: refused(self, key, *rest, real=real)
        )
    store = open_store()
    assert store.commit(make.scores_of("job-3", "run-3", 3.0)).created
    assert not store.commit(make.scores_of("job-3", "run-3", 3.0)).created
    again = open_store().commit(make.scores_of("job-3", "run-3", 4.0))
    assert not again.created
    assert store.commit(make.scores_of("job-4", "run-4", 4.0)).created
    with pytest.raises(AccessDeniedError):
        store.settle("job-5")
    monkeypatch.undo()
    assert [event for event, _ in values(open_store())] == ["job-1", "job-2", "job-3", "job-4"]


@pytest.mark.usefixtures("history")
def test_a_late_repeat_beside_a_damaged_index_changes_nothing_for_readers(
    open_store: Open, make: ModuleType, root: Path
) -> None:
    assert list((root / "inbox").iterdir()) == []
    first = open_store().reference("job-1")
    victim = newest(root, MANIFESTS)
    healthy = victim.read_bytes()
    flip(victim)
    assert open_store().commit(make.scores_of("job-1", "run-1", 100.0)).created, "nobody can tell"
    assert open_store().commit(make.scores_of("gone-1", "run-9", 100.0)).created, "nobody can tell"
    for unknown in ("job-1", "gone-1", "job-new"):
        with pytest.raises(StoreError):
            open_store().settle(unknown)
    victim.write_bytes(healthy)
    for _ in range(3):
        assert values(open_store()) == [("job-1", 1.0), ("job-2", 2.0)]
        assert open_store().settle("job-1") == first
        assert open_store().settle("gone-1") is None
        assert open_store().settle("job-new") is None
        open_store(grace=0).fold()
    assert list((root / "inbox").iterdir()) == []


@pytest.mark.usefixtures("history")
def test_a_marker_beside_a_damaged_index_may_mean_nothing_so_the_commit_says_that_it_is_not_known(
    open_store: Open, make: ModuleType, root: Path
) -> None:
    first = open_store().settle("job-1")  # leaves a marker, of an event that was folded and removed
    assert first is not None
    victim = newest(root, INDEX)
    healthy = victim.read_bytes()
    flip(victim)
    with pytest.raises(CorruptObjectError, match=victim.name):
        open_store().commit(make.scores_of("job-1", "run-1", 100.0))
    victim.write_bytes(healthy)
    again = open_store().commit(make.scores_of("job-1", "run-1", 100.0))
    assert (again.created, again.reference) == (False, first)


@pytest.mark.usefixtures("history")
def test_a_repeat_of_a_folded_event_whose_reference_is_damaged_is_no_failure(
    open_store: Open, make: ModuleType, root: Path
) -> None:
    store = open_store()
    store.commit(make.scores_of("job-3", "run-3", 3.0))
    for path in (root / TABLES / "_references").iterdir():
        path.write_bytes(b"")
    again = store.commit(make.scores_of("job-1", "run-1", 100.0))
    assert (again.created, again.reference.event_id) == (False, "job-1")
